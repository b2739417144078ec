"""`worldbus check` sees consumers that somebody deleted or rewrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.connection import connect
from bus.consumer import PullConsumer
from bus.errors import Misuse
from bus.log import open_log
from bus.runtime import run_handlers
from inference.queue import queue_config
from inference.tiers import TIERS
from tests.duskmarket import by_name
from worldbus.consumers import as_wanted, drifted
from worldbus.embedded import NatsServer


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: a server holds one log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


async def test_deleted_and_rewritten_consumers_are_named_with_what_is_wrong(own_nats: NatsServer) -> None:
    player, weather, quest = (by_name()[name] for name in ("player", "weather", "quest"))
    everybody = [player, weather, quest]
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        assert await as_wanted(log, everybody) == "as the code wants them"  # nobody ran
        async with run_handlers(connection, log, [player, weather]):
            assert await as_wanted(log, everybody) == "as the code wants them"
        await connection.api("CONSUMER.DELETE.LOG.weather_operator")
        config = (await PullConsumer(connection, "LOG", "player_3").info())["config"]
        await connection.api("CONSUMER.CREATE.LOG.player_3", {"stream_name": "LOG", "config": {**config, "max_deliver": 2}})
        queue = queue_config(TIERS["gold"]) | {"max_ack_pending": 1}
        await connection.api("CONSUMER.CREATE.LOG.inference_gold", {"stream_name": "LOG", "config": queue})

        assert await drifted(log, everybody) == {
            "player_3": ["max_deliver: wanted -1, found 2"],
            "weather_operator": ["it is gone"],
            "inference_gold": ["max_ack_pending: wanted -1, found 1"],
        }
        with pytest.raises(Misuse, match="player_3: max_deliver: wanted -1, found 2; weather_operator: it is gone"):
            await as_wanted(log, everybody)
        await log.aclose()
