"""The same path with FastStream and asyncpg as their tutorials show it: awaited publishes, one transaction per event."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg

from bench.end_to_end import Job, role_main
from bench.peers import faststream_handler
from bench.toy import moves
from bus.envelope import decode
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone

ARCHIVE = """
INSERT INTO worldbus.events
        (position, recorded_at, time, partition, depth, world, subsystem, entity, name, type, event_id, cause, correlation, raw, chain)
VALUES ($1, now(), to_timestamp($2), 0, $3, 'bench', $4, $5, $6, $7, $8, $9, $10, $11, '\\x00') ON CONFLICT DO NOTHING
"""
VIEW = """
INSERT INTO worldbus.by_hand VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (player) DO UPDATE
SET zone = excluded.zone, x = excluded.x, y = excluded.y, z = excluded.z, moves = excluded.moves, position = excluded.position
"""
CHECKPOINT = "UPDATE worldbus.checkpoint SET position = $1"
TABLE = (
    "CREATE TABLE IF NOT EXISTS worldbus.by_hand "
    "(player text PRIMARY KEY, zone text, x float8, y float8, z float8, moves bigint, position bigint)"
)


async def produce(job: Job) -> None:
    """Publishes that are awaited, 64 at a time."""
    from faststream.nats import NatsBroker

    logging.disable(logging.WARNING)
    broker = NatsBroker(job.nats, logger=None)
    await broker.connect()
    slots = asyncio.Semaphore(64)

    async def publish(subject: str, raw: bytes, event_id: str) -> None:
        async with slots:
            await broker.publish(raw, subject, stream="LOG", headers={"Nats-Msg-Id": event_id})

    drafts = moves(job.count, 1000)
    await asyncio.gather(*(publish(draft.subject.published(), draft.encode(), draft.id) for draft in drafts))


async def handle(job: Job) -> None:
    """FastStream's default handler."""
    async with faststream_handler.running(job.nats, batch=False) as handled:
        while handled() < job.count:
            await asyncio.sleep(0.01)


async def project(job: Job) -> None:
    """One event, one transaction."""
    from faststream import Context
    from faststream.nats import JStream, NatsBroker
    from nats.js.api import DeliverPolicy

    logging.disable(logging.WARNING)
    database = await asyncpg.connect(job.dsn)
    await database.execute(TABLE)
    broker = NatsBroker(job.nats, logger=None)
    stream = JStream("LOG", declare=False)

    @broker.subscriber("evt.>", stream=stream, durable="peer-projector", deliver_policy=DeliverPolicy.ALL)
    async def apply(message: bytes, delivery: Any = Context("message")) -> None:
        position = delivery.raw_message.metadata.sequence.stream
        envelope = decode(message)
        found = envelope.attributes
        entity, stamp = found["subject"].ce_string, found["time"].ce_timestamp
        name = envelope.type.rpartition(".")[2]
        row = (position, stamp.seconds + stamp.nanos / 1e9, found["depth"].ce_integer, envelope.source.rpartition("/")[2], entity, name)
        async with database.transaction():
            await database.execute(
                ARCHIVE, *row, envelope.type, envelope.id, found["causationid"].ce_string, found["correlationid"].ce_string, message
            )
            if name == "PlayerEnteredZone":
                data = PlayerEnteredZone.FromString(envelope.proto_data.value)
                await database.execute(VIEW, entity, data.zone, data.x, data.y, data.z, data.session, position)
            await database.execute(CHECKPOINT, position)

    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    role_main({"producer": produce, "handler": handle, "projector": project})
