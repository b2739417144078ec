"""The past, as SQL: the projections folded anew up to a position, in a transaction that is never committed.

    async with past(dsn, projections) as then:
        await then.advance(4711)
        answer = await then.ask("SELECT sky FROM weather WHERE zone = 'harbour'")

The scratch tables live in schemas that exist inside this transaction only. For the moment of a question their views carry the name `world`,
so the same SQL is asked of the past as of the present, `world.weather` included; `world.events` ends at that position too. Nobody else sees
any of it, and whatever happens to the process, Postgres forgets it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from bus.errors import BadSettings, Misuse
from projections import checkpoints, generations
from projections.archive import archived
from projections.fold import Shape
from projections.generations import READERS
from projections.projection import Projection
from projections.query import MAX_ROWS, TIMEOUT_S, Answer, ask
from projections.store import VIEWS, connected, in_our_words, transaction
from projections.writer import wanted, write_events

if TYPE_CHECKING:
    from asyncpg import Connection

    from projections.batch import Skip

Progress = Callable[[int, int], None]
_PRESENT = "world_of_the_present"
_PATIENT = "SET LOCAL idle_in_transaction_session_timeout = 0"  # whoever asks may think in between
# Views that count on from a moment (projections/clock.sql) count up to this one: not into the future, nor on from the position's own time.
_AS_OF = """
    SELECT set_config('worldbus.as_of', coalesce(least($1::timestamptz, now.moment), '-infinity')::text, true)
      FROM {views}.checkpoint, LATERAL (SELECT CASE WHEN $1::timestamptz IS NULL THEN moved_at ELSE now() END AS moment) now
"""


class Past:
    """The world as it was at `position`. It can go forward, not back."""

    def __init__(self, connection: Connection, scratch: dict[str, tuple[Projection, dict[str, Shape]]], archived_to: int) -> None:
        self._connection = connection
        self._scratch = scratch  # by schema name
        self.archived_to = archived_to
        self.position = 0
        self.moment: datetime | None = None  # as of which clocks are read; None: when the position was recorded
        self.skips: list[Skip] = []

    async def advance(self, position: int, *, progress: Progress | None = None) -> None:
        """Fold on up to `position`. Raises `Misuse` for a position before this one or behind the archive."""
        if not self.position <= position <= self.archived_to:
            raise Misuse(
                f"wanted the world at position {position}, which lies outside {self.position} to {self.archived_to}: "
                + ("open the past anew to go back" if position < self.position else "the archive is not that far yet"),
                wanted=position,
            )
        async for events in archived(self._connection, after=self.position, until=position):
            for schema, (projection, shapes) in self._scratch.items():
                self.skips += await write_events(self._connection, projection, shapes, schema, wanted(projection, events))
            self.position = events[-1].position
            if progress is not None:
                progress(self.position, position)

    async def ask(self, sql: str, *, limit: int = MAX_ROWS, timeout: float = TIMEOUT_S) -> Answer:
        """Answer `sql` as a reader would have been answered then. Raises what `projections.query.query` raises."""
        async with transaction(self._connection, undo=True):
            await self._become_the_past()
            return await ask(self._connection, sql, limit, timeout)

    async def _become_the_past(self) -> None:
        """Give the scratch views the name of the readers' schema, and ourselves the readers' rights; the rollback takes both back."""
        execute = self._connection.execute
        await execute("SET LOCAL lock_timeout = '2s'")
        await execute(f"ALTER SCHEMA {VIEWS} RENAME TO {_PRESENT}")
        await execute(f"CREATE SCHEMA {VIEWS}")
        for schema in self._scratch:
            for relation in await generations.relations(self._connection, schema):
                await execute(f'CREATE VIEW {VIEWS}."{relation}" AS SELECT * FROM {schema}."{relation}"')  # noqa: S608
        await execute(f"CREATE VIEW {VIEWS}.events AS SELECT * FROM {_PRESENT}.events WHERE position <= {self.position}")  # noqa: S608
        moved = f"(SELECT recorded_at FROM {VIEWS}.events WHERE position = {self.position})"  # noqa: S608
        await execute(f"CREATE VIEW {VIEWS}.checkpoint AS SELECT {self.position}::bigint AS position, {moved} AS moved_at")
        await execute(_AS_OF.format(views=VIEWS), self.moment)
        await execute(f"GRANT USAGE ON SCHEMA {VIEWS} TO {READERS}; GRANT SELECT ON ALL TABLES IN SCHEMA {VIEWS} TO {READERS}")
        try:
            await execute(f"SET LOCAL search_path = {VIEWS}; SET LOCAL ROLE {READERS}; SET TRANSACTION READ ONLY")
        except asyncpg.InsufficientPrivilegeError as error:
            raise BadSettings(
                f"wanted to read the past with the rights of {READERS}, found: {error}; GRANT that role to this user"
            ) from error


@asynccontextmanager
async def past(dsn: str, projections: Iterable[Projection]) -> AsyncIterator[Past]:
    """Open the past at position 0. `dsn` is the owner's: it reads the archive and makes scratch tables, which nobody else ever sees."""
    async with connected(dsn) as connection:
        with in_our_words("the past was asked", connection):
            async with transaction(connection, settings=_PATIENT, undo=True, isolation="repeatable_read"):
                head = await checkpoints.read(connection)
                mark = secrets.token_hex(4)  # two pasts may be open at once; making one schema twice would wait for the first to end
                names = {f"past_{mark}_{projection.name}": projection for projection in projections}
                scratch = {schema: (one, await generations.build(connection, one, schema)) for schema, one in names.items()}
                yield Past(connection, scratch, head.position)


async def position_at(dsn: str, moment: datetime) -> int:
    """The last position that the log had recorded by `moment`, which needs a time zone. 0 if there was none."""
    if moment.tzinfo is None:
        raise BadSettings(f"wanted a moment with a time zone, found {moment.isoformat()}: add Z or +02:00")
    async with connected(dsn) as connection:
        found: int = await connection.fetchval("SELECT coalesce(max(position), 0) FROM worldbus.events WHERE recorded_at <= $1", moment)
    return found


async def ask_past(dsn: str, sql: str, at: int | datetime, *, projections: Iterable[Projection], **limits: Any) -> tuple[int, Answer]:
    """The answer that `sql` had at a position or moment, and that position."""
    position = at if isinstance(at, int) else await position_at(dsn, at)
    async with past(dsn, projections) as then:
        await then.advance(position)
        then.moment = None if isinstance(at, int) else at
        return position, await then.ask(sql, **limits)
