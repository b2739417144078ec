"""Writing events of which Postgres refuses some: those are found, skipped and recorded, the rest is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from bus.unreadable import undecodable
from projections.batch import EVERY, Batch, Skip
from projections.fold import Fold, Shape
from projections.projection import Projection
from projections.store import Meaning, meaning, transaction
from schemas.upcast import recorded_names

if TYPE_CHECKING:
    from asyncpg import Connection

    from bus.event import Event

log = structlog.get_logger(__name__)

_SKIPPED = "INSERT INTO worldbus.skipped (position, projection, code, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"


async def write_events(
    connection: Connection, projection: Projection, shapes: Mapping[str, Shape], schema: str, events: Sequence[Event]
) -> list[Skip]:
    """Fold and write `events` to one generation; the skipped ones. `connection` is inside a transaction.

    When Postgres refuses the lot, halves are tried, down to the one event that cannot be written.
    """
    fold = Fold(projection, shapes)
    taken, skips = [], []
    for event in events:
        refused = fold.take(event)
        if refused is None:
            taken.append(event)
        else:  # one that nobody can decode is no projection's own trouble
            skips.append(Skip(event.position, projection.name if undecodable(event) is None else EVERY, *refused))
    try:
        async with transaction(connection):
            await fold.write(connection, schema)
    except Exception as error:
        if not is_about_a_value(error) or connection.is_closed():
            raise
        if len(taken) == 1:
            return [*skips, Skip(taken[0].position, projection.name, type(error).__name__, str(error))]
        middle = len(taken) // 2
        for half in (taken[:middle], taken[middle:]):
            skips += await write_events(connection, projection, shapes, schema, half)
    return skips


def is_about_a_value(error: Exception) -> bool:
    """True if Postgres or its driver refused a value of one event; anything else is about the server or the tables and skips nothing."""
    return isinstance(error, OverflowError) or meaning(error) is Meaning.VALUE


async def write_carefully(connection: Connection, batch: Batch) -> None:
    """Write like `Batch.write_folds`, after Postgres refused that: a value that it does not take costs its own event alone."""
    refused = {(skip.position, skip.projection) for skip in batch.skips}
    for name, (projection, shapes) in batch.lineup.shapes.items():
        events = [event for event in batch.events if not {(event.position, name), (event.position, EVERY)} & refused]
        for schema in batch.lineup.schemas[name]:
            skips = await write_events(connection, projection, shapes, schema, wanted(projection, events))
            batch.skips += [skip for skip in skips if skip not in batch.skips]


def wanted(projection: Projection, events: Iterable[Event]) -> list[Event]:
    """The events that are read as a type which the projection listens to, under whatever name they were recorded."""
    names = recorded_names(projection.on)
    return [event for event in events if event.subject.name in names]


async def record_skips(connection: Connection, skips: Iterable[Skip]) -> None:
    """Log and keep what was skipped."""
    rows = [(skip.position, skip.projection, skip.code, skip.reason.replace("\0", "\ufffd")) for skip in skips]
    alike: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for position, projection, code, reason in rows:
        alike.setdefault((projection, code), []).append((position, reason))
    for (projection, code), found in alike.items():  # a mistake in a projection must not drown the log
        log.warning("events_skipped", projection=projection, code=code, count=len(found), first=found[0][0], reason=found[0][1])
    if rows:
        await connection.executemany(_SKIPPED, rows)
