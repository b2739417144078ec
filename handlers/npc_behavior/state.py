"""A character's knowledge and feelings, folded from the handler's events about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple
from zlib import crc32

from bus.event import Event
from handlers.book import Book, blank, find, put
from handlers.npc_behavior.tables import Tables
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested

PULSE: Final = "pulse"  # name of the wake for the next look at oneself
PAGES: Final = 64
MOST_PER_PAGE: Final = 16  # acquaintances; so a character knows at most 1024 people, and the least important one of a page makes room
MOST_MEMORIES: Final = 24  # of what concerns no player
MOST_ABOUT_ONE: Final = 5  # memories of one player
MOST_EXCHANGES: Final = 3  # of words with one player
MOST_ON_SHELF: Final = 32  # memories that are not at hand any more and wait to be merged
HEARD: Final = 160  # characters of somebody's words that are kept


class Memory(NamedTuple):
    """A memory; `salience` is its weight at `world_ms`, `position` that of the event it is about."""

    number: int
    kind: str
    text: str
    salience: int
    world_ms: int
    position: int


class Exchange(NamedTuple):
    """Words to a character, and its answer."""

    heard: str
    answered: str


class Tie(NamedTuple):
    """The feelings of a character for a player, as of `world_ms`, and its memories of them; `shelf` and `gists` are not at hand."""

    trust: int = 0
    fear: int = 0
    affection: int = 0
    debt_minor: int = 0
    world_ms: int = 0
    memories: tuple[Memory, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    shelf: tuple[Memory, ...] = ()
    gists: tuple[int, ...] = ()  # their numbers


class Question(NamedTuple):
    """Words of a player that wait for a model's answer; `pulses` counts the pulses since they were said."""

    player: str
    words: str
    pulses: int = 0


class Faded(NamedTuple):
    """A value that fades, as of a world time. A goal that is reached does not come back."""

    value: int
    world_ms: int = 0
    reached: bool = False


