"""The rules of quests, one by one, under a table small enough to know by heart."""

from __future__ import annotations

from typing import Any

import pytest

from bus.testing import Case, given
from handlers.quest_system import quest_system
from handlers.quest_system.state import Quests
from handlers.quest_system.tables import parse
from handlers.state_manager import typed
from handlers.time_manager import calendar as calendars
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, ObjectExamined, PlayerSpoke
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneDiscovered, SceneRevisited
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    DailyQuestsReset,
    QuestAbandoned,
    QuestAbandonRequested,
    QuestAccepted,
    QuestAcceptRequested,
    QuestChoiceMade,
    QuestChoiceOpened,
    QuestChoiceRequested,
    QuestCompleted,
    QuestFailed,
    QuestOffered,
    QuestProgressed,
    QuestRequestRefused,
    QuestRewarded,
    QuestStageBegan,
    QuestWorkRequested,
)
from schemas.gen.worldbus.quest.v1.types_pb2 import QuestItem, QuestObjective, QuestPath
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.gen.worldbus.state.v1.state_pb2 import StateChanged, StateLoaded
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from tests.duskmarket import FOLDER

MINUTE = 60_000
HOUR = 60 * MINUTE
CALENDAR = calendars.load(FOLDER / "calendar.toml")
PAYS = {"currency": "crowns", "amount_minor": 100, "items": [{"sku": "pelt", "quantity": 2}]}


