"""The log: one JetStream stream that holds every event of every world, and beside it the stream of state snapshots.

Limits retention without a limit, no deletes and no purge: positions are 1, 2, 3 … for ever, so a gap is damage and never "skipped".

A stream that was just made can vanish whole in a power cut, because its definition may not be on the disk yet. `open_log` therefore writes
one marker to the *snapshots* stream after it made the log, and waits for its acknowledgement: under `sync_interval: always` that is an
fsync on the same file system, behind the definition. Readers of the log never see it. The marker also remembers when the log was made: a
log that is missing although its marker stands, or another one in its place, is reported as damage instead of being made anew, empty.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog

from bus.answers import Answer, Answers, header_value, parse_stamp, status_of
from bus.api import START_S, ApiError, retried
from bus.connection import Connection
from bus.envelope import MAX_EVENT
from bus.errors import Disconnected, LogDamaged, Misuse, Transient
from bus.event import Event
from bus.reader import Reader
from bus.subjects import Subject, transform

NANOS = 1_000_000_000
MAX_HEADER = 1024  # bytes: `Nats-Msg-Id`, the expected-sequence pair and the batch triple
DUPLICATE_WINDOW = 120  # seconds
SNAPSHOT_ROOT = "snap"
NO_STORE = 10049  # JetStream's error code: error creating store for stream
NO_STREAM = 10059  # JetStream's error code
READ_BATCH = 1000  # messages per request
MAX_SUBJECTS = 1024  # whose last messages the server gives at once

PARTITIONS: Final = 8
"""Of a new log, unless something else is wanted."""
_PARTITIONS: Final = re.compile(r"\{\{partition\((\d+),")

logger = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The streams and their layout. `partitions` can never change once events are in the log; None: as they are there, or 8."""

    name: str = "LOG"
    snapshots: str = "SNAPSHOTS"
    partitions: int | None = None
    replicas: int = 1

    def stream(self) -> dict[str, Any]:
        """The configuration of the log's stream."""
        source, destination = transform(self.partitions or PARTITIONS)
        return _stream(self.name, [source], self.replicas) | {
            "max_msg_size": MAX_EVENT + MAX_HEADER,
            "duplicate_window": DUPLICATE_WINDOW * NANOS,
            "subject_transform": {"src": source, "dest": destination},
            "deny_delete": True,
            "deny_purge": True,
            "allow_atomic": True,
        }

    def snapshot_stream(self) -> dict[str, Any]:
        """The configuration of the snapshots' stream: the last value of each `snap.>` subject."""
        return _stream(self.snapshots, [f"{SNAPSHOT_ROOT}.>"], self.replicas) | {"max_msgs_per_subject": 1}


def _stream(name: str, subjects: list[str], replicas: int) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "num_replicas": replicas,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_consumers": -1,
        "allow_direct": True,
    }


@dataclass(frozen=True, slots=True)
class LogState:
    """The extent of the log: `count` events from `first` to `last`; an empty log has 0, 0, 0."""

    first: int
    last: int
    count: int
    asked_ns: int = field(default=0, compare=False)  # the server's clock when it said so, Unix time; 0: a server too old to say
    bytes: int = field(default=0, compare=False)  # on the server's disk


