"""Reading the log in order with a short-lived pull consumer that acknowledges nothing: our place is our own, the server's consumer is
thrown away.

After anything odd (reconnect, silence, a lost delivery, a consumer that is gone) the reader makes a new consumer behind the last position
it handed out.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from bus.answers import header_value, status_of
from bus.connection import ApiError, Listener, pub
from bus.errors import Disconnected, LogDamaged, Misuse, Transient
from bus.event import Event, new_id
from bus.subjects import ROOT, place

if TYPE_CHECKING:
    from bus.log import Log

NANOS = 1_000_000_000
EXPIRES = 60  # seconds a pull request stays open
HEARTBEAT = 1  # seconds between signs of life while there is nothing to read
SILENCE = 3.5  # seconds without any sign of life before the reader starts again
BROAD = 4  # a filter that matches more than one event in so many is left to us: matching costs the server up to 50 µs for each
FEW = 2000  # matches that are not worth the thought
MAX_KNOWN = 65_536  # subjects whose match is remembered
INACTIVE = 30  # seconds until the server forgets a consumer that nobody reads

logger = structlog.get_logger(__name__)


def widest(filters: Sequence[str]) -> str:
    """One filter that matches whatever any of these does. nats-server is slow with several (docs/adr/0003): better to skip here."""
    if len(filters) == 1:
        return filters[0]
    split = [one.split(".") for one in filters]
    if any(">" in tokens for tokens in split) or len({len(tokens) for tokens in split}) > 1:
        return f"{ROOT}.>"
    return ".".join(tokens[0] if len(set(tokens)) == 1 else "*" for tokens in zip(*split, strict=True))


class Choice:
    """The stored subjects that several filters match; remembers its answers."""

    def __init__(self, filters: Sequence[str]) -> None:
        self._pattern = re.compile("|".join(_pattern(one) for one in filters).encode())
        self._known: dict[bytes, bool] = {}

    def wants(self, subject: bytes) -> bool:
        """Return whether any of the filters matches."""
        known = self._known.get(subject)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[subject] = self._pattern.fullmatch(subject) is not None
        return known


def _pattern(subject_filter: str) -> str:
    tokens = subject_filter.split(".")
    return r"\.".join(".+" if token == ">" else r"[^.]+" if token == "*" else re.escape(token) for token in tokens)


class Reader:
    """One pass over the log; see `Log.read` for the promises."""

    def __init__(
        self,
        log: Log,
        *,
        after: int,
        until: int | None,
        since: datetime | None,
        filters: Sequence[str],
        follow: bool,
        batch: int,
        damaged: bool = False,
    ) -> None:
        if since is not None and (after or since.tzinfo is None):
            raise Misuse("start either behind a position or at a time with a time zone: give `after` or `since`")
        if batch < 1:
            raise Misuse(f"batch must be at least 1, found {batch}")
        self._log = log
        self._connection = log.connection
        self._position = after
        self._until = until
        self._since = since
        self._filters = [widest(filters)] if filters else []
        self._choice = Choice(filters) if filters else None
        self._last = 0  # of the log, when we last looked
        self._follow = follow
        self._batch = batch
        self._check_damage = not damaged
        self._contiguous = not filters and not damaged
        self._inbox = b""
        self._name = b""
        self._next = b""
        self._listener: Listener | None = None
        self._delivered = 0  # messages of this consumer
        self._outstanding = 0  # asked for and not come
        self._events: list[Event] = []
        self._wake = asyncio.Event()
        self._broken = ""
        self._damage: LogDamaged | None = None
        self._finished = False

    async def batches(self) -> AsyncIterator[list[Event]]:
        """The events, as they come."""
        self._connection.on_reconnect.append(self._on_reconnect)
        try:
            await self._open()
            while True:
                if self._events:
                    events, self._events = self._events[: self._batch], self._events[self._batch :]
                    yield events
                elif self._damage is not None:
                    raise self._damage
                elif self._finished:
                    return
                elif self._broken:
                    logger.debug("reader_restarted", reason=self._broken, position=self._position)
                    await self._open()
                else:
                    self._ask()
                    await self._more()
        finally:
            self._connection.on_reconnect.discard(self._on_reconnect)
            await self._close()

    async def _more(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(SILENCE):
                await self._wake.wait()
        except TimeoutError:
            self._broken = "silence"

    def _ask(self) -> None:
        """Keep up to two batches on their way: one to work on while the next one comes."""
        if self._outstanding > self._batch or self._broken:
            return
        body = json.dumps({"batch": self._batch, "expires": EXPIRES * NANOS, "idle_heartbeat": HEARTBEAT * NANOS}).encode()
        try:
            while self._outstanding <= self._batch:
                self._connection.write(pub(self._next, self._inbox, body))
                self._outstanding += self._batch
        except Disconnected:
            self._broken = "disconnected"

    def _on_reconnect(self) -> None:
        self._break("reconnect")

    def _break(self, reason: str) -> None:
        self._broken = self._broken or reason
        self._wake.set()

    def _on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if header is not None and header[8:9] == b" ":
            self._on_status(header)
            return
        if self._broken or self._finished or self._damage:
            return
        # bus.answers.parse_ack, without its tuple: a third of this function's time
        tokens = reply.split(b".")
        first = 5 if len(tokens) == 9 else 7
        position = int(tokens[first])
        self._delivered += 1
        self._outstanding -= 1
        if int(tokens[first + 1]) != self._delivered:
            self._break("lost delivery")
            return
        if self._since is not None and self._position == 0:
            self._position = position - 1  # the first event since then says where we are
        if self._contiguous and position != self._position + 1:
            self._damage = self._gap(position)
            self._wake.set()
            return
        if self._until is not None and position > self._until:
            self._finished = True
            self._wake.set()
            return
        partition, where = place(subject)
        events = self._events
        if self._choice is None or self._choice.wants(subject):
            recorded_ns = int(tokens[first + 2])
            events.append(Event(raw=payload, subject=where, partition=partition, position=position, recorded_ns=recorded_ns, header=header))
        self._position = position
        if position == self._until or (tokens[first + 3] == b"0" and not self._follow):
            self._finished = True
        if self._finished or len(events) == 1 or self._outstanding <= self._batch:
            self._wake.set()

    def _on_status(self, header: bytes | None) -> None:
        code = status_of(header)
        if code in (408, 409):
            self._outstanding -= int(header_value(header, b"Nats-Pending-Messages") or 0)
        if code == 100 or code == 408:
            self._wake.set()
        else:
            self._break(f"status {code}")

    def _gap(self, found: int) -> LogDamaged:
        wanted = self._position + 1
        return LogDamaged(
            f"log {self._log.name} goes on at position {found}, wanted {wanted}: {found - wanted} events are lost; "
            "restore it with `worldbus log repair --from-archive`",
            wanted=wanted,
            found=found,
        )

    async def _open(self) -> None:
        """Check the log and make a fresh consumer behind our position; waits while the server is away."""
        while True:
            await self._close()
            self._broken, self._delivered, self._outstanding = "", 0, 0
            try:
                await self._check()
                if not self._finished:
                    await self._consume()
                return
            except (Transient, ApiError) as error:
                logger.debug("reader_waits", error=str(error), position=self._position)
                await asyncio.sleep(0.1)

    async def _check(self) -> None:
        state = await self._log.state()
        self._last = state.last
        if self._check_damage and (state.last < self._position or state.count != state.last):
            raise LogDamaged(
                f"log {self._log.name} holds {state.count} events from {state.first} to {state.last}, wanted every one from 1 to at least "
                f"{self._position}: restore it with `worldbus log repair --from-archive`",
                wanted=self._position,
                found=state.last,
            )
        if not self._follow:
            self._until = state.last if self._until is None else min(self._until, state.last)
        if self._until is not None and self._position >= self._until:
            self._finished = True

    async def _consume(self) -> None:
        name = new_id()
        self._name = name.encode()
        self._inbox = self._connection.new_inbox().encode()
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{self._log.name}.{name}".encode()
        self._listener = await self._connection.listen(self._inbox.decode(), self._on_message)
        answer = await self._create(name)
        if self._filters and answer["num_pending"] > FEW and answer["num_pending"] * BROAD > self._last - self._position:
            self._filters = []
            self._contiguous = self._check_damage
            await self._connection.api(f"CONSUMER.DELETE.{self._log.name}.{name}")
            answer = await self._create(name)
        if not self._follow and answer["num_pending"] == 0:
            self._finished = True

    async def _create(self, name: str) -> dict[str, Any]:
        return await self._connection.api(
            f"CONSUMER.CREATE.{self._log.name}.{name}", {"stream_name": self._log.name, "config": self._config(name), "action": "create"}
        )

    def _config(self, name: str) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": name,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": INACTIVE * NANOS,
            "filter_subjects": self._filters,
        }
        if self._since is not None and self._position == 0:  # nothing has come yet that could say where we are
            return config | {"deliver_policy": "by_start_time", "opt_start_time": self._since.isoformat()}
        return config | {"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1}

    async def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
