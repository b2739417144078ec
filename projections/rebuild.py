"""Blue and green: a projection is built anew from the whole log while the old one serves, compared, and takes its place in one transaction.

    fill     a new generation takes in the log at its own pace; readers and the projector notice nothing
    join     the checkpoint is held for a moment, the last events are taken in, and from then on the projector writes both generations
    compare  row by row, in one snapshot, so both are at the same position
    switch   the readers' views move, in one transaction; queries before see the old tables, queries after it the new ones
    drop     the old generation goes once its last query has ended

A rebuild that dies leaves an unfinished generation behind, which the next one removes. Only one process fills a generation at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import structlog

from bus.errors import LogDamaged, Misuse, StoreUnavailable
from projections import checkpoints, generations
from projections.archive import ArchiveReader, archived
from projections.diff import Diff, compare
from projections.fold import Shape
from projections.generations import Generation
from projections.hold import holding
from projections.projection import Projection
from projections.reader import Reader, reading
from projections.store import connected, in_our_words, transaction
from projections.writer import record_skips, wanted, write_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg import Connection

    from bus.event import Event

log = structlog.get_logger(__name__)

NEAR = 2000  # events; so few are taken in while the checkpoint is held
_BRIEFLY = "SET LOCAL lock_timeout = '1s'"  # how long the switch may hold up new queries while it waits for running ones
_FAST = "SET LOCAL synchronous_commit = off"  # a step that a crash takes back is taken again
SWITCH_TRIES = 60
Progress = Callable[[int, int], None]


async def rebuild(
    projection: Projection,
    dsn: str,
    reader: Reader | None = None,
    *,
    progress: Progress | None = None,
    switch: bool = True,
    sample: int = 20,
) -> Diff:
    """Build `projection` anew from `reader` (by default the archive) and switch to it; return what differs.

    With `switch=False` the new generation is thrown away after the comparison. `progress` is told (position, goal). A projector may
    run or not. Raises `StoreUnavailable`, and `Misuse` when another process builds the same projection.
    """
    async with connected(dsn) as connection, holding(dsn, f"worldbus rebuild {projection.name}") as mine:
        if not mine:
            raise Misuse(f"projection {projection.name} is being rebuilt by another process: wait for it")
        with in_our_words(f"{projection.name} was rebuilt", connection):
            await clear(connection, projection.name)
            async with _begun(connection, dsn, projection) as made:
                await fill(connection, dsn, projection, made, reader, progress)
                await join(connection, projection, made)
                difference = await compare(connection, projection, made, sample)
                if switch:
                    await switch_to(connection, made)
            await clear(connection, projection.name)
    return difference


async def catch_up(connection: Connection, dsn: str, projection: Projection, generation: Generation) -> bool:
    """Bring a generation that was begun or left behind to the checkpoint, and show it. False if somebody else does that already."""
    async with filling(dsn, generation.schema) as mine:
        if not mine:
            return False
        found = next((known for known in await generations.load(connection) if known.schema == generation.schema), None)
        if found is None or found.stopped_at is None:
            return False
        await fill(connection, dsn, projection, found, None, None)
        await join(connection, projection, found)
        if not found.live:
            await switch_to(connection, found)
    await clear(connection, projection.name)
    return True


def filling(dsn: str, schema: str) -> AbstractAsyncContextManager[bool]:
    """Be the only process that fills this generation, for the block; False if another one does."""
    return holding(dsn, f"worldbus {schema}")


@asynccontextmanager
async def _begun(connection: Connection, dsn: str, projection: Projection) -> AsyncIterator[Generation]:
    """A new generation, ours from the moment at which others can see it."""
    async with AsyncExitStack() as stack:
        async with transaction(connection):
            await checkpoints.read(connection, lock=True)
            made = await generations.create(connection, projection, stopped_at=0)
            await stack.enter_async_context(filling(dsn, made.schema))
        yield made


async def fill(
    connection: Connection, dsn: str, projection: Projection, generation: Generation, reader: Reader | None, progress: Progress | None
) -> None:
    """Take in the log behind `stopped_at`, until less than NEAR events are missing at the checkpoint."""
    source = reader or ArchiveReader(dsn)
    shapes = await generations.shapes(connection, projection, generation.schema)
    position = generation.stopped_at or 0
    goal = (await checkpoints.read(connection)).position
    while goal - position > NEAR or (position == 0 and goal > 0):
        before = position
        async with reading(source, after=position) as batches:
            async for batch in batches:
                events = [event for event in batch if position < event.position <= goal]
                if events:
                    async with transaction(connection, settings=_FAST):
                        position = await _apply(connection, projection, shapes, generation, position, events)
                if progress is not None:
                    progress(position, goal)
                if position >= goal:
                    break
        if position == before:
            raise LogDamaged(
                f"wanted events up to the checkpoint {goal}, found none after {position}: the log is shorter than the archive; "
                "run `worldbus log repair --from-archive`",
                wanted=goal, found=position,
            )  # fmt: skip
        goal = (await checkpoints.read(connection)).position


async def _apply(
    connection: Connection,
    projection: Projection,
    shapes: Mapping[str, Shape],
    generation: Generation,
    position: int,
    events: Sequence[Event],
) -> int:
    for expected, event in enumerate(events, start=position + 1):
        if event.position != expected:
            raise LogDamaged(f"wanted position {expected}, found {event.position}: events are lost", wanted=expected, found=event.position)
    last = events[-1].position
    said = await connection.execute(
        "UPDATE worldbus.generations SET stopped_at = $3 WHERE schema_name = $1 AND stopped_at = $2", generation.schema, position, last
    )
    if said != "UPDATE 1":
        raise Misuse(f"generation {generation.schema} is no longer at position {position}: another process fills or removed it")
    await record_skips(connection, await write_events(connection, projection, shapes, generation.schema, wanted(projection, events)))
    return last


async def join(connection: Connection, projection: Projection, generation: Generation) -> None:
    """Hold the checkpoint, take in what is missing, and let the projector write this generation from now on."""
    shapes = await generations.shapes(connection, projection, generation.schema)
    async with transaction(connection):
        head = await checkpoints.read(connection, lock=True)
        position = await connection.fetchval("SELECT stopped_at FROM worldbus.generations WHERE schema_name = $1", generation.schema)
        if position is None:
            raise Misuse(f"generation {generation.schema} is gone or in step already: another process took it on")
        async for events in archived(connection, after=position, until=head.position):
            position = await _apply(connection, projection, shapes, generation, position, events)
        await connection.execute("UPDATE worldbus.generations SET stopped_at = NULL WHERE schema_name = $1", generation.schema)
        await checkpoints.next_epoch(connection)
    log.info("generation_joined", projection=projection.name, generation=generation.generation, position=head.position)


async def switch_to(connection: Connection, generation: Generation) -> None:
    """Point the views at `generation`. A query that runs long holds the old views; then we step back, let others pass, and try again."""
    for attempt in range(SWITCH_TRIES):
        try:
            async with transaction(connection, settings=_BRIEFLY):
                head = await checkpoints.read(connection, lock=True)
                await _make_live(connection, generation, head.position)
                await checkpoints.next_epoch(connection)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(min(0.1 * (attempt + 1), 1.0))
        else:
            log.info("generation_switched", projection=generation.projection, generation=generation.generation, position=head.position)
            return
    raise StoreUnavailable(f"queries have held the views of {generation.projection} for too long: end them and rebuild again")


async def _make_live(connection: Connection, generation: Generation, position: int) -> None:
    """The old generation stops where it is; the new one is shown."""
    await connection.execute(
        "UPDATE worldbus.generations SET live = false, stopped_at = coalesce(stopped_at, $2) "
        "WHERE projection = $1 AND live AND schema_name <> $3",
        generation.projection, position, generation.schema,
    )  # fmt: skip
    await connection.execute("UPDATE worldbus.generations SET live = true, switched_at = now() WHERE schema_name = $1", generation.schema)
    await generations.show(connection, generation)


async def clear(connection: Connection, name: str) -> None:
    """Remove generations that no view shows and nobody fills. One that a query still reads stays until the next time."""
    for generation in await generations.load(connection):
        if generation.projection != name or generation.live:
            continue
        try:
            async with transaction(connection, settings=_BRIEFLY):
                free = await connection.fetchval(
                    "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", f"worldbus {generation.schema}"
                )
                if free:
                    await checkpoints.read(connection, lock=True)
                    await generations.drop(connection, [generation])
                    await checkpoints.next_epoch(connection)
        except asyncpg.LockNotAvailableError:
            log.info("generation_kept", projection=name, generation=generation.generation, reason="a query reads it")
