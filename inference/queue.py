"""The shared queue of one tier: a durable pull consumer of all workers of that tier, which hands the next request to whoever can begin it.

Requests of all tiers lie in the log under one event name, so the consumer reads by that name and a worker settles at once what another tier
asked for (about 10 µs; docs/adr/0060). Workers pull at three priorities: for free slots first, then for the few requests that they look
ahead, and last those that have no model at work: a request meets a model whenever any worker of the tier has a free slot.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from google.protobuf.message import Message

from bus.answers import header_value, parse_ack, status_of
from bus.connection import ApiError, Connection, Listener, pub
from bus.consumer import NOT_FOUND
from bus.consumer_config import FIXED, SKIPS, config_of, differences, repaired
from bus.errors import Disconnected, Misuse, WorldbusError
from bus.event import Event
from bus.played import EVERYTHING, Played
from bus.subjects import place, stored_filter
from inference.tiers import Tier
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.router.v1.router_pb2 import InferenceRouted
from schemas.upcast import recorded_names

FREE, AHEAD, LAST = 0, 4, 9
"""Priorities of a pull: for a free slot; to look ahead; without a model."""
NAME: Final = InferenceRequested.DESCRIPTOR.name
GROUP: Final = "tier"
EXPIRES_S: Final = 20.0
NANOS: Final = 1_000_000_000
EXPIRED: Final = (404, 408)
RETRY_S: Final = 0.2
CHECK_S: Final = 5.0  # between two looks at the consumer

log = structlog.get_logger(__name__)
OnRequest = Callable[[Event, int, bytes], None]
"""(event, attempt, reply): called inside the parser, must not block and must not raise. Whoever takes it says anew what they `want`."""


def queue_name(tier: str, played: Played = EVERYTHING) -> str:
    """The consumer that all workers of a tier share."""
    return played.label(f"inference_{tier}")


def routed_name(tier: str, played: Played = EVERYTHING) -> str:
    """The consumer by which the workers of a tier take what the router sends them."""
    return played.label(f"inference_{tier}_routed")


def queue_config(tier: Tier, *, routed: bool = False, played: Played = EVERYTHING) -> dict[str, Any]:
    """The configuration of a tier's consumer; with `routed`, of the one for what the router sends."""
    name = routed_name(tier.name, played) if routed else queue_name(tier.name, played)
    kind: type[Message] = InferenceRouted if routed else InferenceRequested
    return {
        "name": name,
        "durable_name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(tier.ack_wait_s * NANOS),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": 2048,
        "filter_subjects": [stored_filter(name=one) for one in sorted(recorded_names((kind,)))],
        "replay_policy": "instant",
        "priority_policy": "prioritized",
        "priority_groups": [GROUP],
    }


def _attempt(reply: bytes) -> int:
    """The number of deliveries of a request, this one included; see `bus.answers.parse_ack` for the forms."""
    tokens = reply.split(b".")
    return int(tokens[4 if len(tokens) == 9 else 6])


class _Pull:
    """The pulls of one priority whose requests have not come yet."""

    def __init__(self, priority: int, inbox: bytes) -> None:
        self.priority = priority
        self.inbox = inbox
        self.wanted = 0
        self.asked = 0
        self.listener: Listener | None = None

    async def close(self) -> None:
        """Hear nothing more; at once also if several want it."""
        listener, self.listener = self.listener, None
        if listener is not None:
            await listener.close()


