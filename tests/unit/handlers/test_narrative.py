"""The rules of scenes, one by one, under a table small enough to know by heart."""

from __future__ import annotations

from typing import Any

import pytest

from bus.testing import Case, Rehearsal, given
from handlers.narrative import narrative_of
from handlers.narrative.state import Narrative
from handlers.narrative.tables import parse
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, ObjectExamined
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import (
    ObjectInspected,
    SceneChanged,
    SceneChangeRequested,
    SceneDiscovered,
    SceneFirstDiscovered,
    SceneRequestRefused,
    SceneRevisited,
    SceneRewarded,
    TraceFound,
)
from schemas.gen.worldbus.narrative.v1.types_pb2 import SceneItem
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.gen.worldbus.time.v1.time_pb2 import SeasonChanged, WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged

TABLE: dict[str, Any] = {
    "scenes": {
        "chalk": {
            "place": "quay",
            "title": "Chalk",
            "text": "A tally.",
            "needs": 40,
            "currency": "teeth",
            "amount_minor": 12,
            "items": [{"sku": "stub", "quantity": 1}],
            "objects": {
                "squares": {
                    "conditions": [
                        {"name": "plain", "weight": 25, "text": "Seven squares."},
                        {"name": "washed", "weight": 0, "text": "Wet stone.", "minutes": 60, "then": "redrawn"},
                        {"name": "redrawn", "weight": 35, "text": "Eight squares."},
                    ]
                },
                "stub": {"conditions": [{"name": "lying", "weight": 20, "text": "A stub."}, {"name": "gone", "weight": 0, "text": "."}]},
            },
            "changes": [
                {"on": "weather", "value": "rain", "object": "squares", "from": ["plain", "redrawn"], "to": "washed"},
                {"on": "slain", "value": "crow", "object": "squares", "to": "redrawn"},
                {"on": "season", "value": "winter", "object": "stub", "to": "gone"},
                {"on": "quest", "value": "tally=told", "object": "stub", "to": "gone"},
            ],
        },
        "poor": {
            "place": "moor",
            "title": "Poor",
            "text": "Nothing.",
            "needs": 1,
            "objects": {"stone": {"conditions": [{"name": "cold", "weight": 1, "text": "Cold."}]}},
        },
    }
}
TABLES = parse(TABLE, "test")
narrative = narrative_of(TABLES)
CHALK: Case[Narrative] = given(narrative, entity="chalk")


def inspected(thing: str, weight: int, condition: str = "plain") -> ObjectInspected:
    return ObjectInspected(player="mira", place="quay", object=thing, condition=condition, weight=weight, text=".")


def mira(*seen: ObjectInspected) -> Case[Narrative]:
    """Mira after the scene `chalk` showed her this."""
    case = given(narrative, entity="mira")
    for each in seen:
        case = case.when(each, entity="chalk", subsystem="narrative")
    return case


def rained(case: Case[Narrative]) -> Case[Narrative]:
    return case.when(WeatherChanged(sky="rain"), entity="quay", subsystem="weather")


def changed(case: Case[Narrative]) -> SceneChanged:
    (it,) = [message for message in case.said if isinstance(message, SceneChanged)]
    return it


def refusal(case: Case[Narrative]) -> str:
    (said,) = case.said
    assert isinstance(said, SceneRequestRefused)
    assert said.request_event_id
    assert len(said.reason) > 20
    return said.code


def test_looking_at_an_object_shows_how_it_is_now() -> None:
    look = ObjectExamined(object="squares", scene="chalk", place="quay")
    shown = ObjectInspected(player="mira", place="quay", object="squares", condition="plain", weight=25, text="Seven squares.")
    CHALK.when(look, entity="mira").then(shown)

    after = rained(CHALK).when(look, entity="mira")

    after.then(ObjectInspected(player="mira", place="quay", object="squares", condition="washed", weight=0, text="Wet stone."))


@pytest.mark.parametrize(
    "look",
    [
        ObjectExamined(object="squares", scene="chalk", place="moor"),
        ObjectExamined(object="no such", scene="chalk"),
        ObjectExamined(object="squares", scene="no such"),
    ],
)
def test_looking_at_what_is_not_there_shows_nothing(look: ObjectExamined) -> None:
    lane = CHALK if look.scene == "chalk" else given(narrative, entity="mira")
    lane.when(look, entity="mira").then_types(RequestRefused)


def test_traces_add_up_to_a_discovery_that_pays() -> None:
    case = mira(inspected("squares", 25)).then(TraceFound(scene="chalk", object="squares", weight=25, found=25, needed=40))

    case.when(inspected("stub", 20), entity="chalk", subsystem="narrative").then(
        TraceFound(scene="chalk", object="stub", weight=20, found=45, needed=40),
        SceneDiscovered(scene="chalk", place="quay", title="Chalk", text="A tally.", found=45),
        SceneRewarded(player="mira", scene="chalk", currency="teeth", amount_minor=12, items=[SceneItem(sku="stub", quantity=1)]),
    )


def test_an_object_counts_once_with_the_most_it_ever_told() -> None:
    case = mira(inspected("squares", 25))
    case.when(inspected("squares", 25), entity="chalk", subsystem="narrative").then_nothing()
    case.when(inspected("squares", 0, "washed"), entity="chalk", subsystem="narrative").then_nothing()

    case.when(inspected("squares", 35, "redrawn"), entity="chalk", subsystem="narrative").then(
        TraceFound(scene="chalk", object="squares", weight=35, found=35, needed=40)
    )


