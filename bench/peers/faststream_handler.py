"""FastStream's JetStream handler doing the same work: decode the envelope and the payload, decide, build an envelope, publish, ack.

Its own promises are fewer: no order per entity, no fence, no recognition of repeated inputs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from bench.toy import NAME, WORLD, Moves, answer
from bus.event import Draft, Event, output_id
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved

STREAM = "LOG"
SUBJECT = "evt.*.*.game.*.PlayerMoved"


def decide(raw: bytes) -> tuple[str, bytes, str]:
    """(subject, envelope, id) of the answer to one input."""
    event = Event.stored(raw, "evt.0.bench.game.any.PlayerMoved", 1)
    data = event.data
    assert isinstance(data, PlayerMoved)
    entity = event.envelope.attributes["subject"].ce_string
    draft = Draft(
        data=answer(data, Moves()),
        world=WORLD,
        entity=entity,
        subsystem=NAME,
        id=output_id(event.id, NAME, entity, 0),
        time_ns=event.time_ns,
        cause=event.id,
        correlation=event.correlation,
        depth=event.depth + 1,
    )
    return draft.subject.published(), draft.encode(), draft.id


@asynccontextmanager
async def running(
    url: str, *, batch: bool, after: Callable[[int], Awaitable[None] | None] | None = None
) -> AsyncIterator[Callable[[], int]]:
    """A broker that handles for the block; yields how many inputs it has handled. `after` is awaited with the count of each delivery."""
    from faststream.nats import JStream, NatsBroker, PullSub
    from nats.js.api import DeliverPolicy

    logging.disable(logging.WARNING)
    broker = NatsBroker(url, logger=None, pending_size=64 << 20)
    stream = JStream(STREAM, declare=False)
    handled = 0

    async def publish(raw: bytes) -> None:
        subject, envelope, event_id = decide(raw)
        await broker.publish(envelope, subject, stream=STREAM, headers={"Nats-Msg-Id": event_id})

    async def done(count: int) -> None:
        nonlocal handled
        handled += count
        if after is not None:
            waiting = after(count)
            if waiting is not None:
                await waiting

    options: dict[str, Any] = {"stream": stream, "durable": "peer", "deliver_policy": DeliverPolicy.ALL}
    if batch:

        async def bodies(message: Any) -> list[bytes]:
            return list(message.body) if isinstance(message.body, list) else message.body

        @broker.subscriber(SUBJECT, pull_sub=PullSub(batch_size=100, batch=True, timeout=0.05), decoder=bodies, **options)
        async def handle_batch(messages: list) -> None:  # type: ignore[type-arg]
            await asyncio.gather(*(publish(raw) for raw in messages))
            await done(len(messages))

    else:

        @broker.subscriber(SUBJECT, **options)
        async def handle(message: bytes) -> None:
            await publish(message)
            await done(1)

    await broker.start()
    try:
        yield lambda: handled
    finally:
        await broker.stop()
        logging.disable(logging.NOTSET)
