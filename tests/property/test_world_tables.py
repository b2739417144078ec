"""Tables of a world that a designer may have written wrong: read and right, or refused with every problem named; nothing in between."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import BadSettings
from bus.testing import Rehearsal
from handlers.narrative import narrative_of
from handlers.narrative import tables as scenes
from handlers.quest_system import quest_system
from handlers.quest_system import tables as quests
from handlers.storyteller import storyteller_of
from handlers.storyteller import tables as story
from handlers.time_manager import calendar
from schemas.gen.worldbus.game.v1.game_pb2 import ObjectExamined
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChangeRequested
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAcceptRequested, QuestWorkRequested
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryArcStartRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired
from tests.duskmarket import FOLDER

CALENDAR = calendar.load(FOLDER / "calendar.toml")


def play_quests(tables: quests.Tables) -> None:
    """Ask everybody for work and accept everything."""
    town = Rehearsal(quest_system(tables, CALENDAR))
    for giver in {giver for pattern in tables.patterns.values() for giver in pattern.givers}:
        town.say(QuestWorkRequested(npc=giver), entity="mira")
    for number, name in enumerate(tables.quests):
        town.say(QuestAcceptRequested(quest=name), entity=f"player-{number}")


def play_scenes(tables: scenes.Tables) -> None:
    """Look at everything and change everything."""
    town = Rehearsal(narrative_of(tables))
    for scene in tables.scenes.values():
        for thing in scene.objects.values():
            town.say(ObjectExamined(scene=scene.name, object=thing.name), entity="mira")
            town.say(SceneChangeRequested(scene=scene.name, object=thing.name, condition=thing.conditions[-1].name), entity="mira")


def play_story(tables: story.Tables) -> None:
    """Begin every arc and let it go on a little."""
    town = Rehearsal(storyteller_of(tables))
    for arc in tables.arcs:
        town.say(StoryArcStartRequested(), entity=arc)
        for name in ("pulse", "told-1", "choice-1", "pulse", "told-2"):
            town.say(WakeFired(subsystem="storyteller", entity=arc, name=name), entity="clock", subsystem="time")


Parse = Callable[[dict[str, Any], str], Any]
FILES: dict[str, tuple[Parse, Callable[[Any], None]]] = {
    "quests.toml": (quests.parse, play_quests),
    "scenes.toml": (scenes.parse, play_scenes),
    "story.toml": (story.parse, play_story),
}
TABLES = {name: tomllib.loads((FOLDER / name).read_text()) for name in FILES}

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
shapes = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)


def read(name: str, table: Any) -> None:
    """Refused by name, or good enough to play with: a table that is read must not make a decision fail."""
    parse, play = FILES[name]
    try:
        tables = parse(table, name)
    except BadSettings as refusal:
        problem = str(refusal)
    else:
        play(tables)
        return

    assert problem.startswith(name)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) below a node."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from places(node[key])


@pytest.mark.parametrize("name", FILES)
@given(table=st.dictionaries(st.sampled_from(["quests", "patterns", "scenes", "arcs"]) | st.text(max_size=5), shapes, max_size=3))
@settings(deadline=None)
def test_any_table_is_read_or_refused(name: str, table: dict[str, Any]) -> None:
    read(name, table)


@pytest.mark.parametrize("name", FILES)
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

    read(name, table)


@pytest.mark.parametrize("name", FILES)
def test_the_tables_of_duskmarket_are_right(name: str) -> None:
    parse, play = FILES[name]

    play(parse(TABLES[name], name))


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("quests.toml", "quests/missing-ferryman/first", "nowhere", "first must name a stage"),
        ("quests.toml", "quests/missing-ferryman/stages/0/next", "nowhere", "neither a stage nor an ending"),
        ("quests.toml", "quests/missing-ferryman/stages/1/next", "ask", "no ending can be reached"),
        ("quests.toml", "quests/missing-ferryman/stages/0/objectives/0/kind", "sing", "there is no kind 'sing'"),
        ("quests.toml", "quests/missing-ferryman/stages/0/objectives/0/count", 0, "count must be 1"),
        ("quests.toml", "quests/missing-ferryman/stages/2/choices", [], "either next or choices"),
        ("quests.toml", "quests/missing-ferryman/endings/told/currency", "gold", "wanted an amount in one of crowns, teeth"),
        ("quests.toml", "quests/missing-ferryman/endings/told/items/0/sku", "No", "sku 'No'"),
        ("quests.toml", "quests/missing-ferryman/endings/spare", {}, "'spare' cannot be reached"),
        ("quests.toml", "quests/night-ledger/after", ["missing-ferryman=sunk"], "there is no 'missing-ferryman=sunk'"),
        ("quests.toml", "quests/morning-rounds/shared", True, "a daily quest cannot be shared"),
        ("quests.toml", "quests/morning-rounds/repeat", "hourly", "repeat must be one of"),
        ("quests.toml", "patterns/cull/title", "{who}", "title may use"),
        ("quests.toml", "patterns/cull/count", [3, 2], "count must be a rising range"),
        ("quests.toml", "patterns/cull/givers", [], "at least one giver"),
        ("scenes.toml", "scenes/cold-room/needs", 51, "needs must be 1 to 50"),
        ("scenes.toml", "scenes/cold-room/objects/straps/conditions/0/weight", 101, "weight must be 0 to 100"),
        ("scenes.toml", "scenes/cold-room/objects/straps/conditions", [], "wanted one condition or more"),
        ("scenes.toml", "scenes/cold-room/changes/0/to", "boiling", "long-ice has no condition 'boiling'"),
        ("scenes.toml", "scenes/cold-room/changes/0/object", "ice-cream", "there is no object 'ice-cream'"),
        ("scenes.toml", "scenes/cold-room/changes/0/on", "moon", "on must be one of"),
        ("scenes.toml", "scenes/drowned-skiff/objects/hull/conditions/1/then", "", "wanted both minutes"),
        ("scenes.toml", "scenes/drowned-skiff/objects/hull/conditions/0/minutes", 5, "wanted both minutes"),
        ("story.toml", "arcs/the-tally/starts", ["moon:full"], "found moon:full"),
        ("story.toml", "arcs/the-tally/curve", [], "curve must have"),
        ("story.toml", "arcs/the-tally/pulse_minutes", 0, "pulse_minutes must be"),
        ("story.toml", "arcs/the-tally/beats/1/needs", ["beat:nothing"], "knows nothing of 'beat:nothing'"),
        ("story.toml", "arcs/the-tally/beats/1/needs", ["soon"], "wanted beat:NAME"),
        ("story.toml", "arcs/the-tally/beats/1/narrates", ["moon"], "there is no fact 'moon'"),
        ("story.toml", "arcs/the-tally/beats/4/establishes", {"ferryman": "well"}, "there is no fact ferryman=well"),
        ("story.toml", "arcs/the-tally/beats/1/name", "first-stroke", "two beats have the same name"),
        ("story.toml", "arcs/the-tally/stirs/1/key", "chalk", "a key of its own"),
    ],
)
def test_each_problem_is_named(name: str, path: str, value: Any, problem: str) -> None:
    table = copy.deepcopy(TABLES[name])
    *way, last = path.split("/")
    node: Any = table
    for step in way:
        node = node[int(step)] if step.isdigit() else node[step]
    node[int(last) if last.isdigit() else last] = value

    with pytest.raises(BadSettings) as refusal:
        FILES[name][0](table, name)

    assert problem in str(refusal.value)
