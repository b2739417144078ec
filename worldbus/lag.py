"""How far behind everybody is: the handlers' consumers as the server knows them, the projections as the database does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bus.connection import ApiError
from bus.runtime import places
from inference.queue import queue_name
from inference.tiers import TIERS

if TYPE_CHECKING:
    from bus.handler import Handler
    from bus.log import Log

NO_CONSUMER = 10014


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLag:
    """One handler's place in one partition. `exists` is False for a handler that has never run against this log: nobody knows how far
    behind it is, and the zeros mean nothing.

    waiting   events that were not delivered yet, of all that the consumer's filter lets through
    open      delivered and not settled
    settled   everything up to this position is done with
    """

    handler: str
    name: str
    exists: bool
    waiting: int = 0
    open: int = 0
    settled: int = 0

    @property
    def behind(self) -> int:
        """Events that are still to be settled."""
        return self.waiting + self.open


async def consumers(log: Log, handlers: Iterable[Handler[Any]]) -> list[ConsumerLag]:
    """Where each handler is, partition by partition."""
    wanted = [(handler.name, place.name) for handler in handlers for place in places(handler, log.partitions)]
    return list(await asyncio.gather(*(_consumer(log, handler, name) for handler, name in wanted)))


async def queues(log: Log) -> list[ConsumerLag]:
    """What waits for the workers of each tier, `handler` being the tier. Of `waiting`, other tiers' requests are passed over in no time."""
    return list(await asyncio.gather(*(_consumer(log, tier, queue_name(tier)) for tier in TIERS)))


async def _consumer(log: Log, handler: str, name: str) -> ConsumerLag:
    try:
        info = await log.connection.api(f"CONSUMER.INFO.{log.name}.{name}")
    except ApiError as error:
        if error.err_code == NO_CONSUMER:
            return ConsumerLag(handler=handler, name=name, exists=False)
        raise
    return ConsumerLag(
        handler=handler,
        name=name,
        exists=True,
        waiting=info["num_pending"],
        open=info["num_ack_pending"],
        settled=info["ack_floor"]["stream_seq"],
    )