class TierQueue:
    """One worker's end of the queue of requests; with `routed`, of the one of the router's words, `InferenceRouted`."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        tier: Tier,
        on_request: OnRequest,
        *,
        routed: bool = False,
        played: Played = EVERYTHING,
    ) -> None:
        self.name = routed_name(tier.name, played) if routed else queue_name(tier.name, played)
        self._played = played
        self._routed = routed
        self._connection = connection
        self._stream = stream
        self._tier = tier
        self._on_request = on_request
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{self.name}".encode()
        self._pulls = {priority: _Pull(priority, connection.new_inbox().encode()) for priority in (FREE, AHEAD, LAST)}
        self._retry: asyncio.TimerHandle | None = None
        self._mending: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._open = False

    async def open(self) -> None:
        """Make the consumer and listen; nothing comes before `want`."""
        await self._ensure()
        for pull in self._pulls.values():
            pull.listener = await self._connection.listen(pull.inbox.decode(), self._receiver(pull))
        self._connection.on_reconnect.append(self._on_reconnect)
        self._open = True
        self._watching = asyncio.create_task(self._watch(), name="queue-watch")

    async def stop(self) -> None:
        """Take nothing more. What is held can still be settled."""
        if not self._open:
            return
        self._open = False
        self._connection.on_reconnect.discard(self._on_reconnect)
        if self._retry is not None:
            self._retry.cancel()
        for task in (self._mending, self._watching):
            if task is not None:
                task.cancel()
        for pull in self._pulls.values():
            pull.wanted = 0
            await pull.close()

    def want(self, free: int, ahead: int, last: int) -> None:
        """Set the number of requests that may come at each priority, those already asked for included."""
        for priority, wanted in ((FREE, free), (AHEAD, ahead), (LAST, last)):
            self._pulls[priority].wanted = wanted
            self._top_up(self._pulls[priority])

    async def withdraw(self) -> None:
        """Take back what was asked for with a model in mind; what was on its way already comes again after `ack_wait_s`."""
        for pull in (self._pulls[FREE], self._pulls[AHEAD]):
            pull.wanted = pull.asked = 0
            await pull.close()
            if self._open:
                pull.inbox = self._connection.new_inbox().encode()
                pull.listener = await self._connection.listen(pull.inbox.decode(), self._receiver(pull))

    async def info(self) -> dict[str, Any]:
        """The server's information about the consumer; its `ts` is the server's time."""
        return await self._connection.api(f"CONSUMER.INFO.{self._stream}.{self.name}", timeout=2.0)

    # -- settling: losing one of these only repeats work -----------------------------------------------------------------------------

    def ack(self, reply: bytes) -> None:
        """The request has its end in the log."""
        self._settle(reply, b"+ACK")

    def hand_back(self, reply: bytes) -> None:
        """Hand a request back, for another worker to take now."""
        self._settle(reply, b"-NAK")

    def working(self, reply: bytes) -> None:
        """Keep a request that is still in work from being given to others for another `ack_wait_s`."""
        self._settle(reply, b"+WPI")

    def _settle(self, reply: bytes, word: bytes) -> None:
        with suppress(Disconnected):
            self._connection.write(b"PUB %b 4\r\n%b\r\n" % (reply, word))

    # -- asking ----------------------------------------------------------------------------------------------------------------------

    def _top_up(self, pull: _Pull) -> None:
        missing = pull.wanted - pull.asked
        if missing <= 0 or not self._open:
            return
        body = {"batch": missing, "expires": int(EXPIRES_S * NANOS), "group": GROUP, "priority": pull.priority}
        with suppress(Disconnected):
            self._connection.write(pub(self._next, pull.inbox, json.dumps(body).encode()))
            pull.asked += missing

    def _receiver(self, pull: _Pull) -> Callable[[bytes, bytes, bytes | None, bytes], None]:
        def receive(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
            if status_of(header):
                assert header is not None
                self._on_status(pull, header)
                return
            pull.asked -= 1
            delivered = parse_ack(reply)
            partition, tokens = place(subject)
            if not self._routed and not self._played.has(tokens.world):  # another game's workers have a queue of their own
                self.ack(reply)
                self._top_up(pull)
                return
            position, recorded_ns = delivered.position, delivered.recorded_ns
            event = Event(raw=payload, subject=tokens, partition=partition, position=position, recorded_ns=recorded_ns, header=header)
            self._on_request(event, _attempt(reply), reply)

        return receive

    def _on_status(self, pull: _Pull, header: bytes) -> None:
        code = status_of(header)
        if code == 100:
            return
        pull.asked = max(0, pull.asked - int(header_value(header, b"Nats-Pending-Messages") or pull.asked))
        if code in EXPIRED:
            self._top_up(pull)
        elif self._open and self._mending is None:
            log.warning("queue_refused", consumer=self.name, status=header[9:60].decode(errors="replace").split("\r")[0])
            pull.asked = 0
            self._mending = asyncio.create_task(self._mend(), name="queue-mend")

    async def _mend(self) -> None:
        """The consumer is gone or has no leader: make it again, ask again."""
        while self._open:
            await asyncio.sleep(RETRY_S)
            try:
                await self._ensure()
            except WorldbusError as error:
                log.debug("queue_waits", consumer=self.name, error=str(error))
                continue
            break
        self._mending = None
        self._on_reconnect()

    def _on_reconnect(self) -> None:
        for pull in self._pulls.values():
            pull.asked = 0
            self._top_up(pull)

    async def _watch(self) -> None:
        """Look now and then whether the consumer is still what we made: anybody may have deleted or rewritten it."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self._ensure()
            except WorldbusError as error:
                log.debug("queue_not_looked_at", consumer=self.name, error=str(error))

    async def _ensure(self) -> None:
        """Make the consumer if it is not there, and mend what somebody made of it."""
        wanted = queue_config(self._tier, routed=self._routed, played=self._played)
        try:
            info = await self.info()
        except ApiError as error:
            if error.err_code != NOT_FOUND:
                raise
            await self._write(wanted)
            return
        found = differences(wanted, config_of(info))
        if not found:
            return
        log.warning("consumer_differs", consumer=self.name, differences=[str(one) for one in found])
        fields = {one.field for one in found}
        if fields & (FIXED | SKIPS):  # whoever waits for a request asks again, and whoever has one meets the fence
            floor = info["ack_floor"]["stream_seq"]
            await self._connection.api(f"CONSUMER.DELETE.{self._stream}.{self.name}")
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": floor + 1} if floor else {}
            await self._write({**wanted, **start})
            return
        if "pause_until" in fields:
            await self._connection.api(f"CONSUMER.PAUSE.{self._stream}.{self.name}", {})
        await self._write(repaired(wanted, info["config"]))

    async def _write(self, config: dict[str, Any]) -> None:
        try:
            await self._connection.make(f"CONSUMER.CREATE.{self._stream}.{self.name}", {"stream_name": self._stream, "config": config})
        except ApiError as error:
            if error.status == 503:
                raise
            raise Misuse(f"cannot make the queue {self.name}: {error}; delete the consumer of that name", consumer=self.name) from error