def test_a_scene_is_discovered_and_paid_once() -> None:
    case = mira(inspected("squares", 25), inspected("stub", 20))

    case = case.when(inspected("squares", 35, "redrawn"), entity="chalk", subsystem="narrative")

    case.then(SceneRevisited(scene="chalk", place="quay", object="squares", condition="redrawn"))


def test_a_scene_that_pays_nothing_says_nothing_of_it() -> None:
    given(narrative, entity="mira").when(inspected("stone", 1), entity="poor", subsystem="narrative").then_types(
        TraceFound, SceneDiscovered
    )


def test_only_the_scene_itself_can_show_something() -> None:
    given(narrative, entity="mira").when(inspected("squares", 100), entity="chalk", subsystem="game").then_nothing()


def test_the_first_to_discover_a_scene_is_remembered() -> None:
    found = SceneDiscovered(scene="chalk", place="quay")
    case = CHALK.when(found, entity="mira", subsystem="narrative").then(SceneFirstDiscovered(player="mira", place="quay"))

    case.when(found, entity="ben", subsystem="narrative").then_nothing()


def test_weather_changes_what_it_can_and_time_brings_it_further() -> None:
    case = rained(CHALK).then(
        SceneChanged(
            number=1,
            place="quay",
            object="squares",
            previous="plain",
            condition="washed",
            cause="weather",
            detail="rain",
            text="Wet stone.",
        ),
        WakeRequested(name="change-1", in_world_ms=3_600_000),
    )
    rained(case).then_nothing()

    woken = case.when(WakeFired(subsystem="narrative", entity="chalk", name="change-1"), entity="clock", subsystem="time")

    (it,) = woken.said
    assert it == SceneChanged(
        number=2, place="quay", object="squares", previous="washed", condition="redrawn", cause="time", text="Eight squares."
    )


def test_a_condition_that_ended_early_does_not_end_again() -> None:
    case = rained(CHALK).when(CreatureSlain(creature="crow", place="quay"), entity="mira")
    case.then_types(SceneChanged, WakeCancelRequested)
    assert changed(case).player == "mira"

    again = rained(case)  # washed once more, as change 3

    again.when(WakeFired(subsystem="narrative", entity="chalk", name="change-1"), entity="clock", subsystem="time").then_nothing()


@pytest.mark.parametrize(
    ("message", "entity", "by"),
    [
        (WeatherChanged(sky="rain"), "moor", "weather"),
        (WeatherChanged(sky="fog"), "quay", "weather"),
        (WeatherChanged(sky="rain"), "quay", "game"),
        (CreatureSlain(creature="crow", place="moor"), "mira", "game"),
        (SeasonChanged(now=WorldTime(season="summer")), "clock", "time"),
        (QuestCompleted(quest="tally", ending="hushed"), "mira", "quest"),
        (QuestCompleted(quest="tally", ending="told"), "mira", "game"),
    ],
)
def test_what_no_rule_waits_for_changes_nothing(message: Any, entity: str, by: str) -> None:
    CHALK.when(message, entity=entity, subsystem=by).then_nothing()


@pytest.mark.parametrize(
    ("message", "entity", "by", "cause", "player"),
    [
        (SeasonChanged(now=WorldTime(season="winter")), "clock", "time", "season", ""),
        (QuestCompleted(quest="tally", ending="told"), "mira", "quest", "quest", "mira"),
    ],
)
def test_seasons_and_quests_change_scenes(message: Any, entity: str, by: str, cause: str, player: str) -> None:
    it = changed(CHALK.when(message, entity=entity, subsystem=by))

    assert (it.object, it.condition, it.cause, it.player) == ("stub", "gone", cause, player)


def test_a_change_can_be_wished_for() -> None:
    wish = SceneChangeRequested(scene="chalk", object="stub", condition="gone", reason="a story says so")
    it = changed(CHALK.when(wish, entity="the-tally", subsystem="storyteller"))

    assert (it.condition, it.cause, it.detail) == ("gone", "request", "a story says so")


def test_wishes_that_cannot_be_granted_are_refused() -> None:
    def asked(**fields: str) -> str:
        return refusal(CHALK.when(SceneChangeRequested(scene="chalk", **fields), entity="anything"))

    assert asked(object="no such", condition="gone") == "UNKNOWN_OBJECT"
    assert asked(object="stub", condition="no such") == "UNKNOWN_CONDITION"
    assert asked(object="stub", condition="lying") == "ALREADY_SO"
    assert asked(object="stub", condition="gone", reason="x" * 257) == "TOO_LONG"


def test_players_and_scenes_find_each_other_through_the_log() -> None:
    town = Rehearsal(narrative)
    for player in ("mira", "ben"):
        for thing in ("squares", "stub", "squares"):
            town.say(ObjectExamined(object=thing, scene="chalk", place="quay"), entity=player)

    assert [it.player for it in town.said(SceneRewarded)] == ["mira", "ben"]
    assert town.said(SceneFirstDiscovered) == (SceneFirstDiscovered(player="mira", place="quay"),)
    assert len(town.said(SceneRevisited)) == 2