class Log:
    """Reading the log. Made by `open_log`; lives as long as its connection."""

    def __init__(self, connection: Connection, config: LogConfig, answers: Answers) -> None:
        self.connection = connection
        self.config = config
        self._answers = answers

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def partitions(self) -> int:
        return self.config.partitions or PARTITIONS

    async def aclose(self) -> None:
        """Stop listening for answers; the connection stays open."""
        await self._answers.close()

    async def state(self, *, timeout: float = 10.0) -> LogState:
        """First and last position and the number of events, as the server says it now."""
        try:
            info = await retried(lambda: self.connection.api(f"STREAM.INFO.{self.name}", timeout=2.0), timeout)
        except ApiError as error:
            if error.err_code != NO_STREAM:
                raise
            raise LogDamaged(f"log {self.name} is gone: restore it with `worldbus log repair --from-archive`", found=None) from error
        found = info["state"]
        count = int(found["messages"])
        asked_ns = parse_stamp(info["ts"]) if info.get("ts") else 0
        return LogState(int(found["first_seq"]) if count else 0, int(found["last_seq"]), count, asked_ns, int(found["bytes"]))

    async def created(self, *, timeout: float = 10.0) -> str:
        """The time at which the log was made, as the server says it now: another time means another log, whatever its name."""
        info = await retried(lambda: self.connection.api(f"STREAM.INFO.{self.name}", timeout=2.0), timeout)
        return str(info["created"])

    async def still_holds(self, position: int) -> None:
        """Return once the log says that it reaches `position`, however long it takes to come up.

        Raises `LogDamaged` when it ends before: new events would take the places of recorded ones. Raises `Disconnected`.
        """
        while position:
            try:
                last = (await self.state()).last
            except (Transient, ApiError) as error:
                if not self.connection.connected:
                    raise Disconnected(f"connection {self.connection.name!r} to NATS broke again: {error}") from error
                await asyncio.sleep(0.25)
                continue
            if last < position:
                raise LogDamaged(
                    f"log {self.name} came back with {last} events, wanted at least {position}, which it had acknowledged: "
                    "stop publishing and restore it with `worldbus log repair --from-archive`",
                    wanted=position,
                    found=last,
                )
            return

    async def get(self, position: int, *, timeout: float = 10.0) -> Event:
        """The event at `position`. Raises `LogDamaged` when the log does not hold it; `position` must have been written."""
        answer = (await self._direct({"seq": position}, timeout))[0]
        if status_of(answer[1]):
            state = await self.state(timeout=timeout)
            raise LogDamaged(
                f"position {position} is not in the log, which holds {state.first} to {state.last} ({state.count} events): "
                "look with `worldbus check`, restore with `worldbus log repair --from-archive`",
                wanted=position,
                found=state.last,
            )
        return _event(answer)

    async def last(self, subject_filter: str, *, timeout: float = 10.0) -> Event | None:
        """The last event whose stored subject matches the filter, if any."""
        if "*" not in subject_filter and ">" not in subject_filter:
            answers = await self._direct({"last_by_subj": subject_filter}, timeout)
            return None if status_of(answers[0][1]) else _event(answers[0])
        return max(await self.last_of_each(subject_filter, timeout=timeout), key=lambda event: event.position, default=None)

    async def last_of_each(self, subject_filter: str, *, timeout: float = 10.0) -> list[Event]:
        """The last event of every stored subject that matches the filter, in no order."""
        answers = await self._direct({"multi_last": [subject_filter], "batch": MAX_SUBJECTS}, timeout)
        if status_of(answers[-1][1]) != 413:
            return [_event(answer) for answer in answers if not status_of(answer[1])]
        last: dict[Subject, Event] = {}  # more subjects match than the server collects: walk the log instead
        async for events in self.lane_pages(subject_filter, timeout=timeout):
            last |= {event.subject: event for event in events}
        return list(last.values())

    async def first_behind(self, position: int, subject_filter: str, *, timeout: float = 10.0) -> Event | None:
        """The first event behind a position whose stored subject matches the filter, if any."""
        answer = (await self._direct({"seq": position + 1, "next_by_subj": subject_filter}, timeout))[0]
        return None if status_of(answer[1]) else _event(answer)

    async def read_lane(
        self, subject_filter: str, *, after: int = 0, at_least: int = 0, most: int = READ_BATCH, timeout: float = 10.0
    ) -> list[Event]:
        """Every event behind `after` that matches one filter, in order: for short histories, such as one entity's.

        The answer covers the log up to `at_least` or beyond (a replica may lag behind what a conflict has named). With `most` below 1000 it
        is the next so many events and no more.
        """
        pages = self.lane_pages(subject_filter, after=after, at_least=at_least, most=most, timeout=timeout)
        return [event async for page in pages for event in page]

    async def lane_pages(
        self, subject_filter: str, *, after: int = 0, at_least: int = 0, most: int = READ_BATCH, timeout: float = 10.0
    ) -> AsyncIterator[list[Event]]:
        """Read a lane like `read_lane`, a part at a time, however long the history is. `timeout` seconds are for each part."""
        position = after
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            answers = await self._direct({"seq": position + 1, "next_by_subj": subject_filter, "batch": most}, timeout)
            page = [_event(answer) for answer in answers if not status_of(answer[1])]
            if page:
                position = page[-1].position
                deadline = asyncio.get_running_loop().time() + timeout
                yield page
            if most == READ_BATCH and int(header_value(answers[-1][1], b"Nats-Num-Pending") or 0):
                continue
            if position >= at_least:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Transient(
                    f"wanted {subject_filter} up to position {at_least}, found it up to {position} within {timeout} s: retry",
                    wanted=at_least,
                    found=position,
                )
            await asyncio.sleep(0.02)

    def read(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        since: datetime | None = None,
        filters: Sequence[str] = (),
        follow: bool = False,
        batch: int = READ_BATCH,
    ) -> AsyncIterator[list[Event]]:
        """Read the log in order, in lists of at most `batch`; never skips, never repeats, whatever restarts meanwhile.

        Starts behind `after`, or at the first event recorded at or after `since` (which needs a time zone). Ends at `until`, or where the
        log ended when the reading began; with `follow` it waits for more instead, for ever or up to `until`. `filters` are stored-subject
        filters (`bus.subjects.stored_filter`); an event comes once, however many of them match. Without filters every position is checked
        to follow the one before. Holds at most about two batches in memory. Raises `LogDamaged` for a gap or a log that ends before
        `after`.
        """
        return Reader(self, after=after, until=until, since=since, filters=filters, follow=follow, batch=batch).batches()

    async def wait_for(self, position: int, *, timeout: float | None = None) -> None:
        """Return once the log holds `position`; raises `TimeoutError` after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            last = (await self.state()).last
            async for _ in self.read(after=last, until=max(last, position), follow=True):
                pass

    def salvage(self, *, after: int = 0) -> AsyncIterator[list[Event]]:
        """Read what is readable of a damaged log behind `after`, in order, without the checks of `read`: for repair only."""
        return Reader(self, after=after, until=None, since=None, filters=(), follow=False, batch=READ_BATCH, damaged=True).batches()

    async def mark(self, created: str) -> None:
        """Write down, durably, when the log was made, and its partitions. Acknowledged under `always`, its definition is on disk too."""

        async def write() -> None:
            answer = json.loads(
                await self.connection.request(self.marker, json.dumps({"created": created, "partitions": self.partitions}).encode())
            )
            if "error" in answer:
                raise ApiError("marker", answer["error"])

        await retried(write, START_S)

    async def marked(self) -> str:
        """The time at which the log was made, as written down; nothing if that is not known."""
        return str((await self._marker()).get("created", ""))

    async def layout(self) -> int:
        """The partitions of the log that is there; of one that is not, those that it had, as far as that was written down."""
        return partitions_of(await stream_info(self.connection, self.name)) or int((await self._marker()).get("partitions", PARTITIONS))

    async def _marker(self) -> dict[str, Any]:
        raw = await retried(lambda: self.kept(self.marker), START_S)
        return {} if raw is None else dict(json.loads(raw))

    async def kept(self, subject: str) -> bytes | None:
        """The last value of a subject among the snapshots, if there is one. Raises `Transient` while that cannot be read."""
        answers = await self._answers.ask(f"$JS.API.DIRECT.GET.{self.config.snapshots}", {"last_by_subj": subject}, timeout=2.0)
        status = status_of(answers[0][1])
        if status in (503, 408):
            raise Transient(f"{subject} of stream {self.config.snapshots} cannot be read at the moment: retry")
        return None if status else answers[0][2]

    @property
    def marker(self) -> str:
        """The subject, among the snapshots, of what is written down about the log itself."""
        return f"{SNAPSHOT_ROOT}.log.{self.name}"

    async def _direct(self, body: dict[str, Any], timeout: float) -> list[Answer]:
        async def ask() -> list[Answer]:
            answers = await self._answers.ask(f"$JS.API.DIRECT.GET.{self.name}", body, timeout=min(timeout, 2.0))
            if status_of(answers[-1][1]) in (503, 408):
                raise Transient(f"log {self.name} cannot be read at the moment: retry")
            return answers

        return await retried(ask, timeout)


def _event(answer: Answer) -> Event:
    _, header, payload = answer
    return Event.stored(
        payload,
        header_value(header, b"Nats-Subject").decode(errors="replace"),
        int(header_value(header, b"Nats-Sequence")),
        parse_stamp(header_value(header, b"Nats-Time-Stamp").decode()),
        header,
    )


async def open_log(connection: Connection, config: LogConfig | None = None) -> Log:
    """The log, made if it is missing. Raises `Misuse` when a stream of that name is laid out differently, `LogDamaged` when it was lost."""
    log = await attach(connection, config or LogConfig())
    try:
        wanted = await log.marked()
        refuse_another(log, wanted, await stream_info(connection, log.name))
        created = await make(connection, log.config)
        if not wanted:
            await log.mark(created)
    except BaseException:
        await log.aclose()
        raise
    return log


def refuse_another(log: Log, wanted: str, found: dict[str, Any] | None) -> None:
    """Raise `LogDamaged` unless the log that is there is the one that was made at `wanted`, if that is known."""
    if wanted and (found is None or found["created"] != wanted):
        raise LogDamaged(
            f"log {log.name} was made at {wanted}, found {'none' if found is None else 'one made at ' + found['created']}: "
            f"restore it with `worldbus log repair --from-archive`; to begin a new history, delete stream {log.config.snapshots} too",
            wanted=wanted,
            found=found and found["created"],
        )


async def attach(connection: Connection, config: LogConfig) -> Log:
    """The log as it is, missing or damaged: for repair. `open_log` is for everybody else."""
    await _ensure(connection, config.snapshot_stream())
    answers = Answers(connection)
    await answers.open()
    log = Log(connection, config, answers)
    if config.partitions is None:
        try:
            log.config = replace(config, partitions=await log.layout())
        except BaseException:
            await log.aclose()
            raise
    return log


async def make(connection: Connection, config: LogConfig) -> str:
    """Make the log's stream if it is missing, compare it if it is there; returns when it was made. Raises `Misuse`."""
    return str((await _ensure(connection, config.stream()))["created"])


