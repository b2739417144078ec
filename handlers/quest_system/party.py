"""Shared quests. The party holds the run; members propose quests, pass on their deeds, and are paid one by one.

    member:  PartyFormed ──▶ QuestPartyJoined          SharedQuestProposed ──▶ party: QuestAccepted ──▶ member: SharedQuestFollowed
    member:  a deed      ──▶ SharedProgressReported ──▶ party: QuestProgressed … QuestCompleted ──▶ member: QuestCompleted, QuestRewarded

Member and party are lanes of their own, so each of these arrows is one hop through the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.names import is_token
from handlers.quest_system import course
from handlers.quest_system.model import Deed
from handlers.quest_system.refusals import refused
from handlers.quest_system.state import Follow, Quests
from handlers.quest_system.tables import Tables
from schemas.gen.worldbus.game.v1.game_pb2 import PartyFormed, PartyLeft
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAccepted,
    QuestCompleted,
    QuestPartyDeparted,
    QuestPartyGathered,
    QuestPartyJoined,
    SharedProgressReported,
    SharedQuestClosed,
    SharedQuestFollowed,
    SharedQuestProposed,
    SharedQuestReleased,
)
from schemas.gen.worldbus.quest.v1.types_pb2 import SharedRun

MAX_MEMBERS: Final = 8
MAX_ACTIVE: Final = 8  # runs of one holder at a time

Said = Sequence[Message]


def formed(event: Event, it: PartyFormed, quests: Quests) -> Said:
    """A member's lane: the player is of this party now, and of no other."""
    if quests.party == it.party:
        return ()
    if len(set(it.members)) > MAX_MEMBERS or not is_token(it.party):
        return refused(event, "TOO_MANY", f"a party has a name and at most {MAX_MEMBERS} members, found {len(set(it.members))}")
    left = (QuestPartyDeparted(party=quests.party),) if quests.party else ()
    return *left, QuestPartyJoined(party=it.party)


def left(it: PartyLeft, quests: Quests) -> Said:
    """A member's lane: the player is of no party any more."""
    return (QuestPartyDeparted(party=it.party),) if it.party and quests.party == it.party else ()


def joined(event: Event, quests: Quests) -> Said:
    """The party's lane: somebody came."""
    if event.entity in quests.members:
        return ()
    if len(quests.members) >= MAX_MEMBERS:
        return refused(event, "TOO_MANY", f"a party has at most {MAX_MEMBERS} members: {event.entity} is not counted as one")
    return (_gathered(quests, (*quests.members, event.entity)),)


def departed(event: Event, quests: Quests) -> Said:
    """The party's lane: somebody went. When nobody is left, what the party held is given up."""
    if event.entity not in quests.members:
        return ()
    rest = tuple(member for member in quests.members if member != event.entity)
    given_up = [each for run in quests.active for each in course.abandon(quests, run, event.entity)] if not rest else []
    return *given_up, _gathered(quests, rest)


def _gathered(quests: Quests, members: Sequence[str]) -> QuestPartyGathered:
    runs = [SharedRun(quest=run.quest, run=run.number) for run in quests.active] if members else []
    return QuestPartyGathered(members=members, runs=runs)


def proposed(tables: Tables, event: Event, it: SharedQuestProposed, quests: Quests) -> Said:
    """The party's lane: begin what a member may begin."""
    quest = tables.quests.get(it.quest)
    if event.entity not in quests.members:
        return refused(event, "NOT_A_MEMBER", f"{event.entity} is no member of {it.party}: say PartyFormed first", quest=it.quest)
    if quest is None:
        return refused(event, "UNKNOWN_QUEST", f"the table has no quest {it.quest}", quest=it.quest)
    if quests.run_of(it.quest) is not None:
        return refused(event, "ALREADY_ACTIVE", f"party {it.party} is already on {it.quest}", quest=it.quest)
    if len(quests.active) >= MAX_ACTIVE:
        return refused(event, "TOO_MANY", f"a party may have {MAX_ACTIVE} quests at a time: end one first", quest=it.quest)
    return course.begin(quests, quest)


def reported(tables: Tables, event: Event, it: SharedProgressReported, quests: Quests) -> Said:
    """The party's lane: a member did something that one of its runs may want."""
    run = next((run for run in quests.active if run.number == it.run), None)
    if run is None or event.entity not in quests.members:
        return ()
    deed = Deed(kind=it.kind, target=it.target, place=it.place, quantity=it.quantity)
    return course.heard_by(tables, quests, run, (deed,), event.entity)


def pass_on(tables: Tables, quests: Quests, deeds: Sequence[Deed]) -> Said:
    """A member's lane: tell the party of deeds that its runs may want."""
    return [_report(quests, follow, deed) for deed in deeds for follow in quests.follows if _wants(tables, follow, deed)]


def _wants(tables: Tables, follow: Follow, deed: Deed) -> bool:
    quest = tables.quests.get(follow.quest)
    return quest is not None and quest.wants(deed)


def _report(quests: Quests, follow: Follow, deed: Deed) -> SharedProgressReported:
    return SharedProgressReported(
        party=quests.party,
        quest=follow.quest,
        run=follow.run,
        kind=deed.kind,
        target=deed.target,
        place=deed.place,
        quantity=deed.quantity,
    )


def followed(event: Event, it: QuestAccepted | QuestPartyGathered, quests: Quests) -> Said:
    """A member's lane: the party holds runs, from now on deeds are passed on to them."""
    if event.entity != quests.party:
        return ()
    runs = [(it.quest, it.run)] if isinstance(it, QuestAccepted) else [(run.quest, run.run) for run in it.runs]
    known = {follow.run for follow in quests.follows}
    return [SharedQuestFollowed(party=event.entity, quest=quest, run=run) for quest, run in runs if run not in known]


def released(event: Event, it: SharedQuestClosed, quests: Quests) -> Said:
    """A member's lane: the party's run is over, and nobody is paid."""
    follows = event.entity == quests.party and any(follow.run == it.run for follow in quests.follows)
    return (SharedQuestReleased(party=event.entity, quest=it.quest, run=it.run),) if follows else ()


def shared(tables: Tables, event: Event, it: QuestCompleted, quests: Quests) -> Said:
    """A member's lane: the party completed a run. Whoever it names is paid, also one who left at that very moment.

    Except for a quest that pays once, and this player was paid for before: others may take them along, but not for money.
    """
    quest = tables.quests.get(it.quest)
    ending = quest.ending(it.ending) if quest else None
    completed = QuestCompleted(quest=it.quest, run=it.run, ending=it.ending, party=event.entity)
    completed.unlocked.extend(course.unlocked(tables, quests, it.quest, it.ending))
    paid_before = quest is not None and quest.repeat == "once" and quests.has_done(quest.name)
    return completed, *(course.rewarded(quests.holder, completed, ending, party=event.entity) if ending and not paid_before else ())
