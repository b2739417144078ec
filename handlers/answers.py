"""Answers to requests for inference, as far as handlers tell them apart."""

from __future__ import annotations

from typing import Final

from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded

_BY_MODEL: Final = frozenset({"full", "shorter", "choice"})  # rungs whose words a model chose
_NO_MODEL: Final = frozenset({"", "grammar", "timed", "authored"})  # engines that speak in words written beforehand


def by_model(answer: InferenceCompleted | InferenceDegraded) -> bool:
    """Return True if a model chose the answer: only then may a fact or a deed follow from it.

    Everything else is a line for want of one, by a grammar or an author, and decides nothing.
    """
    return answer.rung in _BY_MODEL and answer.measured.engine not in _NO_MODEL