async def stream_info(connection: Connection, name: str) -> dict[str, Any] | None:
    """The server's information about a stream; None if it has none of that name."""
    try:
        return await retried(lambda: connection.api(f"STREAM.INFO.{name}"), START_S)
    except ApiError as error:
        if error.err_code == NO_STREAM:
            return None
        raise


def partitions_of(found: dict[str, Any] | None) -> int:
    """The number of partitions that `LogConfig.stream` wrote; 0 for another stream, or for none."""
    written = _PARTITIONS.search(((found or {}).get("config", {}).get("subject_transform") or {}).get("dest", ""))
    return int(written[1]) if written else 0


async def _ensure(connection: Connection, wanted: dict[str, Any]) -> dict[str, Any]:
    """The stream's information; made if it is missing, compared if it is there."""
    info = await stream_info(connection, wanted["name"])
    if info is None:
        try:
            info = await retried(lambda: _create(connection, wanted), START_S)
            logger.info("stream_created", stream=wanted["name"])
        except ApiError as error:
            if error.err_code == 10065:
                raise Misuse(
                    f"another stream already takes the subjects {wanted['subjects']}: an account holds one log; use or delete that one",
                    stream=wanted["name"],
                ) from error
            if error.err_code != 10058:  # somebody else made it at the same moment
                raise
            info = await stream_info(connection, wanted["name"])
            assert info is not None
    refuse_other_layout(wanted, info["config"])
    return info


