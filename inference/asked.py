"""An index of ended requests: the ids of all requests that have an end, for ever, so that asking again changes nothing.

An id is kept as 16 bytes (a hash, and the position of the request that had it) in one of 262,144 buckets, each the last value of a subject
of its own in the stream `ASKED`: so the server's memory does not grow with the number of requests, and a bucket of 100 million requests has
six kilobytes. Looking is one read while the engine is already at work, of all requests that came in one turn of the event loop together;
the answer is needed when the first chunk is to be spoken. Writing is one fenced write behind the end in the log.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog

from bus.answers import Answers, header_value, status_of
from bus.connection import ApiError, Connection
from bus.errors import Conflict, Misuse, Transient, WorldbusError
from bus.writes import Writes

STREAM: Final = "ASKED"
ROOT: Final = "ask"
BITS: Final = 18
ENTRY: Final = 16  # bytes
TOGETHER: Final = 256
REMEMBERED: Final = 8192
LOOK_S: Final = 0.25
TRIES: Final = 5
_EXISTS: Final = 10058

log = structlog.get_logger(__name__)


class _Place(NamedTuple):
    """The place in which an id is kept."""

    bucket: int
    key: bytes


class _Bucket(NamedTuple):
    """The entries of a bucket, as they were read at a sequence of the stream (0: never written)."""

    sequence: int = 0
    entries: bytes = b""

    def position(self, key: bytes) -> int:
        """Of the request that had this id first; 0 if there was none."""
        for start in range(0, len(self.entries), ENTRY):
            if self.entries[start : start + 8] == key:
                return int.from_bytes(self.entries[start + 8 : start + ENTRY], "big")
        return 0


def _place(world: str, request_id: str) -> _Place:
    digest = blake2b(f"{world}\n{request_id}".encode(), digest_size=16).digest()
    return _Place(int.from_bytes(digest[:4], "big") >> (32 - BITS), digest[8:])


def _subject(bucket: int) -> str:
    return f"{ROOT}.{bucket:05x}"


class Asked:
    """Looks and writes. One per worker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answers = Answers(connection)
        self._writes = Writes(connection)
        self._known: OrderedDict[int, _Bucket] = OrderedDict()
        self._wanted: dict[int, list[asyncio.Future[_Bucket]]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the stream if it is missing, and listen for answers."""
        await ensure(self._connection)
        await self._answers.open()
        await self._writes.open()

    async def aclose(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._writes.aclose()
        await self._answers.close()

    def look(self, world: str, request_id: str, position: int, found: Callable[[bool], None]) -> None:
        """Find out whether another request than the one at `position` had this id and has its end, and call `found` with that, once.
        It is told False also when nobody can tell in time."""
        place = _place(world, request_id)

        def read(future: asyncio.Future[_Bucket]) -> None:
            if future.cancelled() or (error := future.exception()) is not None:
                log.warning("asked_not_known", request=request_id, error="stopped" if future.cancelled() else str(error))
                found(False)
            else:
                found(future.result().position(place.key) not in (0, position))

        self._read(place.bucket).add_done_callback(read)

    async def mark(self, world: str, request_id: str, position: int) -> None:
        """The request at `position` has its end. If that cannot be written, later askers with its id are answered again."""
        place = _place(world, request_id)
        for _ in range(TRIES):
            try:
                bucket = self._known.get(place.bucket) or await self._read(place.bucket)
                self._known.pop(place.bucket, None)  # what others may change is believed once
                if bucket.position(place.key):
                    return
                entries = bucket.entries + place.key + position.to_bytes(8, "big")
                self._note(place.bucket, _Bucket(await self._write(place.bucket, entries, bucket.sequence), entries))
            except Conflict:
                continue  # somebody else wrote into this bucket: read it
            except WorldbusError as error:
                log.debug("asked_not_marked", request=request_id, error=str(error))
                await asyncio.sleep(0.05)
            else:
                return
        log.warning("asked_not_marked", request=request_id)

    def _note(self, number: int, bucket: _Bucket) -> None:
        self._known[number] = bucket
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _read(self, number: int) -> asyncio.Future[_Bucket]:
        """The bucket, read anew, together with all others that are wanted in this turn of the event loop."""
        if not self._wanted:
            asyncio.get_running_loop().call_soon(self._read_wanted)
        future: asyncio.Future[_Bucket] = asyncio.get_running_loop().create_future()
        self._wanted[number].append(future)
        return future

    def _read_wanted(self) -> None:
        wanted, self._wanted = list(self._wanted.items()), defaultdict(list)
        for start in range(0, len(wanted), TOGETHER):
            task = asyncio.create_task(self._read_many(dict(wanted[start : start + TOGETHER])), name="asked")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read_many(self, wanted: dict[int, list[asyncio.Future[_Bucket]]]) -> None:
        try:
            found = await self._fetch(list(wanted))
        except WorldbusError as error:
            for future in (future for futures in wanted.values() for future in futures):
                if not future.done():
                    future.set_exception(error)
            return
        for number, futures in wanted.items():
            bucket = found.get(number, _Bucket())
            self._note(number, bucket)
            for future in futures:
                if not future.done():
                    future.set_result(bucket)

    async def _fetch(self, numbers: list[int]) -> dict[int, _Bucket]:
        body = {"multi_last": [_subject(number) for number in numbers], "batch": TOGETHER}
        found = {}
        got = await self._answers.ask(f"$JS.API.DIRECT.GET.{STREAM}", body, timeout=LOOK_S)
        if status_of(got[-1][1]) in (408, 503):
            raise Transient("what was asked before cannot be read at the moment: retry")
        for _, header, payload in got:
            if not status_of(header):
                number = int(header_value(header, b"Nats-Subject").rpartition(b".")[2], base=16)
                found[number] = _Bucket(int(header_value(header, b"Nats-Sequence")), payload)
        return found

    async def _write(self, number: int, entries: bytes, expected: int) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        subject = _subject(number).encode()

        def stored(position: int) -> None:
            if not future.done():
                future.set_result(position)

        def refused(error: WorldbusError) -> None:
            if not future.done():
                future.set_exception(error)

        self._writes.write(subject, subject, expected, entries, stored, refused)
        return await future


async def ensure(connection: Connection) -> None:
    """Make the stream of what was asked, if it is missing."""
    config: dict[str, Any] = {
        "name": STREAM,
        "subjects": [f"{ROOT}.*"],
        "storage": "file",
        "max_msgs_per_subject": 1,
        "discard": "old",
        "allow_direct": True,
        "duplicate_window": 1_000_000_000,
    }
    try:
        await connection.make(f"STREAM.CREATE.{STREAM}", config)
    except ApiError as error:
        if error.err_code != _EXISTS:
            raise Misuse(f"cannot make the stream {STREAM} for ids of requests: {error}; free its subjects {ROOT}.*") from error
