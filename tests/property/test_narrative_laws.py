"""Laws of scenes, whoever looks at what in whatever order, and whatever happens around."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.handler import MAX_OUTPUTS
from bus.testing import Rehearsal
from handlers.narrative.tables import load
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, ObjectExamined
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import (
    ObjectInspected,
    SceneChanged,
    SceneChangeRequested,
    SceneDiscovered,
    SceneFirstDiscovered,
    SceneRewarded,
    TraceFound,
)
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged
from tests.duskmarket import FOLDER, narrative, time

TABLES = load(FOLDER / "scenes.toml")
HOUR = 3_600_000
PLAYERS = ("mira", "ben", "cara")

players = st.sampled_from(PLAYERS)
scenes = st.sampled_from(sorted(TABLES.scenes))
things = st.sampled_from([(scene.name, thing) for scene in TABLES.scenes.values() for thing in scene.objects])
conditions = st.sampled_from(
    [
        (scene.name, thing.name, each.name)
        for scene in TABLES.scenes.values()
        for thing in scene.objects.values()
        for each in thing.conditions
    ]
)
looks = st.builds(lambda who, what: (ObjectExamined(scene=what[0], object=what[1]), who, "game"), players, things)
happenings = st.one_of(
    st.builds(
        lambda sky, place: (WeatherChanged(sky=sky), place, "weather"),
        st.sampled_from(["rain", "storm", "snow", "clear"]),
        st.sampled_from(["quay", "reed-path", "north-pass"]),
    ),
    st.builds(lambda who: (CreatureSlain(creature="moor-hound", place="old-moor"), who, "game"), players),
    st.builds(lambda who: (QuestCompleted(quest="missing-ferryman", ending="silenced"), who, "quest"), players),
    st.builds(lambda ms: (RealTimePassed(real_ms=ms), "clock", "game"), st.integers(1, 60_000)),
    st.builds(lambda it: (SceneChangeRequested(scene=it[0], object=it[1], condition=it[2]), "a-story", "storyteller"), conditions),
)
searches = st.builds(  # one player looks at everything there is in a scene: without purpose nobody discovers much
    lambda who, scene: [(ObjectExamined(scene=scene, object=thing), who, "game") for thing in TABLES.scenes[scene].objects], players, scenes
)
alone = st.one_of(looks, looks, happenings).map(lambda one: [one])
days = st.lists(st.one_of(searches, alone, alone), min_size=5, max_size=25).map(lambda parts: [one for part in parts for one in part])


def live(day: list[Any], heard: list[bool] | None = None) -> Rehearsal:
    """All of it happens. Where `heard` is false, things happen before anybody has listened to the ones before."""
    town = Rehearsal(time, narrative)
    town.say(ClockStartRequested(scale=HOUR), entity="clock")
    for number, (message, who, by) in enumerate(day):
        before = len(town.log)
        town.say(message, entity=who, subsystem=by, hear=heard is None or heard[number])
        assert len(town.log) - before <= MAX_OUTPUTS * 8
    town.say(RealTimePassed(real_ms=1), entity="clock")
    return town


@given(days, st.lists(st.booleans(), min_size=80, max_size=80))
@settings(deadline=None)
def test_a_player_discovers_a_scene_once_and_is_paid_once(day: list[Any], heard: list[bool]) -> None:
    town = live(day, heard)

    found = Counter((event.entity, event.data.scene) for event in town.log if isinstance(event.data, SceneDiscovered))
    assert all(times == 1 for times in found.values())
    assert found == Counter((it.player, it.scene) for it in town.said(SceneRewarded))
    assert all(event.entity == event.data.player for event in town.log if isinstance(event.data, SceneRewarded))


@given(days)
@settings(deadline=None)
def test_what_is_found_is_what_was_shown_and_enough_of_it_is_a_discovery(day: list[Any]) -> None:
    town = live(day)

    for player in PLAYERS:
        most: dict[str, dict[str, int]] = {scene: {} for scene in TABLES.scenes}
        for event in town.log:
            if isinstance(event.data, ObjectInspected) and event.data.player == player:
                shown = most[event.entity]
                shown[event.data.object] = max(shown.get(event.data.object, 0), event.data.weight)
        discovered = {it.scene for it in town.said(SceneDiscovered, entity=player)}
        assert discovered == {scene for scene, shown in most.items() if sum(shown.values()) >= TABLES.scenes[scene].needs}
        for it in town.said(TraceFound, entity=player):
            assert it.found <= sum(most[it.scene].values())


@given(days)
@settings(deadline=None)
def test_the_history_of_a_scene_has_no_gaps_and_each_change_begins_where_the_last_one_ended(day: list[Any]) -> None:
    town = live(day)

    for scene in TABLES.scenes.values():
        now = {thing.name: thing.conditions[0].name for thing in scene.objects.values()}
        history = town.said(SceneChanged, entity=scene.name)
        assert [it.number for it in history] == list(range(1, len(history) + 1))
        for it in history:
            assert it.previous == now[it.object] != it.condition
            now[it.object] = it.condition


@given(days)
@settings(deadline=None)
def test_only_one_player_was_the_first(day: list[Any]) -> None:
    town = live(day)

    for scene in TABLES.scenes:
        found = [event.entity for event in town.log if isinstance(event.data, SceneDiscovered) and event.data.scene == scene]
        assert [it.player for it in town.said(SceneFirstDiscovered, entity=scene)] == found[:1]


@given(days)
@settings(deadline=None)
def test_every_state_is_the_fold_of_what_was_said_and_stays_small(day: list[Any]) -> None:
    town = live(day)

    for (handler, entity), state in town.refold().items():
        if handler == "narrative":
            assert state == town.state(narrative, entity)
            assert len(state.changed) <= max(len(scene.objects) for scene in TABLES.scenes.values())
            assert len(state.discovered) <= len(TABLES.scenes)
