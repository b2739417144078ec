"""The client: what a game server or a tool calls, from any thread."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any

import betterproto2
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from worldbus_client.clock import CLOCK
from worldbus_client.envelope import Parcel, pack
from worldbus_client.errors import BadEvent, BadSettings, ClientError, Closed, QueueFull, Unknown
from worldbus_client.following import Following, subject_of
from worldbus_client.group import Draft, Groups, Lane, group_of
from worldbus_client.link import Link
from worldbus_client.received import Event, Signal
from worldbus_client.rules import check_token

_log = logging.getLogger("worldbus_client")
MOST_S = 110.0  # below the two minutes in which the log recognises an event that comes again
AT_EXIT_S = 5.0
ROOM = 1024  # events that wait for a slow reader; the log holds the rest


class Client:
    """One connection to the bus. Thread-safe; use it as a context manager, or call `open` and `close`.

    Events of one client are recorded in the order of `submit` and `publish`, also over reconnects; only what the log refused for the moment
    is sent again later, out of its turn. The same id twice is recorded once, within two minutes.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        world: str | None = None,
        subsystem: str = "game",
        name: str = "worldbus-client",
        credentials: str = "",
        log: str = "LOG",
        queue: int = 65536,
        window: int = 1024,
        answer_timeout: float = 5.0,
        give_up: float = 30.0,
    ) -> None:
        """`url` and `world` are by default what WORLDBUS_NATS_URL and WORLDBUS_WORLD say (`eval "$(worldbus env)"`); without an address it
        is a server of this machine that wants no password.

        `queue`: events that may wait for their answer; `window`: of these, so many are under way at once. Times are seconds: without an
        answer for `answer_timeout` an event is sent again with the same id, after `give_up` it ends as `Unknown`. Raises `BadSettings`.
        """
        if queue < 1 or window < 1:
            raise BadSettings(f"wanted a queue and a window of 1 or more, found {queue} and {window}")
        if not 0 < answer_timeout <= give_up <= MOST_S:
            raise BadSettings(
                f"wanted 0 < answer_timeout <= give_up <= {MOST_S:g} s (the log remembers ids for two minutes), "
                f"found {answer_timeout:g} s and {give_up:g} s"
            )
        url = url or os.environ.get("WORLDBUS_NATS_URL") or "nats://127.0.0.1:4222"
        if world is None and not (world := os.environ.get("WORLDBUS_WORLD")):
            raise BadSettings("wanted a world, found none: name it, or say it in WORLDBUS_WORLD")
        self.world = check_token(world, "world")
        self.subsystem = check_token(subsystem, "subsystem")
        self._queue = queue
        self._link = Link(
            url,
            name=name,
            log=check_token(log, "log"),
            credentials=credentials,
            window=window,
            answer_timeout=answer_timeout,
            give_up=give_up,
        )
        self._groups = Groups(self._link, answer_timeout, give_up)
        self._lock = threading.Condition()
        self._waiting = 0
        self._closed = False

    def open(self) -> Client:
        """Connect; nothing if it is open already. Raises `NotConnected`, or `Closed` for a client that was closed.

        An interpreter that ends with the client open waits up to five seconds for what has no answer, and says what was left.
        """
        if self._closed:
            raise Closed("the client is closed: make a new one")
        if not self._link.opened:
            self._link.open()
            atexit.register(self._at_exit)
        return self

    def close(self) -> None:
        """Close at once; `flush` first to wait for what is under way. Readers end."""
        self._closed = True
        atexit.unregister(self._at_exit)
        self._link.close()

    def _at_exit(self) -> None:
        try:
            self.flush(AT_EXIT_S)
        except Unknown as error:
            _log.error("the program ends, and %s: flush the client, and close it, before", error)
        except ClientError:  # a fork of the program that opened it
            return
        self.close()

    def __enter__(self) -> Client:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.flush()
        self.close()

    # -- publishing ----------------------------------------------------------------------------------------------------------------------

    def publish(self, entity: str, event: betterproto2.Message, **about: Any) -> int:
        """Record one event about an entity; returns its position once the log has it. Takes what `submit` takes; raises what that and its
        ticket raise, and `WrongThread` in a callback.
        """
        self._link.check_waiting("publish")
        return self.submit(entity, event, **about).result()

    def submit(
        self, entity: str, event: betterproto2.Message, *, id: str = "", cause: str = "", correlation: str = "", time_ns: int = 0
    ) -> Future[int]:
        """Queue one event and return at once. The ticket's `result()` is its position in the log, or raises `Refused`, `Unknown`,
        `NotConnected` (it was never sent) or `Closed`.

        `id`: your own, so that a retry after a crash is recorded once; else a fresh one. `time_ns`: when it happened, nanoseconds since
        1970; else now. Raises `BadEvent`, `QueueFull`, `NotConnected` before `open`, or `Closed`; nothing was taken then.
        """
        if self._closed:
            raise Closed("the client is closed: make a new one")
        return self.submit_parcel(
            pack(self.world, self.subsystem, entity, event, id=id, cause=cause, correlation=correlation, time_ns=time_ns)
        )

    def publish_group(self, drafts: Sequence[Draft], *, expected: Mapping[Lane | str, int] | None = None) -> list[int]:
        """Record all of `drafts`, in order and behind one another, or none; returns their positions. At most 1000.

        With `expected`, only if the last event of each of these lanes is at its position (0: there is none), all at the same moment: by
        entity, for what this client's subsystem says about it, or by `Lane`; lanes that were only read as well, as many as there are
        drafts. So a rule over several entities holds, if all who write to them expect them. Groups and single events of one client have
        no order among each other. The same ids twice are recorded once within two minutes, and for ever where a lane of the drafts is
        expected.

        Raises `BadEvent`, `Conflict` (look again), `Refused`, `Unknown` (publish it again with the same ids), `NotConnected` (it was never
        sent), `Closed`, and `WrongThread` in a callback.
        """
        if self._closed:
            raise Closed("the client is closed: make a new one")
        self._link.check_waiting("publish_group")
        group = group_of(self.world, self.subsystem, drafts, expected or {})
        return self._link.call(lambda: self._groups.publish(group))

    def submit_parcel(self, parcel: Parcel, *, since: float = 0.0) -> Future[int]:
        """Submit an event that was packed elsewhere.

        `since` is the `time.monotonic` at which it was first submitted, here or elsewhere; `give_up` counts from then, else
        from now. Raises `QueueFull`, `NotConnected` before `open`, or `Closed`.
        """
        if self._closed:
            raise Closed("the client is closed: make a new one")
        self._link.check()
        with self._lock:
            if self._waiting >= self._queue:
                raise QueueFull(
                    f"{self._waiting} events wait for the log, wanted fewer than {self._queue}: the log is away or slower than the game"
                )
            self._waiting += 1
        ticket: Future[int] = Future()
        ticket.add_done_callback(self._ended)
        self._link.submit(parcel, ticket, since or time.monotonic())
        return ticket

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything submitted so far has ended, one way or the other.

        Raises `Unknown` after `timeout` seconds, and `WrongThread` in a callback.
        """
        if self._link.opened and not self._closed:
            self._link.check_waiting("flush")
        with self._lock:
            if not self._lock.wait_for(lambda: self._waiting == 0, timeout):
                raise Unknown(f"{self._waiting} events have no answer after {timeout} s")

    def _ended(self, ticket: Future[int]) -> None:
        with self._lock:
            self._waiting -= 1
            if self._waiting == 0:
                self._lock.notify_all()

    # -- hearing -------------------------------------------------------------------------------------------------------------------------

    def follow(
        self, *, subsystem: str = "", entity: str = "", event: str = "", after: int | None = None, wait: float | None = None
    ) -> Iterator[Event]:
        """Events of this world in the order of the log, without gaps, also over reconnects. Empty names mean any; `after` is a position (0:
        from the beginning; None: what is new from here on). Ends when nothing came for `wait` seconds (None: never) or when the client
        is closed.
        """
        subject = self._subject(subsystem, entity, event)
        arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()

        def heard(it: Event) -> bool:
            arrived.put(it)
            return arrived.qsize() < ROOM

        following, stop = self._start(lambda: Following(self._link.log, [subject], after, heard))
        return self._events(arrived, following, stop, wait)  # the reader stands at its place already, before the first event is asked for

    def _events(
        self, arrived: queue.SimpleQueue[Event], following: Following, stop: Callable[[], None], wait: float | None
    ) -> Iterator[Event]:
        quiet = 0.0
        try:
            while not self._closed:
                try:
                    it = arrived.get(timeout=0.2 if wait is None else min(0.2, max(0.0, wait - quiet)))
                except queue.Empty:
                    quiet += 0.2
                    if wait is not None and quiet >= wait:
                        return
                    continue
                quiet = 0.0
                if arrived.qsize() == ROOM // 2:
                    self._link.loop.call_soon_threadsafe(following.resume)
                yield it
        finally:
            stop()

    def on_event(
        self, heard: Callable[[Event], None], *, subsystem: str = "", entity: str = "", event: str = "", after: int | None = None
    ) -> Callable[[], None]:
        """Follow events like `follow`, but call `heard` for each, on the client's thread: be quick. Returns a function that ends it."""
        return self._hear(heard, [self._subject(subsystem, entity, event)], after)

    def on_events(
        self, heard: Callable[[Event], None], kinds: Iterable[tuple[str, str]], *, after: int | None = None
    ) -> Callable[[], None]:
        """Follow events like `on_event`, of several kinds (subsystem, event) in the order of the log.

        One reader serves all of them, which costs the server less than one for each. No kind may be named twice.
        """
        subjects = [self._subject(subsystem, "", event) for subsystem, event in kinds]
        if not subjects or len(set(subjects)) < len(subjects):
            raise BadEvent(f"wanted kinds of events, each once, found {len(subjects)} of which {len(set(subjects))} differ")
        return self._hear(heard, subjects, after)

    def _subject(self, subsystem: str, entity: str, event: str) -> str:
        for name, token in (("subsystem", subsystem), ("entity", entity), ("event", event)):
            if token:
                check_token(token, name)
        return subject_of(self.world, subsystem, entity, event)

    def _hear(self, heard: Callable[[Event], None], subjects: list[str], after: int | None) -> Callable[[], None]:
        def hear(it: Event) -> bool:
            try:
                heard(it)
            except Exception:
                _log.exception("a callback failed at event %d, %s of %s; the next one comes", it.position, it.name, it.entity)
            return True

        _, stop = self._start(lambda: Following(self._link.log, subjects, after, hear))
        return stop

    def on_signal(self, kind: str, heard: Callable[[Signal], None], *, key: str = "") -> None:
        """Call `heard` for each signal `sig.<world>.<kind>.<key>`, on the client's thread: be quick. Without a key, for all of that kind;
        the kind `clock` has one signal without any. What is said while the connection is broken is not heard.
        """
        subject = f"sig.{self.world}.{check_token(kind, 'kind')}"
        if key or kind != CLOCK:
            subject += f".{check_token(key, 'key') if key else '*'}"

        async def arrived(message: Msg) -> None:
            _, world, kind, *keys = message.subject.split(".")
            try:
                heard(Signal(world, kind, "".join(keys), message.data))
            except Exception:
                _log.exception("a callback failed at signal %s; the next one comes", message.subject)

        async def attach(link: Nats) -> None:
            await link.subscribe(subject, cb=arrived)

        self._attach(attach)

    def _start(self, make: Callable[[], Following]) -> tuple[Following, Callable[[], None]]:
        async def begin() -> Following:
            return make()

        following = self._link.call(begin)
        self._attach(following.attach)
        task = self._link.loop.create_task

        async def run() -> Any:
            return task(following.run())

        running = self._link.call(run)

        def stop() -> None:
            with suppress(RuntimeError, ValueError):  # the client is closed, or this was stopped before
                self._link.on_connect.remove(following.attach)
                self._link.loop.call_soon_threadsafe(running.cancel)

        return following, stop

    def _attach(self, attach: Callable[[Nats], Any]) -> None:
        link = self._link

        async def now() -> None:
            link.on_connect.append(attach)
            if (connection := link.connection) is not None:
                await attach(connection)
                await connection.flush(5)

        link.call(now)
