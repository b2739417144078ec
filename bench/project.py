"""`project`: the projector, from envelope bytes to committed rows, beside a bare asyncpg loop that makes and writes the same rows.

Ours decodes every event, checks that none is missing, computes the archive's hash chain, folds the changes and moves the checkpoint by
compare-and-set. The peer does the same work by hand for this one event type, in batches of the same size, without checks and without
fencing. `project-ready-made` is the limit: the peer is given finished rows and only writes them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import asyncpg

from bench.harness import Result, main, postgres
from bus.event import Draft, Event
from bus.subjects import partition_of
from migrations import migrate
from projections.chain import COLUMNS, START, link_event, record
from projections.columns import moment
from projections.projection import Change, Projection, Table
from projections.projector import MAX_BATCH, Projector
from projections.reader import Listed
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved

ENTITIES = 10_000
ROUNDS = 3
PLACES = Table("bench_places", key=("world", "player"))
KEY, VALUES = ("world", "player"), ("zone", "x", "y", "z", "position")


def moved(event: Event, it: PlayerMoved) -> Change:
    """The newest place of a player."""
    return PLACES.put(event.world, event.entity, zone=it.zone, x=it.x, y=it.y, z=it.z)


places = Projection(
    name="bench",
    version=1,
    schema="""
        CREATE TABLE bench_places (
            world text, player text, zone text, x float8, y float8, z float8, position bigint, PRIMARY KEY (world, player)
        )
    """,
    tables=(PLACES,),
    on={PlayerMoved: moved},
)


def history(count: int) -> list[Event]:
    """Events as a reader of the log yields them: not yet decoded. Players move in no particular order."""
    found = []
    for number in range(count):
        draft = Draft(
            data=PlayerMoved(zone=f"zone-{number % 7}", x=number % 640, y=1.5, z=-3.25),
            world="bench",
            entity=f"player-{number * 7919 % ENTITIES}",
            id=f"move-{number:012d}",
        )
        partition = partition_of(draft.world, draft.entity, 8)
        found.append(Event(raw=draft.encode(), subject=draft.subject, partition=partition, position=number + 1, recorded_ns=draft.time_ns))
    return found


def undecoded(events: Sequence[Event]) -> list[Event]:
    """The same events, as if nobody had looked at them yet."""
    return [
        Event(raw=one.raw, subject=one.subject, partition=one.partition, position=one.position, recorded_ns=one.recorded_ns)
        for one in events
    ]


async def ours(dsn: str, events: Sequence[Event]) -> float:
    """Events per second of the projector."""
    began = time.perf_counter()
    assert await Projector(dsn, [places]).run(Listed(events, batch=1000), follow=False) == len(events)
    return len(events) / (time.perf_counter() - began)


_UPSERT = f"""
    INSERT INTO bare_places AS t ({", ".join((*KEY, *VALUES))})
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::float8[], $7::bigint[])
    ON CONFLICT (world, player) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in VALUES)}
"""


Rows = Iterable[tuple[list[tuple[Any, ...]], list[list[Any]], int, bytes]]


def _batch(events: Sequence[Event], chain: bytes) -> tuple[list[tuple[Any, ...]], list[list[Any]], int, bytes]:
    """The finished rows of one batch: archive, view (one per player, as ON CONFLICT needs), checkpoint."""
    archive, view = [], {}
    for event in events:
        chain = link_event(chain, event)
        row = list(record(event, chain))
        row[1:3] = moment(row[1] * 1000), moment(row[2] * 1000)
        archive.append(tuple(row))
        it = event.data
        assert isinstance(it, PlayerMoved)
        view[event.entity] = ("bench", event.entity, it.zone, it.x, it.y, it.z, event.position)
    return archive, [list(column) for column in zip(*view.values(), strict=True)], archive[-1][0], chain


def making(events: Sequence[Event]) -> Iterator[tuple[list[tuple[Any, ...]], list[list[Any]], int, bytes]]:
    """The rows of every batch, made when they are asked for."""
    chain = START
    for start in range(0, len(events), MAX_BATCH):
        made = _batch(events[start : start + MAX_BATCH], chain)
        chain = made[3]
        yield made


async def bare(dsn: str, batches: Rows, *, archive: bool = True) -> float:
    """Events per second of asyncpg; without `archive` it writes the view and a checkpoint only."""
    connection = await asyncpg.connect(dsn)
    began = time.perf_counter()
    position = 0
    for events, view, position, chain in batches:
        async with connection.transaction():
            await connection.execute("UPDATE bare_checkpoint SET position = $1, chain = $2", position, chain)
            if archive:
                await connection.copy_records_to_table("bare_events", columns=list(COLUMNS), records=events)
            await connection.execute(_UPSERT, *view)
    rate = position / (time.perf_counter() - began)
    assert await connection.fetchval("SELECT position FROM bare_checkpoint") == position
    await connection.close()
    return rate


async def _bare_tables(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("""
        DROP TABLE IF EXISTS bare_events, bare_places, bare_checkpoint;
        CREATE TABLE bare_events (LIKE worldbus.events INCLUDING ALL);
        CREATE TABLE bare_places (
            world text, player text, zone text, x float8, y float8, z float8, position bigint, PRIMARY KEY (world, player)
        );
        CREATE TABLE bare_checkpoint (position bigint, chain bytea);
        INSERT INTO bare_checkpoint VALUES (0, '');
    """)
    await connection.close()


async def _emptied(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("DROP SCHEMA world CASCADE; DROP SCHEMA worldbus CASCADE; DROP TABLE IF EXISTS worldbus_migrations")
    await connection.execute("DROP SCHEMA IF EXISTS p_bench_1_1 CASCADE")
    await connection.execute("DROP TABLE IF EXISTS bare_events")
    await connection.close()
    migrate(dsn)


async def run(scale: float = 1.0) -> list[Result]:
    """Rates in turn, and their ratios; the median of the rounds."""
    events = history(int(60_000 * scale))
    batches = list(making(undecoded(events)))
    found: dict[str, list[float]] = {"ours": [], "by hand": [], "rows": [], "view": []}
    async with postgres() as server:
        migrate(server.dsn)
        for _ in range(ROUNDS):
            await _emptied(server.dsn)
            found["ours"].append(await ours(server.dsn, undecoded(events)))
            for name, rows, archive in (("by hand", making(undecoded(events)), True), ("rows", batches, True), ("view", batches, False)):
                await _bare_tables(server.dsn)
                found[name].append(await bare(server.dsn, rows, archive=archive))
    rate, by_hand, ready, view = (median(found[name]) for name in ("ours", "by hand", "rows", "view"))
    return [
        Result(
            name="project", value=rate, unit="events/s", against="asyncpg, the same rows made and written by hand", ratio=rate / by_hand
        ),
        Result(
            name="project-ready-made", value=rate, unit="events/s", against="asyncpg writing the same rows, ready-made", ratio=rate / ready
        ),
        Result(name="project-view", value=rate, unit="events/s", against="asyncpg writing the view's rows only", ratio=rate / view),
    ]


if __name__ == "__main__":
    main(run)
