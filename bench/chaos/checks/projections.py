"""P1 to P6: the tables are the fold of the log up to the checkpoint, and the archive is the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from bench.chaos.history import History, Violation
from bus.event import Event

START = bytes(32)


@dataclass(frozen=True, slots=True)
class Sample:
    """One snapshot of the database while the run went on."""

    position: int  # the checkpoint
    chain: bytes  # the archive's hash there
    archived: int  # highest archived position
    rows: int  # archived events


@dataclass(frozen=True, slots=True)
class Archived:
    """One row of the archive."""

    position: int
    raw: bytes
    chain: bytes


def chain(events: Iterable[Event]) -> dict[int, bytes]:
    """The archive's hash at every position, made from the log as the comment on `worldbus.events.chain` says."""
    before, found = START, {0: START}
    for event in events:
        subject = f"evt.{event.partition}.{'.'.join(event.subject)}".encode()
        head = event.position.to_bytes(8, "big") + len(subject).to_bytes(4, "big")
        found[event.position] = before = sha256(before + head + subject + event.raw).digest()
    return found


def archive_is_the_log(history: History, rows: Sequence[Archived]) -> list[Violation]:
    """P4 and L10. The archive has every event up to its end, byte by byte, and its hashes are those of the log."""
    hashes = chain(history.events)
    for wanted, row in enumerate(rows, start=1):
        if row.position != wanted:
            return [Violation("P4", f"the archive skips position {wanted}")]
        event = history.by_position.get(wanted)
        if event is None:
            return [Violation("P5", f"the archive goes on at {wanted}, where the log has nothing")]
        if event.raw != row.raw:
            return [Violation("L10", f"position {wanted} has other bytes in the archive than in the log")]
        if row.chain != hashes[wanted]:
            return [Violation("L10", f"the archive's hash at {wanted} is not that of the log")]
    return []


def checkpoint_moves_with_the_rows(history: History, samples: Sequence[Sample]) -> list[Violation]:
    """P2. In every snapshot checkpoint and archive stand together, the checkpoint never goes back, and its hash is the log's there."""
    hashes = chain(history.events)
    found, before = [], 0
    for sample in samples:
        if (sample.archived, sample.rows) != (sample.position, sample.position):
            found.append(
                Violation("P2", f"the checkpoint stood at {sample.position} with {sample.rows} archived events up to {sample.archived}")
            )
        if sample.position < before:
            found.append(Violation("P2", f"the checkpoint went back from {before} to {sample.position}"))
        if hashes.get(sample.position) != sample.chain:
            found.append(Violation("P2", f"the checkpoint at {sample.position} had another hash than the log"))
        before = sample.position
    return found


def checkpoint_within_the_log(last: int, position: int) -> list[Violation]:
    """P5. The checkpoint is never beyond the log."""
    return [Violation("P5", f"the checkpoint is at {position}, the log ends at {last}")] if position > last else []


def caught_up(last: int, position: int) -> list[Violation]:
    """P4. After the run everything is projected."""
    return [Violation("P4", f"the checkpoint is at {position}, wanted the log's end {last}")] if position < last else []


def tables_are_the_fold(live: Mapping[str, str], folds: Mapping[str, Mapping[str, str]]) -> list[Violation]:
    """P1, P3, P6. Each fold of the log in an empty database, whatever its batches, gives the hash of the live tables, by projection."""
    return [
        Violation("P1", f"projection {name}: the live tables differ from the fold {how}")
        for how, hashes in folds.items()
        for name in sorted({*live, *hashes})
        if live.get(name) != hashes.get(name)
    ]
