"""Bringing the log in step with a folder of documents.

    done = await Ingest(log, publisher, "main").run(documents(path, calendar), collection="lore", whole=True)

What the log has is compared with what the files say, and only the difference is said: a second time nothing. Every document is one
revision under the fence of its own events: killed at any moment, it is in the log as it was before or as it is now, and of two who ingest
one document at once the second looks again. A revision of up to 900 events is one atomic batch; a longer one is several, of which only the
last, with the event that ends the revision, makes any of it true.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from bus.errors import BadEvent, BadSettings, Conflict, Transient
from bus.event import Draft, new_id
from bus.publication import pack
from bus.subjects import LaneName, lane_filter, partition_of, stored_filter
from worldbus.edges.lore.document import Chunk, Document
from worldbus.edges.lore.revision import EDGE, ENDS, Known, Revision, removed, revised

if TYPE_CHECKING:
    from bus.connection import Connection
    from bus.log import Log

GROUP: Final = 900  # events of one atomic batch; the log takes 1000
GROUP_BYTES: Final = 4 << 20
TRIES: Final = 8
PAUSE_S: Final = 0.1


class Publishes(Protocol):
    """The part of a publisher that this edge needs."""

    @property
    def connection(self) -> Connection:
        """The publisher's connection: it tells how large an event may be."""

    async def publish_group(self, drafts: Sequence[Draft], *, expected: Mapping[LaneName, int] | None = None) -> list[int]:
        """Publish like `bus.publisher.Publisher.publish_group`."""


Tell = Callable[[int, int, str], None]  # done, of, the document
Prepare = Callable[[Sequence[Chunk]], Awaitable[None]]  # what has to be ready before these passages are true, such as their vectors
Stamp = Callable[[str, int, int], tuple[str, int]]  # document, revision, n-th event -> its id and time in nanoseconds

