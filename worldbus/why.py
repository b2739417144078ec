"""Causes of an event: the events that led to it, one behind the other, with prompts, passages, durations and costs.

Read from the archive, which keeps every event with its cause; passages are read from the knowledge base, where they stay after they ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bus.errors import BadEvent, WorldbusError
from bus.event import Event
from bus.showing import UNREADABLE, shown
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Measured

if TYPE_CHECKING:
    from asyncpg import Connection

MOST_HOPS: Final = 64
MOST_EFFECTS: Final = 200
_FIND: Final = """
    SELECT position FROM world.events WHERE {} ORDER BY position LIMIT 1
"""
_CHAIN: Final = """
    WITH RECURSIVE chain AS (
        SELECT e.position, e.cause, 0 AS hop FROM world.events e WHERE e.position = $1
        UNION ALL
        SELECT e.position, e.cause, c.hop + 1
          FROM chain c CROSS JOIN LATERAL (
               SELECT position, cause FROM world.events WHERE event_id = c.cause AND position < c.position ORDER BY position DESC LIMIT 1) e
         WHERE c.hop < $2
    )
    SELECT e.position, e.partition, e.world, e.subsystem, e.entity, e.name, e.raw, e.header,
           (extract(epoch FROM e.recorded_at) * 1000000)::bigint * 1000 AS recorded_ns
      FROM chain c JOIN world.events e USING (position) ORDER BY e.position
"""
_EFFECTS: Final = """
    SELECT e.position, e.subsystem, e.entity, e.name
      FROM world.events c JOIN world.events e ON e.cause = c.event_id AND e.position > c.position
     WHERE c.position = $1 ORDER BY e.position LIMIT $2
"""
_PASSAGES: Final = """
    SELECT DISTINCT ON (id) id, body FROM world.passages WHERE world = $1 AND id = ANY($2) ORDER BY id, added DESC NULLS LAST
"""
_PARKED: Final = "SELECT * FROM parked WHERE input = $1 ORDER BY world, handler, entity"


class NothingFound(WorldbusError):
    """The archive has no such event."""

    code = "NOTHING_FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A passage that a model was shown; `text` is empty if the knowledge base does not have it."""

    citation: Citation
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One event of a chain. `document` is it as JSON; `problem` is why it cannot be read, or shown as a whole, if so."""

    event: Event
    document: Mapping[str, Any]
    passages: Sequence[Shown] = ()
    problem: str = ""

    @property
    def measured(self) -> Measured | None:
        """The measurements of a model's answer; None for any other event."""
        if self.event.subsystem != "inference" or "data" not in self.document:
            return None
        return getattr(self.event.data, "measured", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """From the root to the event that was asked for; `effects` are what it led to at once: position, subsystem, entity, name.

    `parked` are the lanes in which the event waits to be decided, as the table of that name has them.
    """

    links: Sequence[Link]
    effects: Sequence[tuple[int, str, str, str]] = field(default=())
    parked: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def took_ms(self) -> float:
        """From the recording of the root to that of the event."""
        return (self.links[-1].event.recorded_ns - self.links[0].event.recorded_ns) / 1e6

    @property
    def cost_nano_usd(self) -> int:
        """The cost of the models' answers in the chain."""
        return sum(link.measured.cost_nano_usd for link in self.links if link.measured is not None)


async def why(connection: Connection, wanted: str) -> Chain:
    """The chain that led to an event, given by its position or its id; raises `NothingFound`."""
    position = await _position(connection, wanted)
    rows = await connection.fetch(_CHAIN, position, MOST_HOPS)
    events = [_event(row) for row in rows]
    texts = await _texts(connection, events)
    effects = await connection.fetch(_EFFECTS, position, MOST_EFFECTS)
    return Chain(
        links=[_link(event, texts) for event in events],
        effects=[tuple(row) for row in effects],
        parked=await _parked(connection, position),
    )


async def _parked(connection: Connection, position: int) -> list[dict[str, Any]]:
    if await connection.fetchval("SELECT to_regclass('world.parked')") is None:
        return []
    return [dict(row) for row in await connection.fetch(_PARKED, position)]


async def _position(connection: Connection, wanted: str) -> int:
    number = int(wanted) if wanted.isdecimal() and wanted.isascii() and len(wanted) < 19 else 0
    found = await connection.fetchval(_FIND.format("event_id = $1"), wanted)
    if found is None and number:
        found = await connection.fetchval(_FIND.format("position = $1"), number)
    if found is None:
        head = await connection.fetchval("SELECT position FROM world.checkpoint")
        raise NothingFound(
            f"wanted an event's position or id, found neither for {wanted[:80]!r}: the archive holds positions 1 to {head or 0}"
        )
    return int(found)


def _event(row: Any) -> Event:
    subject = f"evt.{row['partition']}.{row['world']}.{row['subsystem']}.{row['entity']}.{row['name']}"
    return Event.stored(row["raw"], subject, row["position"], row["recorded_ns"], row["header"])


async def _texts(connection: Connection, events: Sequence[Event]) -> Mapping[str, str]:
    """The passages that answers among `events` cite, by id."""
    ids = sorted({citation.passage_id for event in events for citation in _citations(event)})
    return await passages_of(connection, events[-1].world, ids) if ids else {}


async def passages_of(connection: Connection, world: str, ids: Sequence[str]) -> Mapping[str, str]:
    """The texts of passages by id, those that have ended included; what the knowledge base does not have is missing."""
    if await connection.fetchval("SELECT to_regclass('world.passages')") is None:
        return {}
    return {row["id"]: row["body"] for row in await connection.fetch(_PASSAGES, world, ids)}


def _citations(event: Event) -> Sequence[Citation]:
    try:
        return list(getattr(event.data, "citations", ()))
    except BadEvent:
        return ()


def _link(event: Event, texts: Mapping[str, str]) -> Link:
    document = shown(event)
    passages = [Shown(citation=one, text=texts.get(one.passage_id, "")) for one in _citations(event)]
    return Link(event=event, document=document, passages=passages, problem=document["message"] if UNREADABLE in document else "")
