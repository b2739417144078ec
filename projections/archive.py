"""The archive as a second log: read it, check its own chain, hold the log against it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg

from bus.binary_mode import without_recorded
from bus.errors import LogDamaged
from bus.event import Event
from bus.subjects import Subject, parse_stored
from projections import checkpoints
from projections.chain import link_event
from projections.reader import Reader, reading
from projections.store import connected

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_READ = """
    SELECT position, (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_us, partition, world, subsystem, entity, name,
           odd_subject, raw, header
      FROM worldbus.events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3
"""
# The chain as chain.py makes it, said in SQL: the first position that is missing, or whose stored hash is not the hash of what is stored.
_BROKEN = """
    SELECT least(position, coalesce(before, $1) + 1) FROM (
        SELECT position, chain, lag(position) OVER w AS before, lag(chain) OVER w AS previous, raw, header,
               coalesce(odd_subject, convert_to(concat_ws('.', 'evt', partition, world, subsystem, entity, name), 'UTF8')) AS subject
          FROM worldbus.events WHERE position > $1 AND position <= $2 WINDOW w AS (ORDER BY position)
    ) AS e
    WHERE position <> coalesce(before, $1) + 1
       OR chain <> sha256(coalesce(previous, $3) || int8send(position) ||
                          CASE WHEN header IS NULL THEN int4send(length(subject)) || subject
                               ELSE int4send((length(subject) - 2147483648)::int4) || subject || int4send(length(header)) || header END
                          || raw)
    ORDER BY position LIMIT 1
"""
STEP = 20_000  # events per statement
DAMAGED_PAGES = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError, asyncpg.InternalServerError)  # of Postgres' own storage
Progress = Callable[[int, int], None]


class LogState(Protocol):
    """The log's word on itself: its length."""

    @property
    def last(self) -> int: ...


class CheckedLog(Reader, Protocol):
    """A log that can say how long it is, and be read."""

    async def state(self) -> LogState: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings. `problem` is empty when log and archive agree, else one line that names the first damaged position."""

    mode: str
    archive: int  # last archived position
    log: int  # last position of the log
    checked: int = 0  # events compared
    problem: str = ""
    position: int = 0  # the first damaged one; 0 if none
    damaged: str = ""  # `log` or `archive`

    @property
    def ok(self) -> bool:
        return not self.problem


class ArchiveReader:
    """The archive, read like the log. It ends at the checkpoint; there is nothing to follow."""

    def __init__(self, dsn: str, batch: int = 2000) -> None:
        self._dsn = dsn
        self._batch = batch

    async def read(self, *, after: int, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        """The archived events past `after`, as far as they go when their turn comes."""
        async with connected(self._dsn) as connection:
            async for batch in archived(connection, after=after, batch=self._batch):
                yield batch


async def archived(connection: Connection, *, after: int, until: int = 2**62, batch: int = 2000) -> AsyncIterator[list[Event]]:
    """The archived events with after < position <= until, over a connection that is open already."""
    while True:
        events = [event_of(row) for row in await connection.fetch(_READ, after, until, batch)]
        if not events:
            return
        yield events
        after = events[-1].position


def event_of(row: Record) -> Event:
    """An archived row as the event it was."""
    if row["odd_subject"] is not None:
        subject = parse_stored(row["odd_subject"].decode())[1]
    else:
        subject = Subject(row["world"], row["subsystem"], row["entity"], row["name"])
    return Event(
        raw=row["raw"],
        subject=subject,
        partition=row["partition"],
        position=row["position"],
        recorded_ns=row["recorded_us"] * 1000,
        header=row["header"],
    )


async def broken_link(connection: Connection, *, progress: Progress | None = None) -> int:
    """The first position at which the archive is not what was written, or 0: a missing row, or one whose hash does not fit."""
    end = await checkpoints.read(connection)
    position, chain = 0, bytes(32)
    while position < end.position:
        until = min(position + STEP, end.position)
        found: int | None = await connection.fetchval(_BROKEN, position, until, chain)
        if found is not None:
            return found
        last: Any = await connection.fetchrow("SELECT position, chain FROM worldbus.events WHERE position = $1", until)
        if last is None:
            missing: int = await connection.fetchval(
                "SELECT coalesce(max(position), 0) + 1 FROM worldbus.events WHERE position < $1", until
            )
            return missing
        position, chain = until, last["chain"]
        if progress is not None:
            progress(position, end.position)
    return end.position if chain != end.chain else 0


async def check(connection: Connection, state: LogState, reader: Reader, *, full: bool = False, progress: Progress | None = None) -> Report:
    """Hold the log against the archive: its length and the event at the archive's head; with `full` every event and the archive itself."""
    head = await checkpoints.read(connection)
    report = Report(mode="full" if full else "head", archive=head.position, log=state.last)
    if full:
        try:
            broken = await broken_link(connection, progress=progress)
        except DAMAGED_PAGES as error:
            return replace(report, position=1, damaged="archive", problem=f"ARCHIVE DAMAGED: Postgres cannot read it: {error}")
        if broken:
            return replace(report, position=broken, damaged="archive", problem=f"ARCHIVE DAMAGED: its hash chain breaks at {broken}")
    short = replace(
        report,
        position=state.last + 1,
        damaged="log",
        problem=f"LOG SHORTER THAN ARCHIVE: stream ends at {state.last}, archive at {head.position}",
    )
    if state.last < head.position and not full:
        return short
    if head.position == 0:
        return report
    after, until = 0 if full else head.position - 1, min(head.position, state.last)
    try:
        async with reading(reader, after=after) as batches:
            compared = await _compare(archived(connection, after=after, until=until), _until(batches, until), report, progress)
    except LogDamaged as error:  # the reader itself found a hole
        wanted = error.facts.get("wanted", 0)
        compared = replace(report, position=wanted if isinstance(wanted, int) else 0, damaged="log", problem=f"LOG DAMAGED: {error}")
    return replace(short, checked=compared.checked) if compared.ok and state.last < head.position else compared


async def check_log(connection: Connection, log: CheckedLog, *, full: bool = False, progress: Progress | None = None) -> Report:
    """Check a log that is in use, like `check`: a projector beside us may archive events that came after its length was asked for."""
    report = await check(connection, await log.state(), log, full=full, progress=progress)
    for _ in range(2):
        if report.ok or report.log >= report.archive:
            break
        report = await check(connection, await log.state(), log, full=full, progress=progress)
    return report


async def _compare(kept: AsyncIterator[list[Event]], log: AsyncIterator[Event], report: Report, progress: Progress | None) -> Report:
    checked = 0
    async for batch in kept:
        for wanted in batch:
            found = await anext(log, None)
            if found is None or not _same(found, wanted):
                what = "is missing" if found is None else f"holds another event (id {_id(found)}, archived {_id(wanted)})"
                problem = f"LOG DIFFERS FROM ARCHIVE: position {wanted.position} {what}"
                return replace(report, checked=checked, position=wanted.position, damaged="log", problem=problem)
            checked += 1
        if progress is not None:
            progress(batch[-1].position, report.archive)
    return replace(report, checked=checked)


def _same(found: Event, kept: Event) -> bool:
    """True if the log holds what was archived. A row without headers says nothing of them: older releases kept none, and a restore writes
    down when an event was first recorded."""
    if (found.position, found.partition, found.subject, found.raw) != (kept.position, kept.partition, kept.subject, kept.raw):
        return False
    return kept.header is None or without_recorded(found.header) == without_recorded(kept.header)


async def _until(batches: AsyncIterator[Sequence[Event]], last: int) -> AsyncIterator[Event]:
    async for batch in batches:
        for event in batch:
            if event.position > last:
                return
            yield event


def _id(event: Event) -> str:
    try:
        return event.id
    except Exception:  # an event that cannot be read has no id to show
        return "unreadable"


async def chain_of(reader: Reader, until: int) -> bytes:
    """The chain of the log itself at `until`, computed from its events."""
    chain = bytes(32)
    async with reading(reader, after=0) as batches:
        async for event in _until(batches, until):
            chain = link_event(chain, event)
    return chain
