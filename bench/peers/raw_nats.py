"""nats-py used as well as it can be: joined writes and counted acknowledgements for publishing, a pull loop with a callback for consuming.

Doing without the promises: nothing is validated, resent, compared or checked for gaps.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from bus.envelope import encode
from bus.event import new_id

BURST = 500
WINDOW = 4096


async def connect(url: str) -> Client:
    """A client with room for what is on its way."""
    return await nats.connect(url, pending_size=64 << 20)


class Counted:
    """One inbox whose acknowledgements are counted."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.inbox = client.new_inbox()
        self.got = self.errors = self.wanted = 0
        self.enough = asyncio.Event()

    async def open(self) -> None:
        await self.client.subscribe(f"{self.inbox}.*", cb=self._on)

    async def _on(self, message: Msg) -> None:
        if not message.data.startswith(b'{"stream"'):
            self.errors += 1
        self.got += 1
        if self.got >= self.wanted:
            self.enough.set()

    async def until(self, wanted: int) -> None:
        if self.got < wanted:
            self.wanted = wanted
            self.enough.clear()
            await self.enough.wait()


async def publish(client: Client, messages: Sequence[tuple[str, Any]], now_ns: Callable[[], int]) -> None:
    """Publish (entity, message) pairs with our envelope: bursts joined into one write each, acknowledgements counted."""
    counted = Counted(client)
    await counted.open()
    inbox = counted.inbox.encode()
    total = len(messages)
    for start in range(0, total, BURST):
        frames = []
        for number, (entity, message) in enumerate(messages[start : start + BURST], start):
            id = new_id()  # noqa: A001
            name = message.DESCRIPTOR.full_name
            payload = encode(
                id=id,
                source="/worldbus/game",
                type_name=name,
                world="bench",
                entity=entity,
                time_ns=now_ns(),
                data=message.SerializeToString(deterministic=True),
            )
            header = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % id.encode()
            subject = f"evt.bench.game.{entity}.{message.DESCRIPTOR.name}".encode()
            size = len(header)
            frames.append(b"HPUB %b %b.%d %d %d\r\n%b%b\r\n" % (subject, inbox, number, size, size + len(payload), header, payload))
        await client._send_command(b"".join(frames))
        await client._flush_pending()
        await asyncio.sleep(0)
        await counted.until(start + BURST - WINDOW)
    await counted.until(total)
    if counted.errors:
        raise RuntimeError(f"{counted.errors} publishes were refused")


async def consume(
    client: Client, stream: str, consumer: str, count: int, on_message: Callable[[Msg], None], *, batch: int = 500, ack: bool = True
) -> None:
    """A pull loop with a callback: two requests open, one acknowledgement for each batch."""
    inbox = client.new_inbox()
    done = asyncio.Event()
    request = json.dumps({"batch": batch, "expires": 30_000_000_000}).encode()
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    got = 0

    async def receive(message: Msg) -> None:
        nonlocal got
        if not message.reply:
            return
        on_message(message)
        got += 1
        if got % batch == 0 or got == count:
            if ack:
                await client.publish(message.reply, b"+ACK")
            await client.publish(subject, request, reply=inbox)
        if got >= count:
            done.set()

    subscription = await client.subscribe(inbox, cb=receive, pending_msgs_limit=1 << 20, pending_bytes_limit=1 << 30)
    for _ in range(2):
        await client.publish(subject, request, reply=inbox)
    await done.wait()
    await subscription.unsubscribe()
    await client.flush()


async def fetch(client: Client, stream: str, consumer: str, count: int, on_message: Callable[[Msg], None], *, batch: int = 500) -> None:
    """Consume as NATS's documentation shows: fetch, handle, acknowledge each."""
    subscription = await client.jetstream().pull_subscribe_bind(consumer, stream=stream)
    got = 0
    while got < count:
        for message in await subscription.fetch(batch, timeout=5):
            on_message(message)
            await message.ack()
            got += 1
    await client.flush()