def one_stage(objectives: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    stage = {"name": "only", "objectives": objectives, "next": "done"}
    return {"title": "T", "first": "only", "stages": [stage], "endings": {"done": PAYS}, **more}


def talk(npc: str) -> dict[str, Any]:
    return {"name": "talk", "kind": "talk", "target": npc}


TABLE: dict[str, Any] = {
    "quests": {
        "wolves": one_stage([{"name": "wolves", "kind": "kill", "target": "wolf", "place": "moor", "count": 3}], giver="pell"),
        "fork": {
            "title": "Fork",
            "first": "hear",
            "stages": [
                {"name": "hear", "objectives": [talk("hask")], "next": "decide"},
                {
                    "name": "decide",
                    "forbids": [{"kind": "attack", "target": "hask"}],
                    "choices": [{"name": "left", "text": "L", "next": "walk"}, {"name": "right", "text": "R", "next": "sold"}],
                },
                {"name": "walk", "limit_minutes": 30, "objectives": [{"name": "wait", "kind": "wait", "minutes": 10}], "next": "walked"},
            ],
            "endings": {"walked": {}, "sold": PAYS},
        },
        "hurry": one_stage([talk("hask")], limit_minutes=60),
        "rounds": one_stage([{"name": "quay", "kind": "visit", "target": "quay"}], repeat="daily"),
        "again": one_stage([talk("vane")], repeat="always"),
        "after-walk": one_stage([talk("hask")], after=["fork=walked"]),
        "after-any": one_stage([talk("hask")], after=["fork", "wolves"]),
    },
    "patterns": {
        "cull": {
            "title": "{count} {target} at {place} for {giver}",
            "givers": ["pell"],
            "kind": "kill",
            "targets": ["wolf", "rat"],
            "places": ["moor"],
            "count": [2, 4],
            "minutes_each": 30,
            "currency": "teeth",
            "pay_each": [10, 20],
        }
    },
}
quest = quest_system(parse(TABLE, "test"), CALENDAR)


def at(hour: int, day: int = 1) -> WorldTime:
    return WorldTime(world_ms=day * 24 * HOUR + hour * HOUR, day=day, hour=hour)


def accepted(name: str) -> Case[Quests]:
    return given(quest, entity="mira").when(QuestAcceptRequested(quest=name))


def woken(case: Case[Quests], name: str, now: WorldTime | None = None) -> Case[Quests]:
    return case.when(WakeFired(subsystem="quest", entity=case.entity, name=name, now=now), entity="clock", subsystem="time")


def refusal(case: Case[Quests]) -> str:
    (said,) = case.said
    assert isinstance(said, QuestRequestRefused)
    assert said.request
    assert said.request_event_id
    assert len(said.reason) > 20
    return said.code


def done(case: Case[Quests], name: str) -> Case[Quests]:
    """Through the quest `wolves` or `fork`, the latter to the left."""
    case = case.when(QuestAcceptRequested(quest=name))
    if name == "wolves":
        return case.when(CreatureSlain(creature="wolf", place="moor", quantity=3))
    case = case.when(PlayerSpoke(npc="hask")).when(QuestChoiceRequested(quest="fork", choice="left"))
    return woken(case, f"wait-{case.state.runs}-3")


def test_accepting_begins_a_run_and_its_first_stage() -> None:
    accepted("wolves").then(
        QuestAccepted(quest="wolves", run=1, title="T", giver="pell"),
        QuestStageBegan(
            quest="wolves",
            run=1,
            stage="only",
            step=1,
            objectives=[QuestObjective(name="wolves", kind="kill", target="wolf", place="moor", needed=3)],
        ),
    )


def test_deeds_count_up_to_what_is_needed_and_the_last_one_pays() -> None:
    case = accepted("wolves").when(CreatureSlain(creature="wolf", place="moor", quantity=2))
    case.then(QuestProgressed(quest="wolves", run=1, step=1, objective="wolves", count=2, needed=3, player="mira"))
    case = case.when(CreatureSlain(creature="wolf", place="moor", quantity=5))
    case.then(
        QuestProgressed(quest="wolves", run=1, step=1, objective="wolves", count=3, needed=3, player="mira"),
        QuestCompleted(quest="wolves", run=1, ending="done"),
        QuestRewarded(
            player="mira",
            quest="wolves",
            run=1,
            ending="done",
            currency="crowns",
            amount_minor=100,
            items=[QuestItem(sku="pelt", quantity=2)],
        ),
    )

    case.when(CreatureSlain(creature="wolf", place="moor")).then_nothing()


def test_a_quantity_of_none_is_one() -> None:
    accepted("wolves").when(CreatureSlain(creature="wolf", place="moor")).then(
        QuestProgressed(quest="wolves", run=1, step=1, objective="wolves", count=1, needed=3, player="mira")
    )


@pytest.mark.parametrize(
    "deed",
    [
        CreatureSlain(creature="wolf", place="quay"),
        CreatureSlain(creature="rat", place="moor"),
        CreatureSlain(creature="wolf", place="moor", quantity=-1),
        CreatureSlain(creature="wolf", place="moor", quantity=1_000_001),
    ],
)
def test_what_was_not_asked_for_does_not_count(deed: Any) -> None:
    case = accepted("wolves").when(deed)

    assert not [said for said in case.said if not isinstance(said, RequestRefused)]
    assert case.state == accepted("wolves").state


def test_facts_count_only_from_those_who_own_them() -> None:
    """The edge may publish an event of any type; presence and scenes are not its to say."""
    case = accepted("rounds")
    case.when(PlayerEnteredZone(zone="quay")).then_nothing()
    case.when(PlayerEnteredZone(zone="quay"), subsystem="player").then_types(QuestProgressed, QuestCompleted, QuestRewarded)


@pytest.mark.parametrize(
    ("kind", "target", "place", "deed", "by"),
    [
        ("kill", "wolf", "moor", CreatureSlain(creature="wolf", place="moor"), "game"),
        ("collect", "salt", "", ItemGranted(sku="salt", quantity=1, reason="collected", reference="moor"), "inventory"),
        ("talk", "hask", "quay", PlayerSpoke(npc="hask", place="quay", text="hello"), "game"),
        ("visit", "quay", "", PlayerEnteredZone(zone="quay"), "player"),
        ("discover", "skiff", "", SceneDiscovered(scene="skiff", place="reeds"), "narrative"),
        ("discover", "skiff", "", SceneRevisited(scene="skiff", place="reeds"), "narrative"),
        ("examine", "bell", "moor", ObjectExamined(object="bell", scene="chapel", place="moor"), "game"),
        ("sell", "moth-lung", "orla", BargainStruck(player="mira", kind="moth-lung", buyer="orla"), "broker"),
        ("sell", "", "", BargainStruck(player="mira", kind="moth-lung", buyer="orla"), "broker"),
        ("give", "salt", "vane", ItemGiven(to="vane", sku="salt"), "inventory"),
    ],
)
def test_every_kind_of_objective_has_its_deed(kind: str, target: str, place: str, deed: Any, by: str) -> None:
    goal = {"name": "goal", "kind": kind, "target": target, "place": place}
    handler = quest_system(parse({"quests": {"q": one_stage([goal])}}, "test"), CALENDAR)

    case = given(handler, entity="mira").when(QuestAcceptRequested(quest="q")).when(deed, subsystem=by)

    case.then_types(QuestProgressed, QuestCompleted, QuestRewarded)


def state_quest(**goal: Any) -> Case[Quests]:
    handler = quest_system(parse({"quests": {"q": one_stage([{"name": "goal", "kind": "state", **goal}])}}, "test"), CALENDAR)
    return given(handler, entity="mira").when(QuestAcceptRequested(quest="q"))


def test_a_number_in_the_players_state_has_to_reach_what_is_needed() -> None:
    case = state_quest(target="gold", count=10).when(StateChanged(set=typed({"gold": 4, "mood": "calm"})), subsystem="state")
    case.then(QuestProgressed(quest="q", run=1, step=1, objective="goal", count=4, needed=10, player="mira"))
    case = case.when(StateChanged(set=typed({"gold": 3})), subsystem="state").then_nothing()
    case.when(StateChanged(set=typed({"gold": 10})), subsystem="game").then_nothing()

    case.when(StateLoaded(values=typed({"gold": 10**15})), subsystem="state").then_types(QuestProgressed, QuestCompleted, QuestRewarded)


@pytest.mark.parametrize("value", ["angry", 5, True])
def test_a_text_in_the_players_state_has_to_be_that_text(value: str | int | bool) -> None:
    case = state_quest(target="mood", place="calm")
    case.when(StateChanged(set=typed({"mood": value})), subsystem="state").then_nothing()

    case.when(StateChanged(set=typed({"mood": "calm"})), subsystem="state").then_types(QuestProgressed, QuestCompleted, QuestRewarded)


def test_yes_counts_and_no_does_not() -> None:
    case = state_quest(target="sworn")
    case.when(StateChanged(set=typed({"sworn": False})), subsystem="state").then_nothing()

    case.when(StateChanged(set=typed({"sworn": True})), subsystem="state").then_types(QuestProgressed, QuestCompleted, QuestRewarded)


def test_what_an_npc_says_is_heard_by_the_player_it_was_said_to() -> None:
    handler = quest_system(parse({"quests": {"q": one_stage([{"name": "goal", "kind": "hear", "target": "hask"}])}}, "test"), CALENDAR)
    case = given(handler, entity="mira").when(QuestAcceptRequested(quest="q"))
    case.when(NpcSpoke(player="ben", text="Hm."), entity="hask", subsystem="npc").then_nothing()
    case.when(NpcSpoke(player="mira", text="Hm."), entity="hask").then_nothing()

    case = case.when(NpcSpoke(player="mira", text="Hm."), entity="hask", subsystem="npc")

    case.then_types(QuestProgressed, QuestCompleted, QuestRewarded)
    assert case.said[0].player == "mira"  # type: ignore[attr-defined]


def test_a_stage_leads_to_a_choice_and_the_choice_to_another_ending() -> None:
    case = accepted("fork").when(PlayerSpoke(npc="hask"))
    case.then(
        QuestProgressed(quest="fork", run=1, step=1, objective="talk", count=1, needed=1, player="mira"),
        QuestStageBegan(quest="fork", run=1, stage="decide", step=2),
        QuestChoiceOpened(quest="fork", run=1, step=2, choices=[QuestPath(name="left", text="L"), QuestPath(name="right", text="R")]),
    )
    assert refusal(case.when(QuestChoiceRequested(quest="fork", choice="up"))) == "UNKNOWN_CHOICE"

    case = case.when(QuestChoiceRequested(quest="fork", choice="right"))

    case.then_types(QuestChoiceMade, QuestCompleted, QuestRewarded)
    assert case.state.has_done("fork=sold")
    assert not case.state.has_done("fork=walked")


def test_waiting_is_counted_by_the_clock_and_an_ending_may_pay_nothing() -> None:
    case = accepted("fork").when(PlayerSpoke(npc="hask")).when(QuestChoiceRequested(quest="fork", choice="left"))
    began = QuestStageBegan(
        quest="fork",
        run=1,
        stage="walk",
        step=3,
        limit_minutes=30,
        objectives=[QuestObjective(name="wait", kind="wait", needed=1, minutes=10)],
    )
    case.then(
        QuestChoiceMade(quest="fork", run=1, choice="left", player="mira"),
        began,
        WakeRequested(name="stage-1-3", in_world_ms=30 * MINUTE),
        WakeRequested(name="wait-1-3", in_world_ms=10 * MINUTE),
    )

    woken(case, "wait-1-3").then(
        QuestProgressed(quest="fork", run=1, step=3, objective="wait", count=1, needed=1, player="mira"),
        WakeCancelRequested(name="stage-1-3"),
        QuestCompleted(quest="fork", run=1, ending="walked", unlocked=["after-walk"]),
    )


def test_what_the_stage_forbids_fails_the_quest() -> None:
    case = accepted("fork").when(NpcAttacked(npc="hask")).then_nothing()  # not in this stage
    case = case.when(PlayerSpoke(npc="hask")).when(NpcAttacked(npc="hask"))

    case.then(QuestFailed(quest="fork", run=1, cause="forbidden", stage="decide")).then_state(active=())


def test_time_fails_a_quest_and_a_late_wake_fails_nothing() -> None:
    case = accepted("hurry").then_types(QuestAccepted, WakeRequested, QuestStageBegan)
    failed = woken(case, "limit-1").then(WakeCancelRequested(name="limit-1"), QuestFailed(quest="hurry", run=1, cause="time", stage="only"))
    second = failed.when(QuestAcceptRequested(quest="hurry"))

    woken(second, "limit-1").then_nothing()
    completed = second.when(PlayerSpoke(npc="hask")).then_types(QuestProgressed, WakeCancelRequested, QuestCompleted, QuestRewarded)
    woken(completed, "limit-2").then_nothing()


def test_abandoning_pays_nothing_and_the_quest_can_be_accepted_again() -> None:
    case = accepted("wolves").when(QuestAbandonRequested(quest="wolves"))
    case.then(QuestAbandoned(quest="wolves", run=1, player="mira"))

    case.when(QuestAcceptRequested(quest="wolves")).then_types(QuestAccepted, QuestStageBegan).then_state(runs=2)


def test_prerequisites_name_quests_or_endings() -> None:
    case = accepted("after-walk")
    assert refusal(case) == "NOT_YET"

    case = done(done(case, "wolves"), "fork")

    case.when(QuestAcceptRequested(quest="after-walk")).then_types(QuestAccepted, QuestStageBegan)
    case.when(QuestAcceptRequested(quest="after-any")).then_types(QuestAccepted, QuestStageBegan)


def test_completing_tells_what_it_unlocked_only_when_nothing_else_is_missing() -> None:
    case = done(given(quest, entity="mira"), "wolves")
    (completed,) = [it for it in case.said if isinstance(it, QuestCompleted)]
    assert list(completed.unlocked) == []

    case = done(case, "fork")
    (completed,) = [it for it in case.said if isinstance(it, QuestCompleted)]

    assert set(completed.unlocked) == {"after-walk", "after-any"}


def test_wishes_that_cannot_be_granted_are_refused() -> None:
    case = accepted("wolves")
    assert refusal(case.when(QuestAcceptRequested(quest="wolves"))) == "ALREADY_ACTIVE"
    assert refusal(case.when(QuestAcceptRequested(quest="no such"))) == "UNKNOWN_QUEST"
    assert refusal(case.when(QuestChoiceRequested(quest="wolves", choice="x"))) == "NO_CHOICE"
    assert refusal(case.when(QuestChoiceRequested(quest="fork", choice="x"))) == "NOT_ACTIVE"
    assert refusal(case.when(QuestAbandonRequested(quest="fork"))) == "NOT_ACTIVE"
    assert refusal(case.when(QuestWorkRequested(npc="nobody"))) == "NO_WORK"
    assert refusal(done(given(quest, entity="mira"), "wolves").when(QuestAcceptRequested(quest="wolves"))) == "ALREADY_DONE"
    assert refusal(case.when(QuestAcceptRequested(quest="wolves", party="p"))) == "NOT_SHARED"


def test_a_player_has_room_for_eight_quests() -> None:
    quests = {f"q{number}": one_stage([talk("hask")]) for number in range(9)}
    case = given(quest_system(parse({"quests": quests}, "test"), CALENDAR), entity="mira")
    for number in range(8):
        case = case.when(QuestAcceptRequested(quest=f"q{number}")).then_types(QuestAccepted, QuestStageBegan)
    assert refusal(case.when(QuestAcceptRequested(quest="q8"))) == "TOO_MANY"

    case.when(PlayerSpoke(npc="hask")).then_types(*[QuestProgressed, QuestCompleted, QuestRewarded] * 8).then_state(active=())


def test_a_daily_quest_comes_back_at_midnight() -> None:
    case = accepted("rounds").then_types(QuestAccepted, QuestStageBegan, WakeRequested)
    case = woken(case, "today", at(20)).then(WakeRequested(name="midnight-1", at_world_ms=2 * 24 * HOUR))
    case = case.when(PlayerEnteredZone(zone="quay"), subsystem="player").then_types(QuestProgressed, QuestCompleted, QuestRewarded)
    assert refusal(case.when(QuestAcceptRequested(quest="rounds"))) == "DONE_TODAY"

    case = woken(case, "midnight-1", at(0, day=2)).then(DailyQuestsReset(day=2))

    case.when(QuestAcceptRequested(quest="rounds")).then_types(QuestAccepted, QuestStageBegan, WakeRequested)


def test_a_daily_quest_that_is_still_open_at_midnight_fails() -> None:
    case = woken(accepted("rounds"), "today", at(20))

    woken(case, "midnight-1", at(0, day=2)).then(
        QuestFailed(quest="rounds", run=1, cause="day_over", stage="only"), DailyQuestsReset(day=2)
    ).then_state(active=(), watching=False)


def test_a_midnight_that_comes_too_early_is_asked_for_again() -> None:
    """A clock may have been started with longer days than the world's own table says."""
    case = woken(accepted("rounds"), "today", at(20))

    woken(case, "midnight-1", at(24)).then(WakeRequested(name="midnight-1", at_world_ms=2 * 24 * HOUR + HOUR))


def test_work_is_made_up_from_the_event_that_asked() -> None:
    case = given(quest, entity="mira").when(QuestWorkRequested(npc="pell"), id="asked-1")
    (offer,) = case.said
    assert isinstance(offer, QuestOffered)
    (goal,) = offer.objectives
    assert goal.kind == "kill"
    assert goal.target in ("wolf", "rat")
    assert 2 <= goal.needed <= 4
    assert goal.needed * 10 <= offer.reward.amount_minor <= goal.needed * 20
    assert offer.limit_minutes == goal.needed * 30
    assert offer.title == f"{goal.needed} {goal.target} at moor for pell"
    again = given(quest, entity="ben").when(QuestWorkRequested(npc="pell"), id="asked-1")
    other = given(quest, entity="mira").when(QuestWorkRequested(npc="pell"), id="asked-2")

    again.then(offer)
    assert other.said != case.said


def test_offered_work_can_be_accepted_once_done_and_paid() -> None:
    case = given(quest, entity="mira").when(QuestWorkRequested(npc="pell"))
    (offer,) = case.said
    assert isinstance(offer, QuestOffered)
    case = case.when(QuestAcceptRequested(quest=offer.quest)).then_types(QuestAccepted, WakeRequested, QuestStageBegan)
    assert refusal(case.when(QuestAcceptRequested(quest=offer.quest))) == "UNKNOWN_QUEST"  # no longer on offer

    goal = offer.objectives[0]
    case = case.when(CreatureSlain(creature=goal.target, place="moor", quantity=9))

    case.then_types(QuestProgressed, WakeCancelRequested, QuestCompleted, QuestRewarded).then_state(active=(), done=())
    (paid,) = [it for it in case.said if isinstance(it, QuestRewarded)]
    assert (paid.currency, paid.amount_minor) == ("teeth", offer.reward.amount_minor)


def test_only_the_three_newest_offers_stand() -> None:
    case = given(quest, entity="mira")
    names = []
    for number in range(4):
        case = case.when(QuestWorkRequested(npc="pell"), id=f"asked-{number}")
        names.append(case.said[0].quest)  # type: ignore[attr-defined]

    assert refusal(case.when(QuestAcceptRequested(quest=names[0]))) == "UNKNOWN_QUEST"
    case.when(QuestAcceptRequested(quest=names[1])).then_types(QuestAccepted, WakeRequested, QuestStageBegan)


def test_a_run_of_a_quest_that_the_table_has_lost_is_withdrawn() -> None:
    lost = quest_system(parse({"quests": {}}, "test"), CALENDAR)
    history = accepted("wolves").said

    given(lost, *history, entity="mira").when(CreatureSlain(creature="wolf", place="moor")).then(
        QuestFailed(quest="wolves", run=1, cause="withdrawn", stage="only")
    )
