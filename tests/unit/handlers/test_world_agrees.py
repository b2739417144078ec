"""The tables of Duskmarket speak of the same world: whoever is named in one of them exists in the other."""

from __future__ import annotations

import tomllib

from handlers.narrative import tables as scene_tables
from handlers.quest_system import tables as quest_tables
from handlers.quest_system.model import Objective
from handlers.storyteller import tables as story_tables
from tests.duskmarket import FOLDER

QUESTS = quest_tables.load(FOLDER / "quests.toml")
SCENES = scene_tables.load(FOLDER / "scenes.toml").scenes
ARCS = story_tables.load(FOLDER / "story.toml").arcs
NPCS = set(tomllib.loads((FOLDER / "npcs.toml").read_text())["npcs"])
MARKET = tomllib.loads((FOLDER / "market.toml").read_text())
GOALS = [goal for quest in QUESTS.quests.values() for stage in quest.stages for goal in stage.objectives]


def targets(*kinds: str) -> set[str]:
    return {goal.target for goal in GOALS if goal.kind in kinds and goal.target}


def exists(cause: tuple[str, str]) -> bool:
    """Whether a cause in a table of scenes or stories can ever happen, as far as quests and scenes go."""
    on, value = cause
    name, _, ending = value.partition("=")
    if on in ("quest", "quest_failed"):
        return name in QUESTS.quests and (not ending or QUESTS.quests[name].ending(ending) is not None)
    return name in SCENES if on in ("scene", "change") else True


def test_givers_and_those_who_are_spoken_to_are_characters() -> None:
    givers = {quest.giver for quest in QUESTS.quests.values()} | {npc for pattern in QUESTS.patterns.values() for npc in pattern.givers}
    receivers = {goal.place for goal in GOALS if goal.kind == "give"}

    assert givers | receivers | targets("talk", "hear") <= NPCS


def test_what_is_to_be_discovered_is_a_scene_and_what_is_to_be_examined_lies_in_one() -> None:
    def lies_there(goal: Objective) -> bool:
        return any(goal.target in scene.objects and goal.place in ("", scene.place) for scene in SCENES.values())

    assert targets("discover") <= set(SCENES)
    assert all(lies_there(goal) for goal in GOALS if goal.kind == "examine")


def test_what_is_to_be_sold_is_dealt_in() -> None:
    assert targets("sell") <= set(MARKET["goods"])
    assert {goal.place for goal in GOALS if goal.kind == "sell" and goal.place} <= set(MARKET["buyers"])


def test_scenes_and_stories_wait_for_what_can_happen() -> None:
    rules = {(rule.on, rule.value) for scene in SCENES.values() for rule in scene.changes}
    stirs = {(stir.on, stir.value) for arc in ARCS.values() for stir in arc.stirs}
    starts = {cause for arc in ARCS.values() for cause in arc.starts}

    assert [cause for cause in sorted(rules | stirs | starts) if not exists(cause)] == []


def test_stories_sell_goods_that_are_dealt_in() -> None:
    bargains = {stir.value for arc in ARCS.values() for stir in arc.stirs if stir.on == "bargain"}

    assert bargains <= {*MARKET["goods"], "any"}


def test_stories_change_scenes_into_what_they_can_be() -> None:
    beats = [beat for arc in ARCS.values() for beat in arc.beats.values()]
    parts: list[story_tables.Beat | story_tables.Way] = [*beats, *(way for beat in beats for way in beat.choices)]
    changes = [change for part in parts for change in part.changes]

    assert changes
    for change in changes:
        assert SCENES[change.scene].objects[change.object].condition(change.condition) is not None
