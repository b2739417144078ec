"""Duskmarket's handlers with their rules, for benchmarks and tests that play one of them."""

from __future__ import annotations

from typing import Any, Final

from bus.handler import Handler
from inference.grammars import load
from worlds.duskmarket import content, game

FOLDER: Final = content.folder
BOTS: Final = content.bots
GRAMMARS: Final = load(FOLDER / "grammars")
PROJECTIONS: Final = game.projections
ALL: Final[tuple[Handler[Any], ...]] = tuple(one.of(game.name) for one in game.handlers)


def _of(name: str) -> Handler[Any]:
    return game.handler(name).of(game.name)


broker = _of("broker")
capability = _of("capability")
coupon = _of("coupon")
inventory = _of("inventory")
language = _of("language")
market = _of("market")
models = _of("models")
narrative = _of("narrative")
npc = _of("npc")
payment = _of("payment")
player = _of("player")
quest = _of("quest")
router = _of("router")
state = _of("state")
storyteller = _of("storyteller")
time = _of("time")
trade = _of("trade")
uemonitor = _of("uemonitor")
weather = _of("weather")


def by_name() -> dict[str, Handler[Any]]:
    """Every handler under its name."""
    return {one.name: one for one in ALL}
