"""Publishing: many events in flight on one inbox, each of which ends as "in the log at this position", as a refusal, or as unknown.

A publish that got no answer is sent again with the same id until its deadline; the log's memory of ids (2 minutes) makes that one event. An
answer "duplicate" is not believed blindly: the stored event must be the same (`bus.lookup.differences`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bus import lookup
from bus.answers import status_of
from bus.bulk import BLOCK, Block, Bulk, each
from bus.connection import ApiError, Connection
from bus.durability import Durability, prove
from bus.errors import Disconnected, LogDamaged, PermissionDenied, StorageFull, TooLarge, Transient, Unknown, WorldbusError
from bus.event import Draft
from bus.group import Group, Groups, last_number, no_log
from bus.group_commit import WRONG_LAST_SEQUENCE, GroupCommit, PubAck, Singles, decode_ack
from bus.log import Log
from bus.once import publish_once
from bus.publication import AGAIN, LOOKING, WAITING, Parcel, Publication, fence_of, pack
from bus.subjects import LaneName

ANSWER_TIMEOUT = 5.0  # seconds without an answer until a publish is sent again
DEADLINE = 30.0  # seconds until a publish without an answer is given up as unknown
TICK = 0.25  # seconds between looks at what waits
MAX_UNSENT = 8 << 20  # bytes in the socket's buffer until publishers wait
TOO_LARGE = 10054
FULL = frozenset({10023, 10047, 10077})


class Publisher:
    """Publishes through one inbox. Made by `open_publisher`; safe to share between the tasks of one event loop.

    Publishes of one publisher are recorded in the order of their submission, also over reconnects; only what the server refused or did not
    answer is sent again later, out of its turn. An entity whose events must never swap is published one by one, or with `expected`.
    """

    def __init__(
        self, connection: Connection, log: Log, durability: Durability = "strict", *, window: int = 4096, deadline: float = DEADLINE
    ) -> None:
        self.connection = connection
        self.log = log
        self.durability = durability
        self.loop = asyncio.get_running_loop()
        self._window = window
        self._deadline = deadline
        self._sender: Singles = GroupCommit(connection) if durability == "strict" else Singles(connection)
        self._open: dict[int, Publication] = {}  # in order of submission
        self._number = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._ticker: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._away = False
        self._highest = 0  # position that was acknowledged
        self._damage: LogDamaged | None = None
        self._bulk = Bulk(connection, self.position_in, self._hand_over)
        self._groups = Groups(connection, log, ANSWER_TIMEOUT, self._admits)
        self._own = b'{"stream":"%b","seq":' % log.name.encode()

    async def open(self) -> None:
        """Listen for acknowledgements."""
        await self._sender.open()
        await self._bulk.open()
        await self._groups.open()
        self.connection.on_disconnect.append(self._on_disconnect)
        self.connection.on_reconnect.append(self._on_reconnect)
        self.connection.on_denied.append(self._on_denied)
        self._ticker = asyncio.create_task(self._tick(), name="publisher-ticker")

    async def flush(self) -> None:
        """Return when everything submitted so far has ended, one way or the other."""
        if self._open:
            await asyncio.wait([publication.future for publication in self._open.values()])

    async def aclose(self) -> None:
        """Close now; what has no answer yet ends as `Unknown`."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        self.connection.on_disconnect.discard(self._on_disconnect)
        self.connection.on_reconnect.discard(self._on_reconnect)
        self.connection.on_denied.discard(self._on_denied)
        for publication in list(self._open.values()):
            publication.failed(self._unknown(publication, "the publisher was closed"))
        for task in self._looking:
            task.cancel()
        await self._sender.aclose()
        await self._bulk.aclose()
        await self._groups.aclose()

    @property
    def in_flight(self) -> int:
        """Publishes that have no answer yet."""
        return len(self._open)

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """Record one event; returns its position. Waits first while the window or the socket is full.

        With `expected`, only if the last event of the same subsystem about this entity is at that position (0: there is none). The same id
        twice is recorded once within the log's memory of 2 minutes; `once` extends that for ever by looking through what the subsystem said
        about the entity.

        Raises `Rejected` (never recorded), `Conflict` (not recorded; look again), `Disconnected`, `NoLog` or `StorageFull` (not recorded,
        may be retried), `Unknown` (may be recorded: retry with the same id).
        """
        if once:
            return (await self.publish_group([draft], expected={} if expected is None else {draft.subject.lane: expected}, once=True))[0]
        await self.room()
        return await self.submit(draft, expected=expected)

    def submit(self, draft: Draft, *, expected: int | None = None) -> asyncio.Future[int]:
        """Publish without waiting for room: the caller bounds its events in flight. Raises `Rejected` at once, for a bad draft."""
        parcel = self._pack(draft)
        fence = "" if expected is None else fence_of(draft, self.log.partitions)
        return self._begin(draft.id, parcel, self.loop.create_future(), fence, expected or 0)

    def _pack(self, draft: Draft) -> Parcel:
        return pack(draft, self.connection.max_payload)

    def _begin(self, id: str, parcel: Parcel, future: asyncio.Future[int], fence: str = "", expected: int = 0) -> asyncio.Future[int]:
        publication = Publication(self, id, parcel, future, self.loop.time() + self._deadline, fence=fence, expected=expected)
        self._enter(publication)
        self._send(publication)
        return future

    def _admits(self) -> bool:
        """Return whether anything may be sent: not while we look whether the log came back as it was. Raises `LogDamaged` if it did not."""
        if self._damage is not None:
            raise self._damage
        return not self._away

    def _enter(self, publication: Publication) -> None:
        if self._damage is not None:
            raise self._damage
        self._number = publication.number = self._number + 1
        self._open[publication.number] = publication

    async def publish_group(
        self, drafts: Sequence[Draft], *, expected: Mapping[LaneName, int] | None = None, once: bool = False
    ) -> list[int]:
        """Record all of `drafts`, in order and behind one another, or none; returns their positions. At most 1000 drafts.

        With `expected`, only if the last event of each of these lanes is at its position (0: there is none), all at the same moment: lanes
        of the drafts (`draft.subject.lane`) and lanes that were only read, as many as there are drafts. So a rule over several entities
        holds, if all who write to them expect them. The same ids twice are recorded once within the log's memory of 2 minutes, and for ever
        where a lane of the drafts is expected; `once` extends that as in `publish`, and expects every lane of the drafts where it saw it.

        Costs about 10 ms on a disk, whatever the size. Raises as `publish`; `Conflict` names the first lane that moved, and where it is.
        """
        expected = {LaneName(*lane): position for lane, position in (expected or {}).items()}
        if once:
            parcels = [self._pack(draft) for draft in drafts]
            return await publish_once(self.log, drafts, parcels, expected, lambda where: self.publish_group(drafts, expected=where))
        if not drafts and not expected:
            return []
        if len(drafts) == 1 and expected.keys() <= {drafts[0].subject.lane}:
            return [await self.publish(drafts[0], expected=expected.get(drafts[0].subject.lane))]
        group = Group.of(drafts, [self._pack(draft) for draft in drafts], expected, self.log.partitions)
        positions = await self._groups.publish(group, self._deadline)
        self._highest = max(self._highest, positions[-1])
        return positions

    async def publish_many(self, drafts: Iterable[Draft] | AsyncIterable[Draft]) -> list[int]:
        """Record many events in order, as quickly as the log takes them; returns their positions.

        Raises the first error; what was published before it stays recorded, and publishing the same drafts again completes the rest.
        """
        if self.durability == "strict":
            return await self._many_in_batches(drafts)
        return await self._bulk.publish(drafts, self._window // BLOCK - 1, self.room, lambda: self._away)

    async def _many_in_batches(self, drafts: Iterable[Draft] | AsyncIterable[Draft]) -> list[int]:
        positions: list[int] = []
        futures: list[asyncio.Future[int]] = []
        try:
            async for draft in each(drafts):
                await self.room()
                futures.append(self.submit(draft))
                if len(futures) >= 2 * self._window:
                    positions += await asyncio.gather(*futures[: self._window])
                    del futures[: self._window]
            return positions + await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.add_done_callback(_retrieve)

    def _hand_over(self, block: Block, index: int, header: bytes | None, payload: bytes) -> None:
        """One event of a block that needs more than its first sending."""
        future = self.loop.create_future()
        future.add_done_callback(_retrieve)
        block.late.append((index, future))
        publication = Publication(self, block.ids[index], block.parcels[index], future, self.loop.time() + self._deadline)
        publication.tries = 1
        self._enter(publication)
        if header or payload:
            self.judge(publication, header, payload)
        else:
            self._send(publication)

    async def room(self) -> None:
        """Wait while the window or the socket is full: for callers of `submit` who bound nothing themselves."""
        while len(self._open) >= self._window:
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self.connection.unsent > MAX_UNSENT:
            await self.connection.drain()

    def position_in(self, payload: bytes) -> int:
        """The position in a plain acknowledgement, 0 for any other answer."""
        own = self._own
        if payload.startswith(own):
            rest = payload[len(own) : -1]
            if rest.isdigit():
                position = int(rest)
                if position > self._highest:
                    self._highest = position
                return position
        return 0

    def _send(self, publication: Publication) -> None:
        publication.sent_at = WAITING
        if self._away:
            return  # behind what was sent before the connection broke
        if self.loop.time() > publication.deadline:
            return  # we stood still for long: the log may have forgotten the id by now. The ticker says that it is unknown
        try:
            self._sender.add(publication)
        except Disconnected:
            return  # it goes out on reconnect, or ends at its deadline

    def end(self, publication: Publication) -> None:
        """Forget a publication and let the next one in."""
        self._open.pop(publication.number, None)
        while self._waiters and len(self._open) < self._window:
            waiter = self._waiters.pop()
            if not waiter.done():
                waiter.set_result(None)
                break

    def judge(self, publication: Publication, header: bytes | None, payload: bytes) -> None:
        """Any answer but a plain acknowledgement."""
        if not payload:
            publication.sent_at = AGAIN
            if status_of(header) == 503:
                publication.refusals += 1
                publication.refused = no_log(publication.subject, self.log.name)
            return
        ack = decode_ack(payload)
        if ack.error is None:
            if ack.duplicate:
                self._look(publication, lookup.repeated(self.log, publication.id, publication.parcel, ack.seq))
            else:
                publication.stored(ack.seq)
        elif ack.error.err_code in WRONG_LAST_SEQUENCE:
            found = last_number(ack.error.description)
            self._look(publication, lookup.moved(self.log, publication.fence, publication.expected, found, publication.parcel))
        else:
            self._refused(publication, ack)

    def _refused(self, publication: Publication, ack: PubAck) -> None:
        assert ack.error is not None
        words = f"{ack.error.description} ({ack.error.err_code})"
        if ack.error.err_code == TOO_LARGE:
            publication.failed(
                TooLarge(
                    f"the log refused {publication.subject.decode()}: {words}; send a reference instead", found=len(publication.payload)
                )
            )
        elif ack.error.err_code in FULL and publication.tries == 1:
            publication.failed(
                StorageFull(f"the log has no room: {words}; give its server more, then publish again", err_code=ack.error.err_code)
            )
        elif ack.error.code == 400:
            publication.failed(
                ApiError(f"publish to {publication.subject.decode()}", {"description": words, "code": 400, "err_code": ack.error.err_code})
            )
        else:
            publication.refused = Transient(
                f"the log cannot store now: {words}; publish again with the same id", err_code=ack.error.err_code
            )
            publication.refusals += 1
            publication.sent_at = AGAIN

    def _look(self, publication: Publication, work: Coroutine[Any, Any, int]) -> None:
        """Let the log say where it is, or why it is not there."""
        publication.sent_at = LOOKING

        async def look() -> None:
            try:
                publication.stored(await work)
            except (Transient, ApiError):
                publication.sent_at = AGAIN
            except WorldbusError as error:
                publication.failed(error)

        task = asyncio.create_task(look(), name="publisher-look")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def _unknown(self, publication: Publication, why: str) -> WorldbusError:
        subject = publication.subject.decode()
        if publication.tries == 0:
            return Disconnected(f"{subject} was not sent, {why}: publish it again", id=publication.id)
        if publication.refused is not None and publication.refusals == publication.tries:
            return publication.refused
        return Unknown(f"{subject} may be in the log or not, {why}: publish it again with the same id {publication.id}", id=publication.id)

    def _on_disconnect(self) -> None:
        self._away = True
        self._sender.forget()
        self._groups.forget()
        for publication in self._open.values():
            if publication.sent_at != LOOKING:
                publication.sent_at = WAITING
        self._bulk.release(float("inf"))

    def _on_reconnect(self) -> None:
        task = self.loop.create_task(self._return(), name="publisher-return")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _return(self) -> None:
        """Go on publishing, unless the log came back shorter than it was."""
        try:
            await self.log.still_holds(self._highest)
        except LogDamaged as error:
            self._damage = error
            for publication in list(self._open.values()):
                publication.failed(error)
        except Disconnected:
            return  # the next reconnect looks again
        else:
            self._away = False
            for publication in list(self._open.values()):
                if publication.sent_at != LOOKING:
                    self._send(publication)

    def _on_denied(self, reason: str) -> None:
        self._groups.denied(reason)
        self._bulk.denied(reason)
        denied = [one for one in self._open.values() if f'"{one.subject.decode().lower()}"' in reason]
        for publication in denied:
            publication.failed(
                PermissionDenied(
                    f"these credentials may not publish {publication.subject.decode()}: grant it or use others",
                    subject=publication.subject.decode(),
                )
            )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self.loop.time()
            self._bulk.release(now - ANSWER_TIMEOUT)
            for publication in list(self._open.values()):
                if now > publication.deadline:
                    publication.failed(self._unknown(publication, f"no answer within {self._deadline:g} s"))
                elif publication.sent_at == AGAIN or 0 < publication.sent_at < now - ANSWER_TIMEOUT:
                    self._send(publication)


@asynccontextmanager
async def open_publisher(
    connection: Connection, log: Log, durability: Durability = "strict", *, monitors: Sequence[str] = (), window: int = 4096
) -> AsyncIterator[Publisher]:
    """A publisher for the block, after the server proved what `durability` promises (see `bus.durability.prove`).

    Leaving the block waits until everything submitted has ended; leaving it by an error does not. Raises `NotDurable`.
    """
    await prove(log, durability, monitors)
    publisher = Publisher(connection, log, durability, window=window)
    try:
        await publisher.open()
        yield publisher
        await publisher.flush()
    finally:
        await publisher.aclose()


def _retrieve(future: asyncio.Future[int]) -> None:
    """Take note of an error that somebody else has reported already."""
    if not future.cancelled():
        future.exception()
