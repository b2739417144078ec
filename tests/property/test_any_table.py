"""Any slip of the pen in any table of a world: it is read, or refused by name; nothing in between."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.errors import BadSettings
from handlers import plausible
from handlers.capability_registry import tables as engines
from handlers.language_system import tables as languages
from handlers.model_management import tables as models
from handlers.narrative import tables as scenes
from handlers.npc_behavior import read as npcs
from handlers.payment import tables as prices
from handlers.quest_system import tables as quests
from handlers.router import tables as router
from handlers.storyteller import tables as story
from handlers.time_manager import calendar
from handlers.weather_manager import tables as weather
from inference import ladder
from tests.duskmarket import FOLDER
from worlds.duskmarket.bots import kinds as bots
from worlds.duskmarket.broker import tables as market

PARSE: Mapping[str, Callable[[dict[str, Any], str], Any]] = {
    "bots": bots.parse,
    "bounds": plausible.parse,
    "calendar": calendar.parse,
    "engines": engines.lines,
    "factions": lambda table, name: npcs.parse(TABLES["npcs"], "npcs.toml", table),
    "ladder": ladder.ladders,
    "languages": languages.parse,
    "market": market.parse,
    "models": models.catalogue,
    "npcs": npcs.parse,
    "prices": prices.parse,
    "quests": quests.parse,
    "router": router.rules,
    "scenes": scenes.parse,
    "story": story.parse,
    "weather": weather.parse,
}
TABLES = {name: tomllib.loads((FOLDER / f"{name}.toml").read_text()) for name in PARSE}

leaves = st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
shapes = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) below a node."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from places(node[key])


def test_every_table_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(PARSE)


@pytest.mark.parametrize("name", PARSE)
@example(where=128, instead={"": False}, gone=False)
@example(where=0, instead={"": False}, gone=False)
@given(where=st.integers(0, 10**6), instead=shapes, gone=st.booleans())
@settings(deadline=None)
def test_one_slip_of_the_pen_is_read_or_refused(name: str, where: int, instead: Any, gone: bool) -> None:
    table = copy.deepcopy(TABLES[name])
    found = list(places(table))
    container, key = found[where % len(found)]
    if gone:
        del container[key]
    else:
        container[key] = instead
    try:
        PARSE[name](table, f"{name}.toml")
    except BadSettings as refusal:
        said = str(refusal)
    else:
        return

    assert said.startswith((f"{name}.toml: ", "npcs.toml: "))
