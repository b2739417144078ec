"""A load on a bus that is already there: players only, whoever answers. Its events are those of the world `bench`, and stay in that log."""

from __future__ import annotations

import secrets

from bench.harness import Result
from bench.load.account import Account, percentiles, result
from bench.load.players import Players
from bench.load.script import Script
from bus.connection import connect
from bus.log import open_log
from bus.publisher import open_publisher


async def offer(url: str, script: Script, rate: float, seconds: float, burstiness: float = 1.0) -> list[Result]:
    """Offer a load for so long; what became of it, over everything offered. `rate`: requests per second of twenty players."""
    async with connect(url, name="bench-players") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            players = Players(publisher)
            await players.listen(connection)
            asked = await players.play(_name(), script, rate, seconds, burstiness=burstiness)
            await players.aclose()
        await log.aclose()
    terms = f"{script}; {rate:g}/s for {seconds:g} s, burstiness {burstiness:g}"
    return [
        result("offered", len(asked), "requests", terms),
        *percentiles("offered_generator_late", list(players.lag), "how late the load itself was made", (0.99,)),
        *Account(asked).results("offered", rate, "what was offered"),
    ]


def _name() -> str:
    """Of this run: ids of requests must not come again."""
    return f"offer-{secrets.token_hex(4)}"
