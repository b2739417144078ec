"""The quests of players and parties as a handler, `quest`.

    QuestAcceptRequested ──▶ QuestAccepted, QuestStageBegan          a deed ──▶ QuestProgressed … QuestStageBegan or QuestChoiceOpened
    QuestChoiceRequested ──▶ QuestChoiceMade …                       the last one ──▶ QuestCompleted, QuestRewarded
    QuestWorkRequested   ──▶ QuestOffered                            a limit, or what is forbidden ──▶ QuestFailed

A deed is a fact said by others (see `deeds`). Payment and inventory listen to `QuestRewarded`. Shared quests are told in `party`. The
quests are data: `quest_system(tables, calendar)` makes the handler under given ones; a game gives `quest` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, Silence, answering, done
from handlers.names import NAME_RULE, is_token
from handlers.plausible import UNBOUNDED, Bounds
from handlers.quest_system.decide import decide
from handlers.quest_system.deeds import DEED_EVENTS
from handlers.quest_system.party import MAX_MEMBERS
from handlers.quest_system.state import Quests, evolve
from handlers.quest_system.tables import Tables
from handlers.time_manager import calendar as calendars
from schemas.gen.worldbus.game.v1.game_pb2 import PartyFormed, PartyLeft
from schemas.gen.worldbus.quest.v1 import quest_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content

NAME: Final = "quest"
_TO_MEMBERS: Final = frozenset({"QuestAccepted", "QuestCompleted", "QuestPartyGathered", "SharedQuestClosed"})
_TO_PARTY: Final = frozenset({"QuestPartyJoined", "QuestPartyDeparted", "SharedQuestProposed", "SharedProgressReported"})
_OF_PARTY: Final = frozenset({"QuestChoiceRequested", "QuestAbandonRequested"})


def entities(event: Event) -> Sequence[str]:
    """The player who did it; where it is about a party: the party, or its members. What quests tell each other counts only from them."""
    name, data = event.kind, _fields(event)
    if name in _TO_MEMBERS:
        return tuple(data.members) if event.subsystem == NAME else ()
    if name in _TO_PARTY:
        return (data.party,) if event.subsystem == NAME else ()
    if name in _OF_PARTY:
        return (data.party,) if is_token(data.party) else (event.entity,)
    if name == "NpcSpoke":  # said about the NPC, heard by the player
        return (data.player,) if event.subsystem == "npc" and is_token(data.player) else ()
    if name == "PartyFormed":
        return tuple(member for member in dict.fromkeys(data.members) if is_token(member))
    if name == "WakeFired":
        return (data.entity,) if data.subsystem == NAME and event.subsystem == "time" else ()
    return (event.entity,)


def _fields(event: Event) -> Any:
    return event.data


def silence(event: Event) -> Silence:
    """Explain why nothing came of a report of parties: it is so already, or names nobody."""
    it: Any = event.data
    if event.kind == "PartyFormed" and not any(is_token(member) for member in it.members):
        return Silence("NO_MEMBERS", f"wanted 1 to {MAX_MEMBERS} members, each {NAME_RULE}, found {ascii(list(it.members[:4]))[:120]}")
    return done(f"{event.entity} is in that party already, or in none to leave")


quest: Final[ByWorld[Content]] = ByWorld(
    name=NAME,
    listens_to=(
        *DEED_EVENTS,
        WakeFired,
        PartyFormed,
        PartyLeft,
        said.QuestAcceptRequested,
        said.QuestChoiceRequested,
        said.QuestAbandonRequested,
        said.QuestWorkRequested,
        said.QuestAccepted,
        said.QuestCompleted,
        said.QuestPartyJoined,
        said.QuestPartyDeparted,
        said.QuestPartyGathered,
        said.SharedQuestProposed,
        said.SharedProgressReported,
        said.SharedQuestClosed,
    ),
    emits=(
        said.QuestOffered,
        said.QuestAccepted,
        said.QuestStageBegan,
        said.QuestProgressed,
        said.QuestChoiceOpened,
        said.QuestChoiceMade,
        said.QuestCompleted,
        said.QuestRewarded,
        said.QuestFailed,
        said.QuestAbandoned,
        said.DailyQuestsReset,
        said.QuestPartyJoined,
        said.QuestPartyDeparted,
        said.QuestPartyGathered,
        said.SharedQuestProposed,
        said.SharedProgressReported,
        said.SharedQuestFollowed,
        said.SharedQuestReleased,
        said.SharedQuestClosed,
        said.QuestRequestRefused,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: quest_system(content.quests, content.calendar, content.bounds),
)


def quest_system(tables: Tables, calendar: calendars.Calendar, bounds: Bounds = UNBOUNDED) -> Handler[Quests]:
    """The handler under the given tables."""
    handler = quest.with_rules(
        initial=lambda entity: Quests(holder=entity),
        decide=partial(decide, tables, calendar),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds, silence, attrgetter("holder"))
