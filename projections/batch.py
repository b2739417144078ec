"""A batch of events, made ready to be written in one transaction while the batch before it is being committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bus.errors import LogDamaged
from bus.event import Event
from bus.unreadable import undecodable
from projections.chain import link, record, stored_subject
from projections.fold import Fold, Shape
from projections.projection import Projection
from schemas.upcast import recorded_names

if TYPE_CHECKING:
    from asyncpg import Connection

EVERY = "*"  # the projection name under which an event is skipped that nobody can decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    """The projections that move in step with the checkpoint: their shapes, and the schemas that each is written to."""

    shapes: Mapping[str, tuple[Projection, Mapping[str, Shape]]]
    schemas: Mapping[str, tuple[str, ...]]

    def listeners(self, folds: Mapping[str, Fold]) -> dict[str, list[Fold]]:
        """By simple event name, who wants to see it."""
        wanted: dict[str, list[Fold]] = {}
        for name, fold in folds.items():
            for recorded in recorded_names(self.shapes[name][0].on):
                wanted.setdefault(recorded, []).append(fold)
        return wanted


@dataclass(frozen=True, slots=True)
class Skip:
    """An event that a projection could not take in."""

    position: int
    projection: str
    code: str
    reason: str


class Batch:
    """Consecutive events from `position` + 1 on, folded. Events at or below the last position came before, and are passed over."""

    __slots__ = (
        "_listeners",
        "chain",
        "events",
        "folds",
        "headed",
        "lineup",
        "position",
        "records",
        "skips",
        "start",
        "start_chain",
    )

    def __init__(self, lineup: Lineup, position: int, chain: bytes) -> None:
        self.lineup = lineup
        self.start, self.start_chain = position, chain
        self.position, self.chain = position, chain
        self.events: list[Event] = []
        self.records: list[tuple[Any, ...]] = []
        self.headed: list[tuple[Any, ...]] = []  # of events that lie partly in their headers
        self.skips: list[Skip] = []
        self.folds = {name: Fold(projection, shapes) for name, (projection, shapes) in lineup.shapes.items()}
        self._listeners = lineup.listeners(self.folds)

    def add(self, events: Iterable[Event]) -> None:
        """Take in more events. Raises `LogDamaged` when one is missing."""
        for event in events:
            if event.position != self.position + 1:
                if event.position <= self.position:
                    continue
                raise LogDamaged(
                    f"wanted position {self.position + 1}, found {event.position}: the log lost events; "
                    "restore them with `worldbus log repair --from-archive`",
                    wanted=self.position + 1, found=event.position,
                )  # fmt: skip
            self._take(event)

    def _take(self, event: Event) -> None:
        self.position = event.position
        header = event.header  # sought out anew each time: here once for both
        subject = stored_subject(event.partition, event.subject).encode()
        self.chain = link(self.chain, event.position, subject, event.raw, header)
        row = record(event, self.chain)
        self.events.append(event)
        if header is None:
            self.records.append(row)
        else:
            self.headed.append((*row, header))
        problem = undecodable(event)
        if problem is not None:
            self.skips.append(Skip(event.position, EVERY, problem.code, str(problem)))
            return
        for fold in self._listeners.get(event.subject.name, ()):
            refused = fold.take(event)
            if refused is not None:
                self.skips.append(Skip(event.position, fold.projection.name, *refused))

    async def write_folds(self, connection: Connection) -> None:
        """Write what the batch does to every projection."""
        for name, fold in self.folds.items():
            for schema in self.lineup.schemas[name]:
                await fold.write(connection, schema)