log_ = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The events that would be said, in the order of the documents' names."""

    collection: str
    documents: int
    passages: int
    changed: tuple[tuple[Document, Revision], ...]
    removed: tuple[tuple[Known, Revision], ...]
    warnings: tuple[str, ...]

    @property
    def added(self) -> int:
        return sum(len(revision.added) for _, revision in self.changed)

    @property
    def retired(self) -> int:
        return sum(len(revision.retired) for _, revision in (*self.changed, *self.removed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The events that were said. `position` is that of the last event, 0 if nothing was."""

    collection: str
    documents: int
    passages: int
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    added: int
    retired: int
    events: int
    position: int
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in self.__slots__}


class Ingest:
    """Documents into the log of one world. Safe to run beside another one."""

    def __init__(self, log: Log, publisher: Publishes, world: str, *, prepare: Prepare | None = None, stamp: Stamp | None = None) -> None:
        self._log = log
        self._publisher = publisher
        self._world = world
        self._prepare = prepare
        self._stamp = stamp or _fresh

    async def plan(self, documents: Sequence[Document], *, collection: str, whole: bool) -> Plan:
        """The events that have to be said. With `whole`, documents of the collection that are not among these are removed.

        Raises `BadSettings` if that would remove every document of the collection and bring others: it is another folder then.
        """
        known = await self._known()
        changed = [
            (one, revision)
            for one in documents
            if (revision := revised(known.get(one.slug, Known(slug=one.slug)), one, collection)) is not None
        ]
        here = {one.slug for one in documents}
        of_it = [one for one in known.values() if one.there and one.collection == collection]
        gone = sorted((one for one in of_it if one.slug not in here), key=lambda one: one.slug) if whole else []
        if gone and len(gone) == len(of_it):
            raise BadSettings(
                f"wanted the folder of the collection {collection}, whose documents are {_named(of_it)}, found none of them: name this "
                "folder's own collection with --collection, or remove documents by leaving at least one"
            )
        titles: dict[str, str] = {}
        warnings = [f"{one.path}: {warning}" for one in documents for warning in one.warnings]
        for one in documents:
            other = titles.setdefault(one.title, one.path)
            if other != one.path:
                warnings.append(f"{one.path}: has the title of {other}")
        warnings += [f"{one.path}: {note}" for one, revision in changed for note in revision.notes]
        return Plan(
            collection=collection,
            documents=len(documents),
            passages=sum(len(one.chunks) for one in documents),
            changed=tuple(changed),
            removed=tuple((one, removed(one)) for one in gone),
            warnings=tuple(warnings),
        )

    async def run(self, documents: Sequence[Document], *, collection: str, whole: bool, tell: Tell = lambda done, of, name: None) -> Done:
        """Say what is new, document by document; what was said before an error stays. Raises as `plan` and `Publisher.publish`."""
        plan = await self.plan(documents, collection=collection, whole=whole)
        work: list[tuple[str, str, Callable[[Known], Revision | None]]] = [
            *((one.slug, one.path, _again(one, collection)) for one, _ in plan.changed),
            *((one.slug, one.path, _removed(collection)) for one, _ in plan.removed),
        ]
        said: list[tuple[Revision, int]] = []
        for number, (slug, path, decide) in enumerate(work):
            tell(number, len(work), path)
            if (one := await self._say(slug, decide)) is not None:
                said.append(one)
        revisions = [revision for revision, _ in said]
        gone = {one.slug for one, _ in plan.removed}
        return Done(
            collection=collection,
            documents=plan.documents,
            passages=plan.passages,
            changed=tuple(one.slug for one in revisions if one.slug not in gone),
            removed=tuple(one.slug for one in revisions if one.slug in gone),
            added=sum(len(one.added) for one in revisions),
            retired=sum(len(one.retired) for one in revisions),
            events=sum(len(one.messages) for one in revisions),
            position=max((position for _, position in said), default=0),
            warnings=plan.warnings,
        )

    async def _say(self, slug: str, decide: Callable[[Known], Revision | None]) -> tuple[Revision, int] | None:
        """One revision, decided on what the log has now; None if there is nothing to say any more."""
        for tries in range(1, TRIES + 1):
            known, last = await self._state(slug)
            revision = decide(known)
            if revision is None:
                return None
            try:
                return revision, await self._publish(revision, last)
            except (Conflict, Transient) as error:  # somebody else was quicker, or nobody knows: the log does
                if tries == TRIES:
                    raise
                log_.info("lore_again", document=slug, reason=str(error))
                await asyncio.sleep(PAUSE_S * tries)
        raise AssertionError("the last try returns or raises")

    async def _state(self, slug: str) -> tuple[Known, int]:
        """The document as the log has it, and the position of the last event about it, by which it is fenced.

        The fence is read first: whatever is said meanwhile moves it on.
        """
        partition = partition_of(self._world, slug, self._log.partitions)
        last = await self._log.last(lane_filter(partition, self._world, EDGE, slug))
        if last is None:
            return Known(slug=slug), 0
        wanted = [stored_filter(partition=partition, world=self._world, subsystem=EDGE, entity=slug, name=name) for name in ENDS]
        ends = [event for one in wanted if (event := await self._log.last(one)) is not None]
        newest = max(ends, key=lambda event: event.position, default=None)
        return (Known.of(newest) if newest else Known(slug=slug)), last.position

    async def _known(self) -> dict[str, Known]:
        """Every document that the world ever had, by name, as its last revision left it."""
        known: dict[str, Known] = {}
        for name in ENDS:
            async for events in self._log.read(filters=[stored_filter(world=self._world, subsystem=EDGE, name=name)]):
                for event in events:
                    if known.get(event.entity, _NEVER).position < event.position:
                        try:
                            known[event.entity] = Known.of(event)
                        except BadEvent as error:  # somebody else's bytes: the next revision covers them
                            log_.warning("lore_unreadable", position=event.position, reason=str(error))
        return known

    async def _publish(self, revision: Revision, expected: int) -> int:
        """The position of the revision's last event."""
        if self._prepare is not None and revision.added:
            await self._prepare(revision.added)
        drafts = [
            Draft(data=message, world=self._world, entity=revision.slug, subsystem=EDGE, id=name, time_ns=time_ns)
            for number, message in enumerate(revision.messages)
            for name, time_ns in [self._stamp(revision.slug, revision.number, number)]
        ]
        for group in list(_groups(drafts, self._publisher.connection.max_payload)):
            expected = (await self._publisher.publish_group(group, expected={group[0].subject.lane: expected}))[-1]
        return expected


_NEVER: Final = Known(slug="")


def _again(document: Document, collection: str) -> Callable[[Known], Revision | None]:
    return lambda known: revised(known, document, collection)


def _removed(collection: str) -> Callable[[Known], Revision | None]:
    return lambda known: removed(known) if known.there and known.collection == collection else None


def _fresh(slug: str, revision: int, number: int) -> tuple[str, int]:
    return new_id(), time.time_ns()


def _groups(drafts: Sequence[Draft], max_payload: int) -> Iterable[list[Draft]]:
    """The drafts in order, as few groups as the log takes. Every one is checked before the first group goes out: raises `Rejected`."""
    group: list[Draft] = []
    groups = [group]
    size = 0
    for draft in drafts:
        length = len(pack(draft, max_payload).payload)
        if group and (len(group) == GROUP or size + length > GROUP_BYTES):
            group = []
            groups.append(group)
            size = 0
        group.append(draft)
        size += length
    return groups


def _named(documents: Sequence[Known]) -> str:
    names = sorted(one.slug for one in documents)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