CALM: Final = Faded(0)
Memories = tuple[Memory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Npc:
    """One character. `world_ms` is the world time it knows; `needs` are as of `needs_ms`, `action` has gone on since then."""

    entity: str
    place: str = ""
    appeared: bool = False
    world_ms: int = 0
    next_ms: int = -1  # its next pulse; -1 before the first was planned
    time_of_day: str = ""
    season: str = ""
    skies: Mapping[str, str] = field(default_factory=dict)
    action: str = ""
    needs: Mapping[str, int] = field(default_factory=dict)
    needs_ms: int = 0
    mood: Faded = CALM
    goals: Mapping[str, Faded] = field(default_factory=dict)
    ties: Book[Tie] = field(default_factory=lambda: blank(PAGES))
    memories: tuple[Memory, ...] = ()
    shelf: tuple[Memory, ...] = ()  # of those that concern no player: not at hand any more
    gists: tuple[int, ...] = ()
    remembered: int = 0  # ever, memories and gists
    questions: Mapping[str, Question] = field(default_factory=dict)

    def tie(self, player: str) -> Tie:
        """The character's tie to a player; an empty one for a stranger."""
        return find(self.ties, player) or Tie()

    def put_by(self, player: str) -> tuple[tuple[Memory, ...], tuple[int, ...]]:
        """Shelf and gists of a player; of nobody in particular without one."""
        if not player:
            return self.shelf, self.gists
        tie = self.tie(player)
        return tie.shelf, tie.gists

    def page(self, player: str) -> Mapping[str, Tie]:
        """The ties of all players on this player's page."""
        return self.ties[crc32(player.encode()) % PAGES]


def newborn(tables: Tables, entity: str) -> Npc:
    """A character as the table has it, before anything happened."""
    persona = tables.npcs.get(entity)
    if persona is None:
        return Npc(entity=entity)
    goals = {name: Faded(goal.urgency) for name, goal in persona.goals.items()}
    return Npc(entity=entity, place=persona.home, needs=dict.fromkeys(tables.needs, 0), goals=goals)


def evolve(pulse_ms: int, npc: Npc, event: Event) -> Npc:
    """The character after the handler said `event`; `pulse_ms` is the time between two pulses."""
    match event.data:
        case said.RelationshipChanged() as it:
            return _felt(npc, it)
        case said.NpcSpoke() as it:
            return _spoke(npc, it)
        case InferenceRequested(request_id=request_id, player=player, prompt=prompt):
            words = prompt[-1].text[:HEARD] if prompt else ""
            return replace(npc, questions={**npc.questions, request_id: Question(player, words)})
        case said.NpcKeptSilent(request_id=request_id) if request_id:
            return replace(npc, questions=_without(npc.questions, request_id))
        case said.NpcRemembered() as it:
            return _remembered(npc, it)
        case said.NpcMemoriesMerged() as it:
            return _merged(npc, it)
        case said.NpcForgot(numbers=numbers):
            return replace(npc, memories=tuple(memory for memory in npc.memories if memory.number not in numbers))
        case said.NpcForgotPlayer(player=player):
            return replace(npc, ties=_without_player(npc, player))
        case said.NpcActed() as it:
            return _acted(npc, it)
        case said.NpcNeedsChanged() as it:
            return replace(npc, needs={need.need: need.level for need in it.needs}, needs_ms=it.world_ms)
        case said.NpcMoodChanged() as it:
            return replace(npc, mood=Faded(it.mood, it.world_ms))
        case said.NpcGoalChanged() as it:
            return replace(npc, goals={**npc.goals, it.goal: Faded(it.urgency, it.world_ms, it.reached)})
        case said.NpcNoticed() as it:
            return _noticed(npc, it)
        case WakeRequested(name=name, at_world_ms=at) if name == PULSE:
            return _pulsed(pulse_ms, npc, at)
        case said.NpcAppeared(place=place):
            return replace(npc, appeared=True, place=place)
        case _:
            return npc


def _without(questions: Mapping[str, Question], request_id: str) -> dict[str, Question]:
    return {name: question for name, question in questions.items() if name != request_id}


def _without_player(npc: Npc, player: str) -> Book[Tie]:
    number = crc32(player.encode()) % PAGES
    page = {name: tie for name, tie in npc.ties[number].items() if name != player}
    return (*npc.ties[:number], page, *npc.ties[number + 1 :])


def _felt(npc: Npc, it: said.RelationshipChanged) -> Npc:
    felt = npc.tie(it.player)._replace(trust=it.trust, fear=it.fear, affection=it.affection, debt_minor=it.debt_minor, world_ms=it.world_ms)
    return replace(npc, ties=put(npc.ties, it.player, felt))


def _spoke(npc: Npc, it: said.NpcSpoke) -> Npc:
    """An answer to somebody who was forgotten meanwhile makes no acquaintance: only feelings and memories do, and those make room first."""
    questions = _without(npc.questions, it.request_id)
    tie = find(npc.ties, it.player)
    if tie is None:
        return replace(npc, questions=questions)
    exchanges = (*tie.exchanges, Exchange(it.heard[:HEARD], it.text[:HEARD]))[-MOST_EXCHANGES:]
    return replace(npc, ties=put(npc.ties, it.player, tie._replace(exchanges=exchanges)), questions=questions)


def _remembered(npc: Npc, it: said.NpcRemembered) -> Npc:
    memory = Memory(it.number, it.kind, it.memory, it.salience, it.world_ms, it.about_position)
    if not it.player:
        kept, shelf = _put_by(npc.memories, npc.shelf, it.crowded_out)
        return replace(npc, memories=(*kept, memory), shelf=shelf, remembered=it.number)
    tie = npc.tie(it.player)
    kept, shelf = _put_by(tie.memories, tie.shelf, it.crowded_out)
    return replace(npc, ties=put(npc.ties, it.player, tie._replace(memories=(*kept, memory), shelf=shelf)), remembered=it.number)


def _put_by(memories: Memories, shelf: Memories, crowded_out: Collection[int]) -> tuple[Memories, Memories]:
    """Split memories into those that stay at hand, and the shelf. Logs from before gists never empty a shelf: its oldest fall off."""
    kept = tuple(each for each in memories if each.number not in crowded_out)
    return kept, (*shelf, *(each for each in memories if each.number in crowded_out))[-MOST_ON_SHELF:]


def _merged(npc: Npc, it: said.NpcMemoriesMerged) -> Npc:
    shelf, gists = npc.put_by(it.player)
    shelf = tuple(each for each in shelf if each.number not in it.numbers)
    gists = (*(number for number in gists if number not in it.forgotten), it.number)
    if not it.player:
        return replace(npc, shelf=shelf, gists=gists, remembered=it.number)
    return replace(npc, ties=put(npc.ties, it.player, npc.tie(it.player)._replace(shelf=shelf, gists=gists)), remembered=it.number)


def _acted(npc: Npc, it: said.NpcActed) -> Npc:
    if it.cause == "dialogue":
        return npc
    needs = {need.need: need.level for need in it.needs}
    return replace(npc, action=it.action, place=it.place, needs=needs, needs_ms=it.world_ms)


def _noticed(npc: Npc, it: said.NpcNoticed) -> Npc:
    match it.kind:
        case "weather":
            return replace(npc, skies={**npc.skies, it.place: it.value})
        case "season":
            return replace(npc, season=it.value)
        case _:
            return replace(npc, time_of_day=it.value)


def _pulsed(pulse_ms: int, npc: Npc, at_world_ms: int) -> Npc:
    """The first pulse is asked for without a time; every later one is a pulse's length after the moment it was asked for."""
    questions = {name: question._replace(pulses=question.pulses + 1) for name, question in npc.questions.items()}
    if not at_world_ms:
        return replace(npc, next_ms=0, questions=questions)
    return replace(npc, world_ms=at_world_ms - pulse_ms, next_ms=at_world_ms, questions=questions)
