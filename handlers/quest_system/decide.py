"""Decisions about a holder's quests: on commands, on deeds, on the clock, and on the party."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.quest_system import course, party
from handlers.quest_system.deeds import deeds_of
from handlers.quest_system.generate import offer
from handlers.quest_system.model import Quest
from handlers.quest_system.refusals import refused
from handlers.quest_system.state import TODAY, Quests
from handlers.quest_system.tables import Tables
from handlers.time_manager.calendar import Calendar
from schemas.gen.worldbus.game.v1.game_pb2 import PartyFormed, PartyLeft
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    DailyQuestsReset,
    QuestAbandonRequested,
    QuestAccepted,
    QuestAcceptRequested,
    QuestChoiceRequested,
    QuestCompleted,
    QuestPartyDeparted,
    QuestPartyGathered,
    QuestPartyJoined,
    QuestWorkRequested,
    SharedProgressReported,
    SharedQuestClosed,
    SharedQuestProposed,
)
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime

HOUR_MS: Final = 60 * course.MINUTE_MS
MIDNIGHT: Final = "midnight"

Said = Sequence[Message]


def decide(tables: Tables, calendar: Calendar, event: Event, quests: Quests) -> Said:
    """The holder's answer to `event`."""
    if deeds := deeds_of(event):
        return *course.heard(tables, quests, deeds, quests.holder), *party.pass_on(tables, quests, deeds)
    match event.data:
        case SharedProgressReported() as it:
            return party.reported(tables, event, it, quests)
        case WakeFired() as it:
            return _woken(tables, calendar, it, quests)
        case QuestAcceptRequested() as it:
            return _accept(tables, event, it, quests)
        case QuestChoiceRequested() as it:
            return _choose(tables, event, it, quests)
        case QuestAbandonRequested() as it:
            return _abandon(event, it, quests)
        case QuestWorkRequested(npc=npc):
            made = offer(tables, npc, event.id)
            return (made,) if made else refused(event, "NO_WORK", f"{ascii(npc)[:80]} has no work for anybody: ask someone else")
        case _:
            return _of_party(tables, event, quests)


def _of_party(tables: Tables, event: Event, quests: Quests) -> Said:
    match event.data:
        case QuestAccepted() | QuestPartyGathered() as it:
            return party.followed(event, it, quests)
        case QuestCompleted() as it:
            return party.shared(tables, event, it, quests)
        case SharedQuestClosed() as it:
            return party.released(event, it, quests)
        case SharedQuestProposed() as it:
            return party.proposed(tables, event, it, quests)
        case PartyFormed() as it:
            return party.formed(event, it, quests)
        case PartyLeft() as it:
            return party.left(it, quests)
        case QuestPartyJoined():
            return party.joined(event, quests)
        case QuestPartyDeparted():
            return party.departed(event, quests)
        case _:
            return ()


def _accept(tables: Tables, event: Event, it: QuestAcceptRequested, quests: Quests) -> Said:
    quest = next((made_up for made_up in quests.offers if made_up.name == it.quest), None) or tables.quests.get(it.quest)
    if quest is None:
        return refused(event, "UNKNOWN_QUEST", f"wanted a quest of the table or one on offer, found {ascii(it.quest)[:80]}")
    if refusal := _not_allowed(event, quest, quests):
        return refusal
    if it.party:
        return _propose(event, it, quest, quests)
    if quests.run_of(quest.name) is not None:
        return refused(event, "ALREADY_ACTIVE", f"{event.entity} is already on {quest.name}", quest=quest.name)
    if len(quests.active) >= party.MAX_ACTIVE:
        return refused(event, "TOO_MANY", f"a player may have {party.MAX_ACTIVE} quests at a time: end one first", quest=quest.name)
    ask_day = (WakeRequested(name=TODAY),) if quest.repeat == "daily" and not quests.watching else ()
    return *course.begin(quests, quest), *ask_day


