"""A durable pull consumer: the server keeps the place of one handler and partition, and at most one member is pinned to it.

Pinning is not a lock (a paused member may still believe in its pin), so nothing depends on it but speed: writes are fenced by the log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bus.answers import Delivered, header_value, parse_ack, status_of
from bus.api import START_S, ApiError, retried
from bus.connection import Callback, Connection, Listener, pub
from bus.consumer_config import GROUP, NANOS, config_of, differences, pull_config
from bus.errors import Misuse

__all__ = ["GROUP", "Delivered", "PullConsumer", "Status", "parse_ack"]

NOT_FOUND = 10014  # JetStream's error code: there is no such consumer
OTHERWISE_MADE = 10148  # it is there, and different


@dataclass(frozen=True, slots=True)
class Status:
    """A word of the server about a pull request.

    100 heartbeat · 404 nothing there (no-wait request) · 408 the request expired · 409 the consumer or its leader is gone, or a limit was
    met · 423 pinned to another member · 503 nobody answers (consumer deleted, server restarting).
    """

    code: int
    text: str
    unfilled: int
    """Messages of the request that will not come any more."""


def pin_of(info: Mapping[str, Any]) -> str:
    """The pin of the member that the server delivers to now, by its information about a consumer; empty: nobody is pinned."""
    return next((pin for group in info.get("priority_groups") or () if (pin := group.get("pinned_client_id"))), "")


class PullConsumer:
    """Reads one durable consumer through one inbox; survives reconnects (requests must be sent again: see `Connection.on_reconnect`)."""

    def __init__(self, connection: Connection, stream: str, name: str, *, pinned: bool = True) -> None:
        self._connection = connection
        self.stream = stream
        self.name = name
        self.pinned = pinned
        self.pin = b""
        """The pin that the server gave us, empty while another member has it or nobody does."""
        self._inbox = connection.new_inbox().encode()
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}".encode()
        self._listener: Listener | None = None

    async def create(
        self,
        filters: Sequence[str],
        *,
        after: int = 0,
        ack_wait: float = 30.0,
        pin_timeout: float = 2.0,
        ack_policy: str = "all",
    ) -> dict[str, Any]:
        """Make the consumer if it does not exist yet, reading from behind `after`; returns the server's information about it.

        `ack_wait` and `pin_timeout` are seconds. Raises `Misuse` when it exists with other filters (widening the filters of a consumer
        would skip the older messages of the new ones: delete it and let it read again).
        """
        wanted = pull_config(self.name, filters, pinned=self.pinned, ack_wait=ack_wait, pin_timeout=pin_timeout, ack_policy=ack_policy)
        try:
            info = await retried(lambda: self.make(wanted, after=after), START_S)
        except ApiError as error:
            if error.err_code != OTHERWISE_MADE:
                raise
            info = await self.info()
        found = [one for one in differences(wanted, config_of(info)) if one.field == "filter"]
        if found:
            raise Misuse(
                f"consumer {self.name} reads {found[0].found}, wanted {found[0].wanted}: delete it, it reads the log again from its start",
                consumer=self.name,
            )
        return info

    async def make(self, config: Mapping[str, Any], *, after: int = 0) -> dict[str, Any]:
        """Make it, reading from behind `after`. Raises `ApiError` (10148) when it is there and different."""
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1} if after else {}
        return await self._write({**config, **start}, "create")

    async def change(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Change it in place. Raises `ApiError` (10012) for what the server changes in no consumer."""
        return await self._write(config, "update")

    async def _write(self, config: Mapping[str, Any], action: str) -> dict[str, Any]:
        body = {"stream_name": self.stream, "config": config, "action": action}
        return await self._connection.api(f"CONSUMER.CREATE.{self.stream}.{self.name}", body)

    async def go_on(self) -> None:
        """End a pause that somebody ordered at the server."""
        await self._connection.api(f"CONSUMER.PAUSE.{self.stream}.{self.name}", {})

    async def start(self, on_message: Callback, on_status: Callable[[Status], None]) -> None:
        """Listen; nothing comes before `request`. Both callbacks run inside the parser: they must not block and must not raise."""

        def receive(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
            if header is not None:
                if header[8:9] == b" ":
                    on_status(self._status(header))
                    return
                if self.pinned and not self.pin:
                    self.pin = header_value(header, b"Nats-Pin-Id")
            on_message(subject, reply, header, payload)

        self._listener = await self._connection.listen(self._inbox.decode(), receive)

    def _status(self, header: bytes) -> Status:
        code = status_of(header)
        if code == 423:
            self.pin = b""
        line = header[: header.index(b"\r\n")]
        return Status(code, line[13:].decode(errors="replace"), int(header_value(header, b"Nats-Pending-Messages") or 0))

    def request(self, batch: int, *, expires: float = 30.0, heartbeat: float = 1.0, max_bytes: int = 0) -> None:
        """Ask for up to `batch` messages within `expires` seconds, with a heartbeat status every `heartbeat` seconds of silence.

        Raises `Disconnected`.
        """
        body: dict[str, Any] = {"batch": batch, "expires": int(expires * NANOS), "idle_heartbeat": int(heartbeat * NANOS)}
        if max_bytes:
            body["max_bytes"] = max_bytes
        if self.pinned:
            body["group"] = GROUP
            if self.pin:
                body["id"] = self.pin.decode()
        self._connection.write(pub(self._next, self._inbox, json.dumps(body).encode()))

    def ack(self, reply: bytes) -> None:
        """Settle this delivery; under `ack_policy: all` everything up to it as well. Raises `Disconnected`; losing an ack only repeats
        work.
        """
        self._connection.write(b"PUB %b 4\r\n+ACK\r\n" % reply)

    async def reset(self, position: int = 0) -> dict[str, Any]:
        """Start delivery again, in order, at `position`, or behind the ack floor when it is 0.

        An acknowledgement sent just before may not count yet: the server takes the two in queues of their own. Then more comes again.
        """
        return await self._connection.api(f"CONSUMER.RESET.{self.stream}.{self.name}", {"seq": position} if position else {})

    async def unpin(self) -> None:
        """Give up the pin, so that another member takes over at once."""
        self.pin = b""
        await self._connection.api(f"CONSUMER.UNPIN.{self.stream}.{self.name}", {"group": GROUP})

    async def info(self) -> dict[str, Any]:
        """The server's information about this consumer; raises `ApiError` (10014: it does not exist)."""
        return await self._connection.api(f"CONSUMER.INFO.{self.stream}.{self.name}")

    async def delete(self) -> None:
        """Remove it and its place in the log."""
        await self._connection.api(f"CONSUMER.DELETE.{self.stream}.{self.name}")

    async def close(self) -> None:
        """Stop listening; the consumer and its place stay."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
