"""The projector: one reader of the whole log that moves the archive, every projection and the checkpoint together.

One transaction per batch: compare-and-set the checkpoint, copy the events into the archive, write every projection's rows, commit; only
then advance. While a batch commits the next one is decoded and grows, so light load commits at once and heavy load in large batches.

Killing the process, the connection or Postgres at any moment loses and doubles nothing: what was committed is known from the checkpoint,
and reading goes on behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from bus.errors import CheckpointMoved, StoreUnavailable
from bus.presence import Part
from projections import checkpoints, generations
from projections.batch import Batch, Lineup
from projections.chain import COLUMNS, HEADED
from projections.checkpoints import ADVANCE, Checkpoint
from projections.feed import Feed
from projections.generations import Generation
from projections.glossary import describe
from projections.made import made_by
from projections.projection import Projection
from projections.reader import Reader
from projections.rebuild import catch_up
from projections.store import connected, in_our_words, passes, transaction
from projections.writer import is_about_a_value, record_skips, write_carefully

if TYPE_CHECKING:
    from asyncpg import Connection


log = structlog.get_logger(__name__)

MAX_BATCH = 2000  # events
CHUNK = 64  # events decoded before the loop gets its turn
FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 2.0
SLOW_S = 5.0  # a commit that takes longer waits for Postgres


class _EpochMoved(Exception):
    """The generations changed under us; nothing was written."""


class Projector:
    """Runs `projections` against one database. One of them works at a time: another one that moves the checkpoint ends this one."""

    def __init__(
        self,
        dsn: str,
        projections: Iterable[Projection],
        *,
        max_batch: int = MAX_BATCH,
        part: Part | None = None,
        by_digest: bool = False,
    ) -> None:
        """`part` is told how it stands, and how far it is.

        With `by_digest` a generation that other SQL or other functions made is left behind, too, although its version is the same.
        """
        self._by_digest = by_digest
        self._part = part or Part("projector")
        self._dsn = dsn
        self._projections = {projection.name: projection for projection in projections}
        self._digests: dict[str, str] = {}
        self._max_batch = max_batch
        self._possible: set[tuple[int, bytes]] = set()  # where the checkpoint may be if nobody but us moved it; empty: not known yet
        self._catching_up: dict[str, asyncio.Task[None]] = {}
        self.position = 0
        self.skipped = 0

    async def run(self, reader: Reader, *, follow: bool = True) -> int:
        """Project until `reader` ends (never, if it follows the log) and return the position reached.

        While Postgres is away it waits and tries again. Raises `CheckpointMoved` when another projector took over, `LogDamaged` at a gap.
        """
        try:
            while not await self._try(reader, follow):
                log.info("generations_changed", position=self.position)
            await asyncio.gather(*self._catching_up.values())
        finally:
            for task in self._catching_up.values():
                task.cancel()
            await asyncio.gather(*self._catching_up.values(), return_exceptions=True)
        return self.position

    async def _try(self, reader: Reader, follow: bool) -> bool:
        """One session after the other while Postgres comes and goes. False when the generations changed under us."""
        pause = FIRST_PAUSE_S
        while True:
            before = self.position
            try:
                await self._session(reader, follow)
            except _EpochMoved:
                return False
            except StoreUnavailable as error:
                pause = FIRST_PAUSE_S if self.position > before else min(pause * 2, LAST_PAUSE_S)
                self._part.stands("waits", str(error))
                log.warning("store_unavailable", position=self.position, reason=str(error), pause_s=pause)
                await asyncio.sleep(pause)
            else:
                return True

    async def _session(self, reader: Reader, follow: bool) -> None:
        async with connected(self._dsn, raw_times=True) as connection:
            with in_our_words("events were projected", connection):
                with self._asking():
                    start, lineup = await self._open(connection)
                async with Feed(reader, after=start.position, follow=follow, limit=4 * self._max_batch) as feed:
                    await self._work(connection, feed, Batch(lineup, start.position, start.chain), start.epoch)

    async def _open(self, connection: Connection) -> tuple[Checkpoint, Lineup]:
        """Find out where we are and which generations to write."""
        async with transaction(connection):
            start = await checkpoints.read(connection, lock=True)
            self._recognise(start)
            known = await generations.load(connection)
            if await self._take_over(connection, start, known):
                start = await checkpoints.next_epoch(connection)
                known = await generations.load(connection)
            lineup = await self._lineup(connection, known)
            await describe(connection, self._projections.values())
        self._start_catching_up(known)
        self._possible = {(start.position, start.chain)}
        self.position = start.position
        self._part.moved(start.position)
        return start, lineup

    def _recognise(self, found: Checkpoint) -> None:
        """Tell a commit of ours whose answer was lost from somebody else's. Further back is a Postgres that crashed without its last
        commits (`synchronous_commit = off`): rows and checkpoint went together, so reading on from there is right."""
        if not self._possible or (found.position, found.chain) in self._possible:
            return
        expected = sorted(position for position, _ in self._possible)
        if found.position >= expected[0]:
            raise CheckpointMoved(
                f"wanted the checkpoint at {expected}, found it at {found.position}: another projector runs; stop one of them",
                found=found.position,
            )
        log.warning("checkpoint_went_back", expected=expected[0], found=found.position)

    async def _take_over(self, connection: Connection, start: Checkpoint, known: list[Generation]) -> bool:
        """Leave behind what this code does not know, and begin what is new. A generation left behind keeps serving as it is."""
        changed = False
        for generation in known:
            if generation.stopped_at is None and not self._knows(generation):
                log.warning("projection_left_behind", projection=generation.projection, version=generation.version, position=start.position)
                await connection.execute(
                    "UPDATE worldbus.generations SET stopped_at = $1 WHERE schema_name = $2", start.position, generation.schema
                )
                changed = True
        for projection in self._projections.values():
            if not any(generation.projection == projection.name and self._knows(generation) for generation in known):
                in_step = start.position == 0
                made = await generations.create(connection, projection, stopped_at=None if in_step else 0, live=in_step)
                if in_step:
                    await generations.show(connection, made)
                changed = True
        return changed

    def _knows(self, generation: Generation) -> bool:
        projection = self._projections.get(generation.projection)
        if projection is None or projection.version != generation.version:
            return False
        return not self._by_digest or generation.made_by == self._digest(projection)

    def _digest(self, projection: Projection) -> str:
        digest = self._digests.get(projection.name)
        if digest is None:
            digest = self._digests[projection.name] = made_by(projection)
        return digest

    async def _lineup(self, connection: Connection, known: list[Generation]) -> Lineup:
        in_step = [generation for generation in known if generation.stopped_at is None]
        shapes = {}
        schemas: dict[str, tuple[str, ...]] = {}
        for generation in in_step:
            projection = self._projections[generation.projection]
            shapes[projection.name] = (projection, await generations.shapes(connection, projection, generation.schema))
            schemas[projection.name] = (*schemas.get(projection.name, ()), generation.schema)
        return Lineup(shapes=shapes, schemas=schemas)

    def _start_catching_up(self, known: list[Generation]) -> None:
        """Projections that are not in step with this code's version are brought there beside the work."""
        for name, projection in self._projections.items():
            mine = [generation for generation in known if generation.projection == name and self._knows(generation)]
            running = self._catching_up.get(name)
            if all(generation.stopped_at is not None for generation in mine) and (running is None or running.done()):
                self._catching_up[name] = asyncio.create_task(self._catch_up(projection, mine[-1]), name=f"catch-up-{name}")

    async def _catch_up(self, projection: Projection, generation: Generation) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with connected(self._dsn) as connection:
                    with in_our_words(f"{projection.name} caught up", connection):
                        await catch_up(connection, self._dsn, projection, generation)
                        return
            except Exception as error:
                if not passes(error):
                    log.error(
                        "catch_up_failed", projection=projection.name, reason=str(error)
                    )  # it stays behind, on record; the others go on
                    return
                pause = min(pause * 2, LAST_PAUSE_S)
                await asyncio.sleep(pause)

    async def _work(self, connection: Connection, feed: Feed, batch: Batch, epoch: int) -> None:
        """Decode and commit, one batch behind the other, until the feed ends."""
        committing: asyncio.Task[None] | None = None
        try:
            while True:
                more = await self._fill(batch, feed, committing)
                if committing is not None:
                    await committing
                    committing = None
                if batch.events:
                    committing = asyncio.create_task(self._commit(connection, batch, epoch), name="commit")
                    committing.add_done_callback(feed.wake)
                    batch = Batch(batch.lineup, batch.position, batch.chain)
                elif not more:
                    return
        finally:
            if committing is not None:
                committing.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await committing

    async def _fill(self, batch: Batch, feed: Feed, committing: asyncio.Task[None] | None) -> bool:
        """Let the batch grow: at least one event, then as long as the commit before it takes. False once the feed has ended."""
        while len(batch.events) < self._max_batch:
            if committing.done() if committing is not None else batch.events and not feed.events:
                return True
            if not await feed.wait():
                return False
            batch.add(feed.pop(min(CHUNK, self._max_batch - len(batch.events))))
            await asyncio.sleep(0)
        return True

    async def _commit(self, connection: Connection, batch: Batch, epoch: int) -> None:
        self._possible = {(batch.start, batch.start_chain), (batch.position, batch.chain)}
        with self._asking():
            try:
                await self._transact(connection, batch, epoch, careful=False)
            except Exception as error:
                if not is_about_a_value(error):
                    raise
                log.warning("batch_refused", position=batch.position, events=len(batch.events), reason=str(error))
                await self._transact(connection, batch, epoch, careful=True)
        self._possible = {(batch.position, batch.chain)}
        self.position = batch.position
        self._part.moved(batch.position)
        self.skipped += len(batch.skips)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Postgres works for us in the block; while it takes long, whoever asks is told."""
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._part.stands, "waits", "Postgres is slow: it hangs, or somebody locks")
        try:
            yield
        finally:
            slow.cancel()
        self._part.stands("works")

    async def _transact(self, connection: Connection, batch: Batch, epoch: int, *, careful: bool) -> None:
        async with transaction(connection):
            if await connection.fetchval(ADVANCE, batch.start, batch.position, batch.chain, epoch) is None:
                await self._moved(connection, batch)
            await connection.copy_records_to_table("events", schema_name="worldbus", columns=COLUMNS, records=batch.records)
            if batch.headed:
                await connection.copy_records_to_table("events", schema_name="worldbus", columns=HEADED, records=batch.headed)
            if careful:
                await write_carefully(connection, batch)
            else:
                await batch.write_folds(connection)
            await record_skips(connection, batch.skips)

    async def _moved(self, connection: Connection, batch: Batch) -> None:
        found = await checkpoints.read(connection)
        if (found.position, found.chain) == (batch.start, batch.start_chain):
            raise _EpochMoved
        raise CheckpointMoved(
            f"wanted the checkpoint at {batch.start}, found it at {found.position}: another projector runs; stop one of them",
            wanted=batch.start, found=found.position,
        )  # fmt: skip