def _not_allowed(event: Event, quest: Quest, quests: Quests) -> Said:
    missing = [need for need in quest.after if not quests.has_done(need)]
    if missing:
        return refused(event, "NOT_YET", f"{quest.name} comes after {', '.join(missing)}: complete that first", quest=quest.name)
    if quest.repeat == "once" and quests.has_done(quest.name):
        return refused(event, "ALREADY_DONE", f"{quest.name} can be completed once, and was", quest=quest.name)
    if quest.repeat == "daily" and quest.name in quests.today:
        return refused(event, "DONE_TODAY", f"{quest.name} was completed today: come back tomorrow", quest=quest.name)
    return ()


def _propose(event: Event, it: QuestAcceptRequested, quest: Quest, quests: Quests) -> Said:
    if not quest.shared:
        return refused(event, "NOT_SHARED", f"{quest.name} is for one player: accept it without a party", quest=quest.name)
    if quests.party != it.party:
        found = f"found {ascii(it.party)[:80]}, the player's party is {quests.party or 'none'}"
        return refused(event, "NOT_A_MEMBER", f"wanted the player's own party, {found}: say PartyFormed first", quest=quest.name)
    return (SharedQuestProposed(party=it.party, quest=quest.name),)


def _choose(tables: Tables, event: Event, it: QuestChoiceRequested, quests: Quests) -> Said:
    if refusal := _not_held(event, it, quests):
        return refusal
    run = quests.run_of(it.quest)
    if run is None or not run.choosing:
        return refused(event, "NO_CHOICE", f"{ascii(it.quest)[:80]} waits for no choice now", quest=it.quest)
    chosen = course.choose(tables, quests, run, it.choice, event.entity)
    return chosen or refused(event, "UNKNOWN_CHOICE", f"{run.stage} has no choice {ascii(it.choice)[:80]}", quest=it.quest)


def _abandon(event: Event, it: QuestAbandonRequested, quests: Quests) -> Said:
    if refusal := _not_held(event, it, quests):
        return refusal
    run = quests.run_of(it.quest)
    assert run is not None  # held
    return course.abandon(quests, run, event.entity)


def _not_held(event: Event, it: QuestChoiceRequested | QuestAbandonRequested, quests: Quests) -> Said:
    if it.party and event.entity not in quests.members:
        return refused(event, "NOT_A_MEMBER", f"{event.entity} is no member of {ascii(it.party)[:80]}", quest=it.quest)
    if quests.run_of(it.quest) is None:
        return refused(event, "NOT_ACTIVE", f"{ascii(it.quest)[:80]} is not under way: accept it first", quest=it.quest)
    return ()


def _woken(tables: Tables, calendar: Calendar, it: WakeFired, quests: Quests) -> Said:
    if it.name == TODAY:
        return (_at_midnight(calendar, it.now),)
    if not it.name.startswith(MIDNIGHT):
        return course.woken(tables, quests, it.name, it.entity)
    if it.now.day <= int(it.name.partition("-")[2]):
        return (_at_midnight(calendar, it.now),)  # the clock's calendar has longer days than the world's table says
    over = [
        each
        for run in quests.active
        if (quest := course.quest_of(tables, run)) is not None and quest.repeat == "daily"
        for each in course.fail(quests, run, "day_over")
    ]
    return *over, DailyQuestsReset(day=it.now.day)


def _at_midnight(calendar: Calendar, now: WorldTime) -> WakeRequested:
    """A wake at the coming midnight or, for want of seconds in a world time, up to a minute after it.

    The name carries the day, so that a wake which comes too early shows.
    """
    gone_ms = (now.hour * 60 + now.minute) * course.MINUTE_MS
    rest_ms = max(calendar.hours_per_day * HOUR_MS - gone_ms, HOUR_MS)
    return WakeRequested(name=f"{MIDNIGHT}-{now.day}", at_world_ms=now.world_ms + rest_ms)
