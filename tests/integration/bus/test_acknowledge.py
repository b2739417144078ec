"""The rate of acknowledgements: nats-server writes and syncs a consumer's state for nearly each acknowledgement (docs/adr/0078)."""

from __future__ import annotations

import asyncio

from bus.connection import connect
from bus.consumer import PullConsumer
from bus.log import open_log
from bus.runtime import run_handlers
from tests.integration.bus.test_runtime import eventually, mover, publish
from worldbus.embedded import NatsServer

MOVES = 300


async def test_a_busy_partition_acknowledges_seldom_and_everything_in_the_end(own_server: NatsServer) -> None:
    acknowledged: list[str] = []
    async with connect(own_server.url, name="watcher") as watcher, connect(own_server.url, name="test") as connection:
        await watcher.listen("$JS.ACK.>", lambda subject, *_: acknowledged.append(str(subject)))
        log = await open_log(connection)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with run_handlers(connection, log, [mover]):
            for number in range(MOVES):  # one by one: each would be acknowledged by itself 10 ms later
                await publish(connection, [("a", f"z{number}")], number)
                await asyncio.sleep(0.012)
            await eventually(log, 2 * MOVES)
            took = loop.time() - begun
            seen = len(acknowledged)
        names = {subject.split(".")[3] for subject in acknowledged}
        unsettled = [(await PullConsumer(connection, log.name, name).info())["num_ack_pending"] for name in names]
        await log.aclose()

    assert 0 < seen <= took + 2  # once a second; `a` lies in one partition; the first one goes out at once
    assert sum(unsettled) == 0  # stopping acknowledges the rest
