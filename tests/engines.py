"""Engines that speak by the sample game's grammars, where a test gives them no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.engines import grammar, timed
from inference.engines.timed import Pace
from inference.grammar import Grammar
from inference.grammars import load
from tests.duskmarket import FOLDER

GRAMMARS = load(FOLDER / "grammars")


class GrammarEngine(grammar.GrammarEngine):
    """The engine that needs nothing."""

    def __init__(self, grammars: Mapping[str, Grammar] = GRAMMARS, default: str = "npc_line", slots: int = 64) -> None:
        super().__init__(grammars, default, slots)


class TimedEngine(timed.TimedEngine):
    """The engine of stated speed."""

    def __init__(self, pace: Pace | None = None, *, grammars: Mapping[str, Grammar] = GRAMMARS, **settings: Any) -> None:
        super().__init__(pace, grammars=grammars, **settings)
