"""The quests of a holder, a player or a party, folded from the handler's events about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bus.event import Event
from handlers.quest_system.generate import quest_of
from handlers.quest_system.model import Objective, Quest
from schemas.gen.worldbus.quest.v1 import quest_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested

MAX_OFFERS: Final = 3
TODAY: Final = "today"  # name of the wake that tells what day it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A quest under way. `counts` goes with `goals`, the objectives of the stage; `made_up` is a generated quest, which no table has."""

    quest: str
    number: int
    limited: bool = False  # the whole quest has a time limit
    stage: str = ""
    step: int = 0
    goals: tuple[Objective, ...] = ()
    counts: tuple[int, ...] = ()
    stage_limited: bool = False
    choosing: bool = False
    made_up: Quest | None = None

    @property
    def met(self) -> bool:
        """True if every objective of the stage is met."""
        return all(count >= goal.count for goal, count in zip(self.goals, self.counts, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """A run of the party to which this member's deeds are passed on."""

    quest: str
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quests:
    """All about one holder. A player has a `party` and `follows` its runs; a party has `members`.

    `done` has every quest of the table that was completed, with its last ending: at most as many as the table has.
    `today` are the daily quests completed since the last reset; `watching` while the clock is to say when the day is over.
    """

    holder: str = ""
    runs: int = 0
    active: tuple[Run, ...] = ()
    offers: tuple[Quest, ...] = ()
    done: tuple[tuple[str, str], ...] = ()
    today: tuple[str, ...] = ()
    watching: bool = False
    party: str = ""
    follows: tuple[Follow, ...] = ()
    members: tuple[str, ...] = ()

    def run_of(self, quest: str) -> Run | None:
        """The run of this quest, if it is under way."""
        return next((run for run in self.active if run.quest == quest), None)

    def has_done(self, need: str) -> bool:
        """Return whether `quest`, or `quest=ending`, was completed."""
        quest, _, ending = need.partition("=")
        return any(done == quest and ending in ("", how) for done, how in self.done)


def evolve(quests: Quests, event: Event) -> Quests:
    """The holder's quests after the handler said `event`."""
    match event.data:
        case said.QuestProgressed() as it:
            return _progressed(quests, it)
        case said.QuestStageBegan() as it:
            return _stage(quests, it)
        case said.QuestAccepted() as it:
            return _accepted(quests, it)
        case said.QuestChoiceOpened(run=number):
            return _with(quests, number, choosing=True)
        case said.QuestCompleted() as it:
            return _completed(quests, it)
        case said.QuestFailed(run=number) | said.QuestAbandoned(run=number):
            return _without(quests, number)
        case said.QuestOffered() as it:
            return replace(quests, offers=(*quests.offers, quest_of(it))[-MAX_OFFERS:])
        case WakeRequested(name=name) if name == TODAY:
            return replace(quests, watching=True)
        case said.DailyQuestsReset():
            return replace(quests, today=(), watching=False)
        case _:
            return _party(quests, event)


def _party(quests: Quests, event: Event) -> Quests:
    match event.data:
        case said.QuestPartyJoined(party=party):
            return replace(quests, party=party, follows=())
        case said.QuestPartyDeparted():
            return replace(quests, party="", follows=())
        case said.QuestPartyGathered() as it:
            return replace(quests, members=tuple(it.members))
        case said.SharedQuestFollowed() as it:
            return replace(quests, follows=(*quests.follows, Follow(quest=it.quest, run=it.run)))
        case said.SharedQuestReleased() as it:
            return replace(quests, follows=tuple(each for each in quests.follows if each.run != it.run))
        case _:
            return quests


def _with(quests: Quests, number: int, **changes: object) -> Quests:
    return replace(quests, active=tuple(replace(run, **changes) if run.number == number else run for run in quests.active))  # type: ignore[arg-type]


def _without(quests: Quests, number: int) -> Quests:
    return replace(quests, active=tuple(run for run in quests.active if run.number != number))


def _accepted(quests: Quests, it: said.QuestAccepted) -> Quests:
    made_up = next((offer for offer in quests.offers if offer.name == it.quest), None)
    run = Run(quest=it.quest, number=it.run, limited=it.limit_minutes > 0, made_up=made_up)
    offers = tuple(offer for offer in quests.offers if offer.name != it.quest)
    return replace(quests, runs=it.run, active=(*quests.active, run), offers=offers)


def _stage(quests: Quests, it: said.QuestStageBegan) -> Quests:
    goals = tuple(
        Objective(name=goal.name, kind=goal.kind, target=goal.target, place=goal.place, count=goal.needed, minutes=goal.minutes)
        for goal in it.objectives
    )
    begun = {"stage": it.stage, "step": it.step, "goals": goals, "counts": (0,) * len(goals)}
    return _with(quests, it.run, **begun, stage_limited=it.limit_minutes > 0, choosing=False)


def _progressed(quests: Quests, it: said.QuestProgressed) -> Quests:
    active = []
    for run in quests.active:
        if run.number == it.run:
            counts = (it.count if goal.name == it.objective else count for goal, count in zip(run.goals, run.counts, strict=True))
            run = replace(run, counts=tuple(counts))
        active.append(run)
    return replace(quests, active=tuple(active))


def _completed(quests: Quests, it: said.QuestCompleted) -> Quests:
    if it.party:  # a member hears that the party's run is over: none of the player's own
        released = replace(quests, follows=tuple(each for each in quests.follows if each.run != it.run))
        return _done(released, it.quest, it.ending)
    run = quests.run_of(it.quest)
    quests = _without(quests, it.run)
    return quests if run is None or run.made_up is not None else _done(quests, it.quest, it.ending)


def _done(quests: Quests, quest: str, ending: str) -> Quests:
    others = tuple(each for each in quests.done if each[0] != quest)
    today = (*quests.today, quest) if quests.watching and quest not in quests.today else quests.today
    return replace(quests, done=(*others, (quest, ending)), today=today)
