"""Recording what requests say: each event once, for ever, by its id; the same request again gets the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus import lookup
from bus.envelope import MAX_EVENT
from bus.errors import IdReused, LogDamaged, Unknown, WorldbusError
from bus.lookup import id_of
from bus.publication import pack
from worldbus.gateway.problem import Problem

if TYPE_CHECKING:
    from bus.event import Draft, Event
    from bus.log import Log
    from bus.publisher import Publisher
    from bus.subjects import LaneName
    from worldbus.gateway.bodies import Item
    from worldbus.gateway.feed import Feed
    from worldbus.gateway.known import Known, Recognised


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of one event: it is at `position`, since now or (`replayed`) since an earlier request; or it is not, by this `error`."""

    id: str
    position: int = 0
    replayed: bool = False
    error: WorldbusError | None = None


class Recorder:
    """Publishes for the gateway. Safe to share between the tasks of one event loop."""

    def __init__(self, publisher: Publisher, log: Log, feed: Feed, known: Known, answer_s: float) -> None:
        self._publisher = publisher
        self._log = log
        self._feed = feed
        self._known = known
        self._answer_s = answer_s
        self._flying: dict[str, asyncio.Future[int]] = {}
        self._acked: dict[str, int] = {}
        self._prune_at = 256

    @property
    def in_flight(self) -> int:
        """Events whose fate is not known yet."""
        return self._publisher.in_flight

    async def record(self, items: Sequence[Item]) -> list[Outcome]:
        """Record the items in order. Each has its own outcome; nothing raises but what concerns all of them, before any is sent."""
        await self._publisher.room()
        known = await self._known.find([item.draft.id for item in items if not item.fresh])
        before = self._feed.head  # whatever lies at or below it was recorded earlier
        waiting: list[tuple[Item, asyncio.Future[int] | WorldbusError, bool]] = [self._begin(item, known) for item in items]
        pending = [future for _, future, _ in waiting if isinstance(future, asyncio.Future) and not future.done()]
        if pending:
            await asyncio.wait(pending, timeout=self._answer_s)
        return [await self._outcome(item, future, again, before) for item, future, again in waiting]

    def _begin(self, item: Item, known: Recognised) -> tuple[Item, asyncio.Future[int] | WorldbusError, bool]:
        """A future of the event's position, and whether it was somebody else's before: nothing between here and sending it waits."""
        own = item.draft.id
        if item.fresh:
            return item, self._submit(item), False
        flying = self._flying.get(own)
        if flying is not None:
            return item, flying, True
        position = known.found.get(own) or self._acked.get(own) or self._feed.position_of(own)
        if position:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            future.set_result(position)
            return item, future, True
        future_or_error = self._submit(item) if known.sure else self._look_and_submit(item)
        if isinstance(future_or_error, asyncio.Future):
            self._flying[own] = future_or_error
            future_or_error.add_done_callback(lambda done: self._landed(own, done))
        return item, future_or_error, False

    def _submit(self, item: Item) -> asyncio.Future[int] | WorldbusError:
        try:
            return self._publisher.submit(item.draft, expected=item.expected)
        except WorldbusError as error:
            return error

    def _look_and_submit(self, item: Item) -> asyncio.Future[int]:
        """Publish an event whose id may be new or not: all events about the entity are looked through for it. Slow, and right."""
        return asyncio.ensure_future(self._publisher.publish(item.draft, expected=item.expected, once=True))

    def _landed(self, id: str, future: asyncio.Future[int]) -> None:
        self._flying.pop(id, None)
        if not future.cancelled() and future.exception() is None and self._feed.head < future.result():
            self._acked[id] = future.result()  # until the feed has it
        if len(self._acked) > self._prune_at:
            self._acked = {one: position for one, position in self._acked.items() if position > self._feed.head}
            self._prune_at = 2 * len(self._acked) + 256

    async def _outcome(self, item: Item, future: asyncio.Future[int] | WorldbusError, again: bool, before: int) -> Outcome:
        draft = item.draft
        if isinstance(future, WorldbusError):
            return Outcome(draft.id, error=future)
        if not future.done():
            future.add_done_callback(_retrieve)
            return Outcome(draft.id, error=Unknown(f"event {draft.id} may be in the log or not, no answer within {self._answer_s:g} s"))
        try:
            position = future.result()
            return await self._compared(item, position) if again else Outcome(draft.id, position, position <= before)
        except IdReused:
            return Outcome(draft.id, error=taken(draft))
        except WorldbusError as error:
            return Outcome(draft.id, error=error)

    async def _compared(self, item: Item, position: int) -> Outcome:
        event = await self._event(position)
        if same(item.draft, event):
            return Outcome(item.draft.id, position, replayed=True)
        return Outcome(item.draft.id, error=taken(item.draft))

    async def _event(self, position: int) -> Event:
        if self._feed.floor < position <= self._feed.head:
            return self._feed.after(position - 1, 1)[0]
        return await self._log.get(position)

    async def record_group(self, items: Sequence[Item], expected: Mapping[LaneName, int]) -> list[Outcome]:
        """Record all items or none, if the lanes are where they are expected.

        Raises the error, or a problem if some of the items are in the log already and some are not.
        """
        drafts = [item.draft for item in items]
        ids = [draft.id for draft in drafts]
        if len(set(ids)) < len(ids):
            raise Problem(422, "DUPLICATE_ID", "wanted an id of its own for each event of an atomic batch, found one twice")
        known = await self._known.find([item.draft.id for item in items if not item.fresh])
        for _ in range(2):
            if found := {one: position for one in ids if (position := known.found.get(one) or self._feed.position_of(one))}:
                return await self._group_again(items, found)
            if not known.sure:
                raise Problem(
                    503, "ARCHIVE_AWAY", "an atomic batch needs the archive to tell old ids from new ones; retry, or send it without atomic"
                )
            try:
                positions = await self._publisher.publish_group(drafts, expected=expected)
            except IdReused:  # recorded a moment ago: what has just been recorded is in sight soon
                await self._feed.catch_up()
                continue
            return [Outcome(one, position) for one, position in zip(ids, positions, strict=True)]
        raise Problem(409, IdReused.code, "an id of the batch is taken by another event; nothing was recorded")

    async def _group_again(self, items: Sequence[Item], found: dict[str, int]) -> list[Outcome]:
        if len(found) < len(items):
            missing = [item.draft.id for item in items if item.draft.id not in found]
            raise Problem(
                409,
                "GROUP_PARTLY_RECORDED",
                f"wanted {len(items)} new events, found {len(found)} that are recorded; nothing was recorded now: send the others alone",
                missing=missing[:100],
            )
        outcomes = [await self._compared(item, found[item.draft.id]) for item in items]
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return outcomes


def _retrieve(future: asyncio.Future[int]) -> None:
    """Take note of an error for which nobody waits any more."""
    if not future.cancelled():
        future.exception()


def same(draft: Draft, event: Event) -> bool:
    """True if the log holds this event. Raises `LogDamaged` when the event at its place has another id."""
    if id_of(event) != draft.id:
        raise LogDamaged(
            f"wanted event {draft.id} at position {event.position}, found {id_of(event) or 'an unreadable one'}: look with `worldbus check`"
        )
    return lookup.same(event, pack(draft, 2 * MAX_EVENT))


def taken(draft: Draft) -> IdReused:
    """The error for an id that another event has. It says nothing about that event: it may be another world's."""
    return IdReused(f"id {draft.id} is taken by another event; nothing was recorded: the same id is the same event, for ever", id=draft.id)
