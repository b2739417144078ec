"""Laws of quests, whatever is asked and done in whatever order."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.handler import MAX_OUTPUTS
from bus.testing import Case, Rehearsal
from bus.testing import given as lane
from handlers.quest_system.model import Objective
from handlers.quest_system.state import Quests
from handlers.quest_system.tables import load
from handlers.state_manager import typed
from schemas.gen.worldbus.game.v1.game_pb2 import (
    CreatureSlain,
    NpcAttacked,
    ObjectExamined,
    PartyFormed,
    PartyLeft,
    PlayerSpoke,
)
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneDiscovered
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAbandoned,
    QuestAbandonRequested,
    QuestAccepted,
    QuestAcceptRequested,
    QuestChoiceOpened,
    QuestChoiceRequested,
    QuestCompleted,
    QuestFailed,
    QuestOffered,
    QuestProgressed,
    QuestRewarded,
    QuestStageBegan,
    QuestWorkRequested,
)
from schemas.gen.worldbus.state.v1.state_pb2 import StateChanged
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from tests.duskmarket import FOLDER, quest, time

TABLES = load(FOLDER / "quests.toml")
HOUR = 3_600_000

npcs = st.sampled_from(["widow-hask", "doctor-vane", "warden-pell", "old-marrow"])
creatures = st.sampled_from(["moor-hound", "marsh-leech", "carrion-crow"])
places = st.sampled_from(["quay", "fishmarket", "old-moor", "reed-path", "north-pass"])
things = st.sampled_from(["grave-salt", "leech-jar", "black-thread", "candle-fat"])
counts = st.integers(0, 5)
quests = st.sampled_from(sorted(TABLES.quests))
deeds = st.one_of(
    st.builds(lambda npc: PlayerSpoke(npc=npc), npcs),
    st.builds(lambda creature, place, n: CreatureSlain(creature=creature, place=place, quantity=n), creatures, places, counts),
    st.builds(lambda item, n: ItemGranted(sku=item, quantity=n, reason="collected"), things, st.integers(1, 5)),
    st.builds(lambda npc, item: ItemGiven(to=npc, sku=item), npcs, things),
    st.builds(lambda place: PlayerEnteredZone(zone=place), places),
    st.builds(lambda place: SceneDiscovered(scene="drowned-skiff", place=place), places),
    st.builds(lambda place: ObjectExamined(object="sunken-bell", scene="sunken-chapel", place=place), places),
    st.builds(lambda npc: NpcAttacked(npc=npc), npcs),
    st.builds(
        lambda gold, mood: StateChanged(set=typed({"gold": gold, "mood": mood})), st.integers(-5, 600), st.sampled_from(["calm", "wary"])
    ),
)
wishes = st.one_of(
    st.builds(lambda name: QuestAcceptRequested(quest=name), quests),
    st.builds(lambda name: QuestAcceptRequested(quest=name), quests),
    st.builds(lambda name: QuestAbandonRequested(quest=name), quests),
    st.builds(lambda npc: QuestWorkRequested(npc=npc), npcs),
)
SAY_SO = {
    PlayerEnteredZone: "player",
    SceneDiscovered: "narrative",
    StateChanged: "state",
    ItemGranted: "inventory",
    ItemGiven: "inventory",
}
# Besides plain deeds and wishes: take what was offered, choose what is open, be woken as was asked, and (mostly) do what is to be done:
# without purpose nobody ever completes a quest. The number picks which.
purposes = st.tuples(st.sampled_from(["meet"] * 12 + ["choose", "choose", "wake", "take"]), st.integers(0, 9))
first = st.lists(st.builds(lambda name: QuestAcceptRequested(quest=name), quests), min_size=2, max_size=6)
then = st.lists(st.one_of(purposes, purposes, purposes, purposes, deeds, wishes), min_size=10, max_size=60)
steps: st.SearchStrategy[list[Any]] = st.builds(lambda begin, go_on: [*begin, *go_on], first, then)


def follow(asked: list[Any]) -> tuple[Case[Quests], list[Any]]:
    """One player does all of it; the lane at the end, and everything that was said."""
    case: Case[Quests] = lane(quest, entity="mira")
    log: list[Any] = []
    for number, step in enumerate(asked):
        message = _resolve(step, log, case.state, number) if isinstance(step, tuple) else step
        if message is not None:
            by = "time" if isinstance(message, WakeFired) else SAY_SO.get(type(message), "game")
            case = case.when(message, subsystem=by, entity="clock" if by == "time" else "mira", id=f"step-{number}")
            assert len(case.said) <= MAX_OUTPUTS
            log += case.said
    return case, log


def _resolve(step: tuple[str, int], log: list[Any], quests: Quests, number: int) -> Any:
    kind, pick = step
    if kind == "take":
        offers = [it.quest for it in log if isinstance(it, QuestOffered)]
        return QuestAcceptRequested(quest=offers[pick % len(offers)]) if offers else None
    if kind == "choose":
        open_ = [(it.quest, path.name) for it in log if isinstance(it, QuestChoiceOpened) for path in it.choices]
        return QuestChoiceRequested(quest=open_[pick % len(open_)][0], choice=open_[pick % len(open_)][1]) if open_ else None
    if kind == "wake":
        wakes = [it.name for it in log if isinstance(it, WakeRequested)]  # also one that was cancelled: it may be under way
        now = WorldTime(world_ms=number * HOUR, day=1 + number // 24, hour=number % 24)
        return WakeFired(subsystem="quest", entity="mira", name=wakes[pick % len(wakes)], now=now) if wakes else None
    open_goals = [goal for run in quests.active for goal, count in zip(run.goals, run.counts, strict=True) if count < goal.count]
    return _deed(open_goals[pick % len(open_goals)]) if open_goals else None


def _deed(goal: Objective) -> Any:
    return {
        "kill": CreatureSlain(creature=goal.target, place=goal.place, quantity=goal.count),
        "collect": ItemGranted(sku=goal.target, quantity=goal.count, reason="collected", reference=goal.place),
        "talk": PlayerSpoke(npc=goal.target),
        "visit": PlayerEnteredZone(zone=goal.target),
        "discover": SceneDiscovered(scene=goal.target),
        "examine": ObjectExamined(object=goal.target, place=goal.place),
        "state": StateChanged(set=typed({goal.target: goal.place or goal.count})),
        "give": ItemGiven(to=goal.place, sku=goal.target),
    }.get(goal.kind)


def ends(log: list[Any]) -> Counter[int]:
    return Counter(it.run for it in log if isinstance(it, QuestCompleted | QuestFailed | QuestAbandoned))


@given(steps)
@settings(deadline=None)
def test_every_run_ends_once_and_nothing_is_said_of_it_afterwards(asked: list[Any]) -> None:
    case, log = follow(asked)

    begun = [it.run for it in log if isinstance(it, QuestAccepted)]
    assert begun == list(range(1, len(begun) + 1))
    assert all(times == 1 for times in ends(log).values())
    assert {run.number for run in case.state.active} == set(begun) - set(ends(log))
    over: set[int] = set()
    for it in log:
        assert not (isinstance(it, QuestProgressed | QuestStageBegan | QuestChoiceOpened) and it.run in over)
        over |= {it.run} if isinstance(it, QuestCompleted | QuestFailed | QuestAbandoned) else set()


@given(steps)
@settings(deadline=None)
def test_a_completed_run_pays_once_what_its_ending_says_and_no_other_pays(asked: list[Any]) -> None:
    _, log = follow(asked)

    names = {it.run: it.quest for it in log if isinstance(it, QuestAccepted)}
    offered = {it.quest: it.reward for it in log if isinstance(it, QuestOffered)}
    wanted: Counter[tuple[int, str, int]] = Counter()
    for it in log:
        if isinstance(it, QuestCompleted):
            if (quest_ := TABLES.quests.get(names[it.run])) is not None:
                ending = quest_.ending(it.ending)
                assert ending is not None
                wanted[it.run, ending.currency, ending.amount_minor] += 1
            else:
                pays = offered[it.quest]
                wanted[it.run, pays.currency, pays.amount_minor] += 1

    assert wanted == Counter((it.run, it.currency, it.amount_minor) for it in log if isinstance(it, QuestRewarded))


@given(steps)
@settings(deadline=None)
def test_progress_only_grows_and_never_beyond_what_is_needed(asked: list[Any]) -> None:
    _, log = follow(asked)

    last: dict[tuple[int, int, str], int] = {}
    for it in log:
        if isinstance(it, QuestProgressed):
            key = (it.run, it.step, it.objective)
            assert last.get(key, 0) < it.count <= it.needed
            last[key] = it.count


@given(steps)
@settings(deadline=None)
def test_one_quest_is_never_under_way_twice_and_a_quest_for_once_is_completed_once(asked: list[Any]) -> None:
    _, log = follow(asked)

    active: dict[str, int] = {}
    for it in log:
        if isinstance(it, QuestAccepted):
            assert it.quest not in active
            active[it.quest] = it.run
        elif isinstance(it, QuestCompleted | QuestFailed | QuestAbandoned):
            assert active.pop(it.quest) == it.run
    completed = Counter(it.quest for it in log if isinstance(it, QuestCompleted))
    assert all(times == 1 for name, times in completed.items() if name not in TABLES.quests or TABLES.quests[name].repeat == "once")


@given(steps)
@settings(deadline=None)
def test_the_state_is_the_fold_of_what_was_said(asked: list[Any]) -> None:
    case, log = follow(asked)

    assert lane(quest, *log, entity="mira").state == case.state


members = st.sampled_from(["mira", "ben", "cara"])
together = st.lists(
    st.one_of(
        st.tuples(members, st.builds(lambda n: CreatureSlain(creature="moor-hound", place="old-moor", quantity=n), st.integers(1, 15))),
        st.tuples(members, st.just(CreatureSlain(creature="moor-hound", place="old-moor", quantity=12))),
        st.tuples(members, st.just(PlayerSpoke(npc="warden-pell"))),
        st.tuples(members, st.just(PlayerSpoke(npc="warden-pell"))),
        st.tuples(members, st.just(QuestAcceptRequested(quest="hounds-of-the-moor", party="pack"))),
        st.tuples(members, st.just(QuestAcceptRequested(quest="hounds-of-the-moor", party="pack"))),
        st.tuples(members, st.just(QuestAcceptRequested(quest="hounds-of-the-moor"))),
        st.tuples(members, st.just(QuestAbandonRequested(quest="hounds-of-the-moor", party="pack"))),
        st.tuples(members, st.just(PartyLeft(party="pack"))),
        st.tuples(members, st.builds(lambda who: PartyFormed(party="pack", members=who), st.lists(members, min_size=1, unique=True))),
        st.tuples(st.just("clock"), st.builds(lambda ms: RealTimePassed(real_ms=ms), st.integers(1, 40_000))),
    ),
    min_size=5,
    max_size=50,
)


@given(together, st.lists(st.booleans(), min_size=50, max_size=50))
@settings(deadline=None)
def test_a_partys_run_pays_each_of_its_members_once_however_their_deeds_interleave(asked: list[Any], heard: list[bool]) -> None:
    """`heard` says whether everybody has listened before the next thing happens, or several things are under way at once."""
    town = Rehearsal(time, quest)
    town.say(ClockStartRequested(scale=HOUR), entity="clock")
    town.say(PartyFormed(party="pack", members=["mira", "ben"]), entity="mira")
    for number, (who, message) in enumerate(asked):
        town.say(message, entity=who, hear=heard[number])
    town.say(RealTimePassed(real_ms=1), entity="clock")

    completed = town.said(QuestCompleted, entity="pack")
    wanted = Counter((member, it.run) for it in completed for member in it.members)
    assert wanted == Counter((it.player, it.run) for it in town.said(QuestRewarded) if it.party)
    for player in ("mira", "ben", "cara"):
        alone = [it.run for it in town.said(QuestCompleted, entity=player) if not it.party]
        assert alone == [it.run for it in town.said(QuestRewarded, entity=player) if not it.party]
    assert town.refold() == {lane: town.state(town.handlers[lane[0]], lane[1]) for lane in town.refold()}
    assert town.state(quest, "pack").follows == ()
