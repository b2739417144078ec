"""Deadlines: absolute moments on the log's own clock, in nanoseconds since 1970. Set once, looked at at every hop, never renewed."""

from __future__ import annotations

from typing import Final

from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested

MS: Final = 1_000_000  # nanoseconds
MAX_AHEAD_MS: Final = 86_400_000
"""A deadline further away is a mistake: nobody waits a day for a line."""


def deadline_of(request: InferenceRequested, recorded_ns: int) -> int:
    """The moment from which on the answer is of no use: the earlier of `deadline_ms` and `budget_ms` behind the recording.

    >>> deadline_of(InferenceRequested(budget_ms=100), 5_000_000)
    105000000
    """
    moments = []
    if request.deadline_ms:
        moments.append(request.deadline_ms * MS)
    if request.budget_ms:
        moments.append(recorded_ns + request.budget_ms * MS)
    return min(moments, default=recorded_ns)


def deadline_problem(request: InferenceRequested, recorded_ns: int) -> str:
    """The reason why the deadline is absurd; empty if it is not. A deadline that has passed is not absurd, only late."""
    if request.deadline_ms == 0 and request.budget_ms == 0:
        return "wanted deadline_ms or budget_ms, found neither: say when an answer stops being useful"
    if request.deadline_ms < 0 or not 0 <= request.budget_ms <= MAX_AHEAD_MS:
        found = f"{request.deadline_ms} and {request.budget_ms}"
        return f"wanted deadline_ms of 0 or more and budget_ms of 0 to {MAX_AHEAD_MS}, found {found}: give milliseconds"
    ahead = request.deadline_ms - recorded_ns // MS
    if ahead > MAX_AHEAD_MS:
        return f"wanted a deadline at most {MAX_AHEAD_MS} ms ahead, found {ahead} ms: give milliseconds since 1970 UTC"
    return ""
