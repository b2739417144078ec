"""The same path without a framework and without promises: nats-py with own inboxes, joined writes, counted acks, one statement per batch.

What it leaves out: order per entity over partitions, fences, recognition of repeated inputs, contiguity checks, the archive's hash chain,
reconnects. So it marks about what Python can do here at all.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import asyncpg
import nats

from bench.end_to_end import Job, role_main
from bench.peers.faststream_handler import decide
from bench.toy import moves
from bus.envelope import decode
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone

BATCH = 500
WRITE = """
WITH archived AS (
    INSERT INTO worldbus.events
        (position, recorded_at, time, partition, depth, world, subsystem, entity, name, type, event_id, cause, correlation, raw, chain)
    SELECT p, now(), to_timestamp(t), 0, d, 'bench', s, e, n, ty, i, c, co, r, '\\x00'
      FROM unnest($1::bigint[], $2::float8[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                 $10::text[], $11::bytea[])
        AS rows (p, t, d, s, e, n, ty, i, c, co, r) ON CONFLICT DO NOTHING
), viewed AS (
    INSERT INTO worldbus.by_hand
    SELECT * FROM unnest($12::text[], $13::text[], $14::float8[], $15::float8[], $16::float8[], $17::bigint[], $18::bigint[])
        ON CONFLICT (player) DO UPDATE SET zone = excluded.zone, x = excluded.x, y = excluded.y, z = excluded.z, moves = excluded.moves,
        position = excluded.position WHERE by_hand.position < excluded.position
)
UPDATE worldbus.checkpoint SET position = $19
"""
TABLE = (
    "CREATE TABLE IF NOT EXISTS worldbus.by_hand "
    "(player text PRIMARY KEY, zone text, x float8, y float8, z float8, moves bigint, position bigint)"
)


class Client:
    """nats-py, used as directly as it can be."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.inbox = connection.new_inbox()

    async def listen(self, subject: str, callback: Callable[[str, bytes], None]) -> None:
        """Call back for each message."""

        async def on_message(message: Any) -> None:
            callback(message.reply, message.data)

        await self.connection.subscribe(subject, cb=on_message, pending_msgs_limit=1 << 20, pending_bytes_limit=1 << 30)

    def write(self, frames: bytes) -> None:
        """Straight into the pending buffer, one kick of the flusher."""
        connection = self.connection
        connection._pending.append(frames)
        connection._pending_data_size += len(frames)
        if connection._flush_queue.empty():
            connection._flush_queue.put_nowait(asyncio.get_running_loop().create_future())


def _frame(subject: str, reply: bytes, event_id: str, raw: bytes) -> bytes:
    header = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % event_id.encode()
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), reply, len(header), len(header) + len(raw), header, raw)


async def _pull(client: Client, consumer: str, subject: str, policy: str, callback: Callable[[list[tuple[str, bytes]]], None]) -> None:
    config = {"durable_name": consumer, "name": consumer, "ack_policy": policy, "deliver_policy": "all", "max_ack_pending": -1}
    config |= {"filter_subject": subject, "ack_wait": 60_000_000_000}
    body = json.dumps({"stream_name": "LOG", "config": config, "action": ""}).encode()
    await client.connection.request(f"$JS.API.CONSUMER.CREATE.LOG.{consumer}", body)
    inbox = client.connection.new_inbox()
    request = json.dumps({"batch": BATCH, "expires": 30_000_000_000}).encode()
    ask = b"PUB $JS.API.CONSUMER.MSG.NEXT.LOG.%b %b %d\r\n%b\r\n" % (consumer.encode(), inbox.encode(), len(request), request)
    waiting: list[tuple[str, bytes]] = []
    received = 0

    def flush() -> None:
        messages = waiting[:]
        waiting.clear()
        callback(messages)

    def on_message(reply: str, data: bytes) -> None:
        nonlocal received
        if not reply:
            return
        if not waiting:
            asyncio.get_running_loop().call_soon(flush)
        waiting.append((reply, data))
        received += 1
        if received % BATCH == 0:
            client.write(ask)

    await client.listen(inbox, on_message)
    client.write(ask + ask)


