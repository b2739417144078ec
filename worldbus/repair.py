"""Writing a damaged log again from its archive, and what the log holds beyond it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.binary_mode import restored
from bus.errors import BadEvent, LogDamaged, Misuse
from bus.log import LogConfig, open_log
from bus.restore import Kept, restore_log
from projections import checkpoints
from projections.archive import archived, broken_link
from projections.archive import check as compare
from projections.chain import stored_subject
from projections.store import connected

if TYPE_CHECKING:
    from asyncpg import Connection as Database

    from bus.connection import Connection
    from bus.event import Event
    from bus.log import Log

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The outcome. `problem` is empty when the log needed no repair; `kept` events behind the archive's head were carried over."""

    problem: str
    restored: int = 0
    kept: int = 0


async def repair(
    connection: Connection, dsn: str, config: LogConfig, *, accept_loss: bool = False, progress: Progress | None = None
) -> Repair:
    """Hold the whole log against the archive, and restore it if they differ. Nobody may publish, handle or project meanwhile.

    Raises `LogDamaged` when the archive itself does not fit its hash chain; and, unless `accept_loss`, `Misuse` when the log ends in
    events that are not archived yet and cannot be read.
    """
    async with connected(dsn) as database:
        if broken := await broken_link(database, progress=progress):
            raise LogDamaged(
                f"wanted an archive to restore from, found its hash chain broken at position {broken}: run `worldbus archive rebuild "
                "--from-log` first, which looks whether the log can mend it, or restore Postgres from a backup",
                position=broken,
            )
        head = (await checkpoints.read(database)).position
        problem, tail = await _look(connection, database, config, head, accept_loss, progress)
        if not problem:
            return Repair(problem="")
        restored = await restore_log(connection, config, _history(database, head, tail, progress))
        return Repair(problem=problem, restored=restored, kept=len(tail))


async def _look(
    connection: Connection, database: Database, config: LogConfig, head: int, accept_loss: bool, progress: Progress | None
) -> tuple[str, list[Event]]:
    """The damage of the log, in words, and its events behind the archive's head."""
    try:
        log = await open_log(connection, config)
    except LogDamaged as error:
        return str(error), []
    try:
        state = await log.state()
        report = await compare(database, state, log, full=True, progress=progress)
        if report.ok:
            return "", []
        return report.problem, await _tail(log, head, state.last, accept_loss)
    finally:
        await log.aclose()


async def _tail(log: Log, head: int, last: int, accept_loss: bool) -> list[Event]:
    """The log's own events behind the archive's head: nobody else has them."""
    tail: list[Event] = []
    if last <= head:
        return tail
    try:
        async for events in log.read(after=head, until=last):
            if not accept_loss:
                for event in events:
                    _ = event.id  # raises for an envelope that cannot be read
            tail += events  # with its bytes as they are, readable or not
    except (LogDamaged, BadEvent) as error:
        if not accept_loss:
            raise Misuse(
                f"the log's events {head + 1} to {last} are not archived yet and cannot all be read: {error}. "
                "Say --accept-loss to restore what there is of them"
            ) from error
    return tail


async def _history(database: Database, head: int, tail: list[Event], progress: Progress | None) -> AsyncIterator[Kept]:
    async for events in archived(database, after=0, until=head):
        for event in events:
            yield _kept(event)
        if progress is not None:
            progress(events[-1].position, head + len(tail))
    for event in tail:
        yield _kept(event)


def _kept(event: Event) -> Kept:
    """The event as it goes back. The new log's times are those of the restore, so an event that says none keeps its old one."""
    return Kept(stored_subject(event.partition, event.subject), event.raw, restored(event.raw, event.header, event.recorded_ns))