def refuse_other_layout(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raise `Misuse` where a stream's configuration is not the one that is wanted."""
    differences = list(_differences(wanted, found))
    if differences:
        raise Misuse(
            f"stream {wanted['name']} is laid out differently: {'; '.join(differences)}. Use those settings, or another stream",
            stream=wanted["name"],
            differences=differences,
        )


async def _create(connection: Connection, wanted: dict[str, Any]) -> dict[str, Any]:
    try:
        return await connection.api(f"STREAM.CREATE.{wanted['name']}", wanted, timeout=10.0)
    except ApiError as error:
        if error.err_code == NO_STORE:
            raise Transient(f"stream {wanted['name']} cannot be made yet ({error}): its folder is still being removed, retry") from error
        raise


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        actual = found.get(key, False if isinstance(value, bool) else 0 if value == 0 else None)
        if key == "max_msgs_per_subject" or actual != value:
            if actual == value or (key == "num_replicas" and isinstance(actual, int) and actual > value):
                continue
            yield f"{key}: wanted {value!r}, found {actual!r}"
    if found.get("persist_mode", "default") not in ("", "default"):
        yield f"persist_mode: wanted the default, found {found['persist_mode']!r} (it acknowledges before the disk has the event)"
    for key in ("max_msgs_per_subject", "allow_rollup_hdrs", "allow_msg_ttl", "sealed"):
        if key not in wanted and found.get(key, -1) not in (-1, 0, False):
            yield f"{key}: wanted none, found {found[key]!r}"
