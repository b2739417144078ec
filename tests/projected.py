"""Events as the log would hold them, and a small projection, for tests of projections."""

from __future__ import annotations

import asyncpg
from google.protobuf.message import Message

from bus.event import Draft, Event
from projections.projection import Change, Projection, Table
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerSessionSummarised
from schemas.gen.worldbus.state.v1.state_pb2 import SaveRequested, SlotDeleted

T0 = 1_700_000_000_000_000_000
PARTITIONS = 8


def event(
    position: int,
    message: Message,
    *,
    entity: str = "mira",
    subsystem: str = "test",
    world: str = "duskmarket",
    id: str = "",
    lane: str = "",
) -> Event:
    """`message` at `position` of a log."""
    draft = Draft(
        data=message,
        world=world,
        entity=entity,
        subsystem=subsystem,
        id=id or f"e{position}",
        time_ns=T0 + position * 1_000_000,
        cause="c",
        depth=1,
        lane=lane,
    )
    return Event(
        raw=draft.encode(), subject=draft.subject, partition=position % PARTITIONS, position=position, recorded_ns=T0 + position * 1000
    )


def unreadable(position: int, raw: bytes = b"\xff\xff", *, name: str = "PlayerEnteredZone") -> Event:
    """What somebody who does not know us may have published."""
    return Event.stored(raw, f"evt.{position % PARTITIONS}.duskmarket.test.mira.{name}", position, T0 + position * 1000)


def entered(position: int, *, zones: int = 7, players: int = 11) -> Event:
    """One of many players enters one of several zones."""
    message = PlayerEnteredZone(zone=f"zone{position % zones}", x=position / 3, y=-position, session=position)
    return event(position, message, entity=f"player{position % players}")


def events(count: int, first: int = 1) -> list[Event]:
    """A plain history: moves, and now and then a summary or a farewell."""
    return [one(position) for position in range(first, first + count)]


def one(position: int) -> Event:
    if position % 13 == 0:
        return event(position, SlotDeleted(slot="s"), entity=f"player{position % 11}")
    if position % 5 == 0:
        return event(position, PlayerSessionSummarised(duration_ms=position, zones_entered=1), entity=f"player{position % 11}")
    if position % 17 == 0:
        return event(position, SaveRequested(slot="s"))  # no projection below listens to it
    return entered(position)


PLACES = Table("places", key=("world", "player"), adds=("moves", "played_ms"), keeps=("first_zone",))
VISITS = Table("visits", key=("world", "zone", "player"))
SCHEMA = """
    CREATE TABLE places (
        world text, player text, zone text, first_zone text, x float8, y float8, since timestamptz, tags text[], more jsonb,
        moves bigint NOT NULL DEFAULT 0, played_ms bigint NOT NULL DEFAULT 0, position bigint, PRIMARY KEY (world, player)
    );
    CREATE TABLE visits (world text, zone text, player text, at timestamptz, position bigint, PRIMARY KEY (world, zone, player));
    CREATE VIEW crowds AS SELECT world, zone, count(*) AS players FROM visits GROUP BY world, zone;
"""


def moved(event: Event, it: PlayerEnteredZone) -> list[Change]:
    place = PLACES.put(
        *(event.world, event.entity),
        zone=it.zone, first_zone=it.zone, x=it.x, y=it.y, since=event.time_ns, moves=1,
        tags=[it.zone, 'a "b"', None], more={"was": it.previous},
    )  # fmt: skip
    return [place, VISITS.put(event.world, it.zone, event.entity, at=event.time_ns)]


def played(event: Event, it: PlayerSessionSummarised) -> Change:
    return PLACES.put(event.world, event.entity, played_ms=it.duration_ms)


def gone(event: Event, _: SlotDeleted) -> Change:
    return PLACES.drop(event.world, event.entity)


def places(version: int = 1, schema: str = SCHEMA, **on: object) -> Projection:
    """The projection, in a version of its own if a test needs two."""
    return Projection(
        name="places",
        version=version,
        schema=schema,
        tables=(PLACES, VISITS),
        on={PlayerEnteredZone: moved, PlayerSessionSummarised: played, SlotDeleted: gone},
    )


async def rows(connection: asyncpg.Connection, query: str, *args: object) -> list[tuple[object, ...]]:
    """The rows of a query as plain tuples."""
    return [tuple(row) for row in await connection.fetch(query, *args)]
