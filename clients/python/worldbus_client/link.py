"""The connection, on a thread of its own: publishes in order and takes the log's answers.

A connection that breaks is not mended but replaced. What was written to a broken one and not answered is the end of what it carried, so
sending all of that again before anything new keeps the order; what the log has already is recognised by its id (two minutes).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as TimeoutFuture
from contextlib import suppress
from typing import Any, Final, TypeVar

import nats
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from worldbus_client.envelope import Parcel
from worldbus_client.errors import Closed, NotConnected, Refused, Unknown, WrongThread

T = TypeVar("T")
LATER: Final = frozenset({408, 429, 500, 503})  # codes of answers that pass
BACK_OFF: Final = 0.2  # seconds
TICK: Final = 0.25
CLOSE_S: Final = 2.0
CANCELS: Final = 10


class Ticket:
    """One publish on its way."""

    __slots__ = ("due", "first", "future", "number", "parcel", "tries")

    def __init__(self, number: int, parcel: Parcel, future: Future[int]) -> None:
        self.number, self.parcel, self.future = number, parcel, future
        self.tries = 0
        self.first = self.due = 0.0


class Link:
    """Made by `Client`."""

    def __init__(self, url: str, *, name: str, log: str, credentials: str, window: int, answer_timeout: float, give_up: float) -> None:
        self.log = log
        self._options: dict[str, Any] = {"servers": url.split(","), "name": name, "allow_reconnect": False, "connect_timeout": 2}
        self._options |= {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.1}  # it also counts first attempts
        if credentials:
            self._options["user_credentials"] = credentials
        self._url = url
        self._window, self._answer_timeout, self._give_up = window, answer_timeout, give_up
        self._open: dict[int, Ticket] = {}
        """Not ended, in the order of their numbers; the first `_window` of them have been sent."""
        self._unsent: list[Ticket] = []
        self._number = 0
        self._highest = 0
        self._damage = ""
        self._objection = ""
        self._nats: Nats | None = None
        self._sending = False
        """True if new events may go out: not before those of the last connection went out again."""
        self._inbox = ""
        self._broken: asyncio.Event
        self._closing = False
        self.on_connect: list[Callable[[Nats], Awaitable[None]]] = []
        """Called on the link's thread for each new connection, e.g. to subscribe."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="worldbus-client", daemon=True)
        self._process = 0
        """The id of the process that the thread runs in; 0 before it does."""
        self._gate = threading.Lock()
        self._ended = False
        """True once events are no longer taken: one that is handed to the loop now would never be looked at."""

    @property
    def connection(self) -> Nats | None:
        """The connection of the moment."""
        return self._nats

    @property
    def trouble(self) -> str:
        """The reason to leave the log alone: it came back shorter than it was; empty if all is well."""
        return self._damage

    @property
    def objection(self) -> str:
        """The last thing that the server said it forbids, to be added to a sentence; empty for nothing."""
        return self._objection

    def acknowledged(self, position: int) -> None:
        """The log said that it has this position: it may never come back shorter."""
        self._highest = max(self._highest, position)

    # -- from any thread -----------------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `NotConnected` before `open`, and `Closed` in a process that was forked from the client's: its thread is not there."""
        if self._process != os.getpid():
            if self._process:
                raise Closed(
                    "this process is a fork of the client's, whose thread and connection it does not have: make a new client in it"
                )
            raise NotConnected("the client is not open: call `open`, or use it as a context manager")

    def check_waiting(self, what: str) -> None:
        """Check like `check`; besides, raise `WrongThread` on the link's own thread, where `what` would wait for itself."""
        self.check()
        if threading.get_ident() == self._thread.ident:
            raise WrongThread(
                f"{what} waits for the client's thread, and this is it: in a callback, submit, or hand over to another thread"
            )

    @property
    def opened(self) -> bool:
        """True once `open` was called."""
        return self._process != 0

    def open(self) -> None:
        """Connect. Raises `NotConnected`."""
        opened: Future[None] = Future()
        self._process = os.getpid()
        self._thread.start()
        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self._keep(opened)))
        try:
            opened.result()
        except BaseException:
            self.close()
            raise

    def submit(self, parcel: Parcel, future: Future[int], since: float) -> None:
        """Send it in its turn; `future` ends with the position, or `give_up` seconds after `since`."""
        with self._gate:
            if not self._ended:
                self.loop.call_soon_threadsafe(self._take, parcel, future, since)
                return
        future.set_exception(Closed("the client is closed"))

    def call(self, coroutine: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine on the link's thread and wait for it. Raises `Closed` if the link ends before, and what the coroutine raises."""
        self.check_waiting("this")

        async def run() -> T:
            return await coroutine()

        with self._gate:
            if self._ended:
                raise Closed("the client is closed: make a new one")
            result = asyncio.run_coroutine_threadsafe(run(), self.loop)
        while True:
            try:
                return result.result(TICK)
            except CancelledError:
                raise Closed("the client was closed") from None
            except TimeoutFuture:
                if not result.done() and not self._thread.is_alive():
                    raise Closed("the client was closed") from None
                if result.done():
                    return result.result()

    def close(self) -> None:
        """End now; what has no answer yet ends as `Unknown`, what was not sent as `Closed`."""
        if self._process != os.getpid():  # never opened, or a fork of whoever did
            return
        with self._gate:
            if not self._ended:
                self.loop.call_soon_threadsafe(self._stop)
        if threading.get_ident() != self._thread.ident:  # in a callback, it ends as soon as that returns
            self._thread.join()

    # -- on the link's thread ------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._broken = asyncio.Event()
        self.loop.run_forever()
        self.loop.run_until_complete(self._wind_up())
        with self._gate:
            self._ended = True
        self.loop.run_until_complete(asyncio.sleep(0))  # what was handed over until a moment ago is told that we are closed
        self.loop.close()

    async def _wind_up(self) -> None:
        """End every task, and the connection; takes a few seconds at most, whatever the server does."""
        with suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._leave(), CLOSE_S)
        # `wait_for` of Python 3.11 and nats-py can lose a cancellation that comes together with an answer: then it comes again.
        for _ in range(CANCELS):
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CLOSE_S / CANCELS)

    def _stop(self) -> None:
        self._closing = True
        for ticket in list(self._open.values()):
            self._end(ticket, Unknown("the client was closed before the log answered") if ticket.tries else Closed("the client was closed"))
        self.loop.stop()

    async def _leave(self) -> None:
        link, self._nats = self._nats, None
        if link is not None:
            await _end(link)

    async def _keep(self, opened: Future[None]) -> None:
        """Stay connected, for ever."""
        tick = self.loop.create_task(self._tick())
        try:
            await self._connect()
        except Exception as error:
            tick.cancel()
            opened.set_exception(NotConnected(f"no NATS server answers at {self._url} ({error}); is it running?"))
            return
        self._sending = True
        opened.set_result(None)
        while True:
            await self._broken.wait()
            self._sending = False
            await self._come_back()
            self._sending = True
            await self._send_more()

    async def _come_back(self) -> None:
        """A new connection in place of the broken one, and on it everything that has no answer."""
        while True:
            await self._leave()
            try:
                await self._connect()
                await self._look_at_the_log()
                break
            except Exception:
                await asyncio.sleep(BACK_OFF)
        for ticket in list(self._open.values()):
            if ticket.tries:
                await self._send(ticket)

    async def _connect(self) -> None:
        self._broken.clear()
        link = await nats.connect(**self._options, disconnected_cb=self._on_broken, closed_cb=self._on_broken, error_cb=self._on_error)
        try:
            self._inbox = link.new_inbox()
            await link.subscribe(f"{self._inbox}.*", cb=self._on_answer)
            for hook in self.on_connect:
                await hook(link)
            await link.flush(2)
        except BaseException:
            await _end(link)
            raise
        self._nats = link

    async def _on_error(self, error: Exception) -> None:
        """Errors of the connection end as a new connection; only what the server forbids is worth telling whoever waits for an answer."""
        if "permissions violation" in str(error).lower():
            self._objection = f" (the server said: {error})"

    async def _on_broken(self) -> None:
        self._broken.set()

    async def _look_at_the_log(self) -> None:
        assert self._nats is not None
        answer = json.loads((await self._nats.request(f"$JS.API.STREAM.INFO.{self.log}", b"", timeout=2)).data)
        if "error" in answer and answer["error"].get("code") != 404:
            raise NotConnected("the log is not ready")
        last = answer.get("state", {}).get("last_seq", 0)
        if last < self._highest:
            self._damage = (
                f"the log came back with {last} events, wanted at least {self._highest}, which it had acknowledged: stop, and restore "
                "it with `worldbus log repair --from-archive`"
            )
            for ticket in list(self._open.values()):
                self._end(ticket, Unknown(self._damage))

    def _take(self, parcel: Parcel, future: Future[int], since: float) -> None:
        if self._closing or self._damage:
            future.set_exception(Refused(self._damage) if self._damage else Closed("the client is closed"))
            return
        self._number += 1
        ticket = self._open[self._number] = Ticket(self._number, parcel, future)
        ticket.first = since
        self._unsent.append(ticket)
        if len(self._unsent) == 1:
            self.loop.create_task(self._send_more())

    async def _send_more(self) -> None:
        while self._sending and self._unsent and not self._broken.is_set() and len(self._open) - len(self._unsent) < self._window:
            ticket = self._unsent.pop(0)
            if not ticket.future.done():
                await self._send(ticket)

    async def _send(self, ticket: Ticket) -> None:
        if self._nats is None:
            return
        ticket.tries += 1
        ticket.due = time.monotonic() + self._answer_timeout
        try:
            reply = f"{self._inbox}.{ticket.number}"
            await self._nats.publish(ticket.parcel.subject, ticket.parcel.payload, reply, {"Nats-Msg-Id": ticket.parcel.id})
        except MaxPayloadError as error:
            self._end(ticket, Refused(f"the server takes no {len(ticket.parcel.payload)} bytes ({error}): send a reference instead"))
        except Exception:
            self._broken.set()  # a connection that breaks is replaced, and everything without an answer goes out again

    async def _on_answer(self, message: Msg) -> None:
        ticket = self._open.get(int(message.subject.rpartition(".")[2]))
        if ticket is None:
            return
        try:
            answer: dict[str, Any] = json.loads(message.data) if message.data else {"error": {"code": 503}}
        except ValueError:
            answer = {"error": {"code": 503}}
        if error := answer.get("error"):
            if error.get("code", 503) in LATER:
                ticket.due = time.monotonic() + BACK_OFF
            else:
                self._end(ticket, Refused(f"the log does not take {ticket.parcel.id}: {error.get('description', error)}"))
            return
        self.acknowledged(answer["seq"])
        self._end(ticket, answer["seq"])

    def _end(self, ticket: Ticket, outcome: int | Exception) -> None:
        self._open.pop(ticket.number, None)
        if not ticket.future.done():
            if isinstance(outcome, int):
                ticket.future.set_result(outcome)
            else:
                ticket.future.set_exception(outcome)
        if self._unsent and not self._closing:
            self.loop.create_task(self._send_more())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._nats is not None and self._nats.is_closed:
                self._broken.set()  # `_end` says why nobody may have told us
            now = time.monotonic()
            for ticket in list(self._open.values()):
                if now - ticket.first >= self._give_up:
                    sent = f"no answer of the log; publish it again with the same id within two minutes to be sure{self._objection}"
                    self._end(ticket, Unknown(sent) if ticket.tries else NotConnected("the log was away for too long; it was not sent"))
                elif self._sending and ticket.tries and now >= ticket.due and not self._broken.is_set():
                    await self._send(ticket)
            self._unsent = [ticket for ticket in self._unsent if ticket.number in self._open]
            await self._send_more()


async def _end(link: Nats) -> None:
    """Close a connection with all that it holds. When what it had still to write meets a broken socket, nats-py stops half-way: it calls
    nobody back, and leaves the tasks of its subscriptions and the socket behind."""
    with suppress(Exception):
        await link.close()
    for subscription in tuple(link._subs.values()):
        subscription._stop_processing()
    if link._transport is not None:
        link._transport.close()  # type: ignore[no-untyped-call]
