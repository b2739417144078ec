"""Writing a damaged archive again from the log, once the log is proven to be what was archived.

The proof is the hash chain: computed from the log alone it has to meet the chain of every archived row before the first damage, and end in
the hash that the checkpoint, or the last archived row, remembers. A log that does not is the damaged one, and nothing is written.

Each step is a transaction; one that dies is gone on with by running it again. The projector stands still meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from bus.binary_mode import without_recorded
from bus.errors import LogDamaged, Misuse
from bus.event import Event
from projections import checkpoints
from projections.archive import DAMAGED_PAGES, STEP, CheckedLog, Progress, broken_link
from projections.chain import HEADED, START, link_event, record
from projections.hold import PROJECTOR, holding
from projections.reader import reading
from projections.store import connected, in_our_words, transaction

if TYPE_CHECKING:
    from asyncpg import Connection

    from projections.checkpoints import Checkpoint

log_ = structlog.get_logger(__name__)
_CHAINS = "SELECT position, chain FROM worldbus.events WHERE position > $1 AND position <= $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rearchived:
    """The work done. `damaged` is the first position that was not as it was written, 0 if all were; `rewritten` counts events."""

    damaged: int
    proven: int
    rewritten: int


class Proof(NamedTuple):
    """The chain of the log before the first event to be written, and at the checkpoint; and the events that were archived with other
    headers than the log has now, by position."""

    before: bytes
    end: bytes
    others: dict[int, Event]


async def rebuild_archive(dsn: str, log: CheckedLog, *, whole: bool = False, progress: Progress | None = None) -> Rearchived:
    """Write the archive again from its first damage on, with `whole` from its beginning.

    Raises `Misuse` while a projector works, and `LogDamaged` when the log is not what was archived.
    """
    async with holding(dsn, PROJECTOR) as mine:
        if not mine:
            raise Misuse(
                "wanted the projector to stand still, found it at work: stop `up` and every `run` with a projector, then try again"
            )
        async with connected(dsn, raw_times=True) as connection:
            with in_our_words("the archive was rebuilt", connection):
                return await _rebuild(connection, log, whole, progress)


async def _rebuild(connection: Connection, log: CheckedLog, whole: bool, progress: Progress | None) -> Rearchived:
    head = await checkpoints.read(connection)
    damaged, readable = await _first_damage(connection, progress)
    first = 1 if whole else damaged
    if first == 0 or head.position == 0:
        return Rearchived(damaged=0, proven=0, rewritten=0)
    proof = await _prove(connection if readable else None, log, head, first, damaged, progress)
    if not readable:
        log_.warning("archive_emptied", reason="its pages cannot be read; the log is proven to hold every event of it")
        await connection.execute("TRUNCATE worldbus.events")
    await _rewrite(connection, log, first - 1, proof, head.position, progress)
    if proof.end != head.chain:
        await connection.execute("UPDATE worldbus.checkpoint SET chain = $1 WHERE position = $2", proof.end, head.position)
    return Rearchived(damaged=damaged, proven=head.position, rewritten=head.position - first + 1)


async def _first_damage(connection: Connection, progress: Progress | None) -> tuple[int, bool]:
    """The first damaged position (0: none), and whether the archive can be read at all."""
    try:
        return await broken_link(connection, progress=progress), True
    except DAMAGED_PAGES as error:
        log_.warning("archive_unreadable", reason=str(error))
        return 1, False


async def _prove(
    connection: Connection | None, log: CheckedLog, head: Checkpoint, first: int, damaged: int, progress: Progress | None
) -> Proof:
    """The log's own chain, as far as the checkpoint. Raises `LogDamaged` unless it is what was archived."""
    last = (await log.state()).last
    if last < head.position:
        raise LogDamaged(
            f"wanted a log of at least {head.position} events to write the archive from, found {last}: both are damaged; "
            "restore Postgres from a backup, then `worldbus log repair --from-archive`",
            wanted=head.position, found=last,
        )  # fmt: skip
    chain = before = START
    met = 0
    others: dict[int, Event] = {}
    async for events in _batches(log, 0, head.position):
        start = events[0].position - 1
        kept = {} if connection is None else dict(map(tuple, await connection.fetch(_CHAINS, start, events[-1].position)))
        for event in events:
            as_kept = _as_archived(event, chain, kept.get(event.position))
            if as_kept is not event:
                others[event.position] = as_kept
            chain = link_event(chain, as_kept)
            if kept.get(event.position) == chain:
                met = event.position
            elif 0 < event.position < damaged:
                raise _differs(event.position)
            if event.position == first - 1:
                before = chain
        if progress is not None:
            progress(events[-1].position, head.position)
    if chain != head.chain and met != head.position:
        raise LogDamaged(
            f"wanted a log that leads to the hash which the checkpoint remembers at {head.position}, found another one: behind position "
            f"{met} the log is not what was archived, and so not what the archive may be written from; restore Postgres from a backup",
            position=met + 1,
        )
    return Proof(before, chain, others)


def _as_archived(event: Event, chain: bytes, kept: bytes | None) -> Event:
    """The event with the headers that it was archived with. A restored log has lines that say when an event was first recorded, which the
    archive it came from has not; archives of older releases have no headers."""
    if event.header is None:
        return event
    headers = (without_recorded(event.header) or None, event.header, None)
    forms = [event if header == event.header else _with(event, header) for header in headers]
    return next((form for form in forms if link_event(chain, form) == kept), forms[0])


def _with(event: Event, header: bytes | None) -> Event:
    return Event(
        raw=event.raw,
        subject=event.subject,
        partition=event.partition,
        position=event.position,
        recorded_ns=event.recorded_ns,
        header=header,
    )


def _differs(position: int) -> LogDamaged:
    return LogDamaged(
        f"LOG DIFFERS FROM ARCHIVE: position {position}, where the archive's own chain is whole: the log is damaged too; "
        "restore Postgres from a backup, then `worldbus log repair --from-archive`",
        position=position,
    )


async def _rewrite(connection: Connection, log: CheckedLog, after: int, proof: Proof, until: int, progress: Progress | None) -> None:
    chain = proof.before
    async for events in _batches(log, after, until):
        rows = []
        for found in events:
            event = proof.others.get(found.position, found)
            chain = link_event(chain, event)
            rows.append((*record(event, chain), event.header))
        last = events[-1].position
        async with transaction(connection):
            await connection.execute("DELETE FROM worldbus.events WHERE position > $1 AND position <= $2", events[0].position - 1, last)
            await connection.copy_records_to_table("events", schema_name="worldbus", columns=HEADED, records=rows)
        log_.info("archive_rewritten", position=last, until=until)
        if progress is not None:
            progress(last, until)


async def _batches(log: CheckedLog, after: int, until: int) -> AsyncIterator[Sequence[Event]]:
    """The log's events with after < position <= until, `STEP` at a time."""
    waiting: list[Event] = []
    async with reading(log, after=after) as batches:
        async for batch in batches:
            waiting += [event for event in batch if event.position <= until]
            if len(waiting) >= STEP or (waiting and waiting[-1].position == until):
                yield waiting
                waiting = []
            if batch[-1].position >= until:
                return
    if waiting:
        yield waiting