async def produce(job: Job) -> None:
    """Joined writes, acknowledgements counted."""
    client = Client(await nats.connect(job.nats, pending_size=64 << 20))
    acknowledged = 0
    window = 4000

    def on_ack(reply: str, data: bytes) -> None:
        nonlocal acknowledged
        acknowledged += 1

    await client.listen(f"{client.inbox}.*", on_ack)
    reply = client.inbox.encode()
    burst: list[bytes] = []
    for number, draft in enumerate(moves(job.count, 1000)):
        burst.append(_frame(draft.subject.published(), b"%b.%d" % (reply, number), draft.id, draft.encode()))
        if len(burst) == 250:
            client.write(b"".join(burst))
            burst.clear()
            await asyncio.sleep(0)
            while number - acknowledged > window:
                await asyncio.sleep(0.0005)
    client.write(b"".join(burst))
    while acknowledged < job.count:
        await asyncio.sleep(0.001)


async def handle(job: Job) -> None:
    """All outputs of a burst in one write; one ack-all when every one of them is stored."""
    client = Client(await nats.connect(job.nats, pending_size=64 << 20))
    written = stored = 0
    open_bursts: deque[tuple[int, str]] = deque()
    done = asyncio.Event()
    reply = client.inbox.encode()

    def on_ack(_: str, data: bytes) -> None:
        nonlocal stored
        stored += 1
        while open_bursts and open_bursts[0][0] <= stored:
            client.write(b"PUB %b 0\r\n\r\n" % open_bursts.popleft()[1].encode())
        if stored >= job.count:
            done.set()

    def on_burst(messages: list[tuple[str, bytes]]) -> None:
        nonlocal written
        frames = []
        for _, data in messages:
            subject, raw, event_id = decide(data)
            written += 1
            frames.append(_frame(subject, b"%b.%d" % (reply, written), event_id, raw))
        client.write(b"".join(frames))
        open_bursts.append((written, messages[-1][0]))

    await client.listen(f"{client.inbox}.*", on_ack)
    await _pull(client, "by-hand", "evt.*.*.game.*.PlayerMoved", "all", on_burst)
    await done.wait()
    await asyncio.sleep(0.1)


async def project(job: Job) -> None:
    """Archive, view and checkpoint in one statement per batch."""
    database = await asyncpg.connect(job.dsn)
    await database.execute(TABLE)
    statement = await database.prepare(WRITE)
    client = Client(await nats.connect(job.nats, pending_size=64 << 20))
    waiting: list[tuple[str, bytes]] = []
    some = asyncio.Event()

    def on_burst(messages: list[tuple[str, bytes]]) -> None:
        waiting.extend(messages)
        some.set()

    await _pull(client, "by-hand-projector", "evt.>", "none", on_burst)
    while True:
        await some.wait()
        some.clear()
        while waiting:
            batch, waiting[:1000] = waiting[:1000], []
            await statement.fetch(*_columns(batch))


def _columns(batch: list[tuple[str, bytes]]) -> list[Any]:
    rows, places = [], {}
    position = 0
    for reply, raw in batch:
        position = int(reply.split(".")[5])
        envelope = decode(raw)
        found = envelope.attributes
        entity, stamp = found["subject"].ce_string, found["time"].ce_timestamp
        cause, root = found["causationid"].ce_string, found["correlationid"].ce_string
        name = envelope.type.rpartition(".")[2]
        when, subsystem = stamp.seconds + stamp.nanos / 1e9, envelope.source.rpartition("/")[2]
        rows.append((position, when, found["depth"].ce_integer, subsystem, entity, name, envelope.type, envelope.id, cause, root, raw))
        if name == "PlayerEnteredZone":
            data = PlayerEnteredZone.FromString(envelope.proto_data.value)
            places[entity] = (entity, data.zone, data.x, data.y, data.z, data.session, position)
    viewed = list(map(list, zip(*places.values(), strict=True))) if places else [[] for _ in range(7)]
    return [*map(list, zip(*rows, strict=True)), *viewed, position]


if __name__ == "__main__":
    role_main({"producer": produce, "handler": handle, "projector": project})
