"""Trades between bots while members are killed: every thing has one owner at any moment, none is lost, and the sums stay.

Bots propose, change, accept and cancel; often one thing lies on two tables at once, is given away meanwhile, or is not there at all.
Members that decide are killed with SIGKILL and replaced. At the end every trade is settled or cancelled, and the raw log is read.

    python -m bench.chaos.trades [trades] [kills]
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message

from bench.chaos.checks.owners import Owned, read
from bench.harness import nats
from bus.connection import connect
from bus.event import Draft, Event
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from schemas.gen.worldbus.broker.v1.broker_pb2 import GoodAcquired
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGrantRequested
from schemas.gen.worldbus.trade.v1 import trade_pb2 as said
from schemas.gen.worldbus.trade.v1.types_pb2 import TradePieces

WORLD: Final = "chaos"
WORKER: Final = "bench.chaos.trades_worker"
MEMBERS: Final = 3
PLAYERS: Final = tuple(f"bot-{number}" for number in range(24))
THINGS: Final = 4  # of each player
KINDS: Final = ("lantern", "grave-salt")
STOCK: Final = 40  # pieces of each kind that each player begins with
TOGETHER: Final = 25  # trades that are under way at a time
QUIET_S: Final = 0.2


@dataclass(slots=True)
class Found:
    """The outcome of a run. `violations` is empty when every promise was kept."""

    trades: int = 0
    kills: int = 0
    settled: int = 0
    cancelled: int = 0
    gifts: int = 0
    events: int = 0
    violations: list[str] = field(default_factory=list)


async def run(trades: int, kills: int, seed: int) -> Found:
    """Trade so often and kill so often, wait until nothing is open, then check the log."""
    dice = random.Random(seed)
    found = Found(trades=trades)
    async with nats(strict=False) as server, connect(server.url, name="chaos-trades") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher, _members(server.url) as members:
            await _stock(publisher)
            killed_after = set(dice.sample(range(trades), kills))
            for number in range(trades):
                await _trade(publisher, dice, number)
                if number in killed_after:
                    await _kill(members, server.url, dice.randrange(MEMBERS))
                    found.kills += 1
                if number % TOGETHER == TOGETHER - 1:
                    await asyncio.sleep(dice.uniform(0, QUIET_S))
            await _until_over(log, publisher)
        events = [event async for batch in log.read() for event in batch]
        found.events = len(events)
        _check(events, found)
        await log.aclose()
    return found


@asynccontextmanager
async def _members(url: str) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    members = [await _member(url) for _ in range(MEMBERS)]
    try:
        yield members
    finally:
        for member in members:
            member.kill()
            await member.wait()


async def _member(url: str) -> asyncio.subprocess.Process:
    member = await asyncio.create_subprocess_exec(sys.executable, "-m", WORKER, url, stdout=asyncio.subprocess.PIPE)
    assert member.stdout is not None
    assert (await member.stdout.readline()).strip() == b"ready", "a member did not start"
    return member


async def _kill(members: list[asyncio.subprocess.Process], url: str, number: int) -> None:
    members[number].kill()
    await members[number].wait()
    members[number] = await _member(url)


async def _say(publisher: Publisher, message: Message, entity: str, subsystem: str = "game") -> None:
    await publisher.publish(Draft(data=message, world=WORLD, entity=entity, subsystem=subsystem))


async def _stock(publisher: Publisher) -> None:
    for player in PLAYERS:
        for sku in KINDS:
            await _say(publisher, ItemGrantRequested(request_id=f"begin-{sku}", sku=sku, quantity=STOCK), player, "operator")
        for number in range(THINGS):
            await _say(publisher, GoodAcquired(good=f"jar-{number}", kind="leech-jar"), player, "broker")


async def _trade(publisher: Publisher, dice: random.Random, number: int) -> None:
    """One trade, as two bots say it; some of it makes no sense."""
    one, other = dice.sample(PLAYERS, 2)
    name, revision = f"trade-{number}", 1
    await _say(publisher, said.TradeProposeRequested(player=one, partner=other, gives=_gives(dice, one)), name)
    if dice.random() < 0.7:
        revision = 2
        await _say(publisher, said.TradeChangeRequested(player=other, gives=[TradePieces(sku=dice.choice(KINDS), quantity=2)]), name)
    await _say(publisher, said.TradeAcceptRequested(player=one, revision=revision), name)
    fate = dice.random()
    if fate < 0.1:
        await _say(publisher, said.TradeCancelRequested(player=other), name)
    elif fate < 0.2:
        await _say(publisher, GiftGiven(npc="widow-hask", item="leech-jar"), one)
    await _say(publisher, said.TradeAcceptRequested(player=other, revision=revision), name)


def _gives(dice: random.Random, player: str) -> list[TradePieces]:
    """A thing that is the player's, or was, or never; and some pieces of a kind."""
    owner = player if dice.random() < 0.8 else dice.choice(PLAYERS)
    thing = TradePieces(thing=f"{owner}/jar-{dice.randrange(THINGS)}")
    some = TradePieces(sku=dice.choice(KINDS), quantity=dice.randint(1, 5))
    return dice.choice(([thing], [some], [thing, some]))


async def _until_over(log: Log, publisher: Publisher) -> None:
    """Wait until every trade has an end. What both have not accepted is cancelled by hand: its time is minutes."""
    cancelled = False
    while still := _open([event async for batch in log.read() for event in batch]):
        if not cancelled:
            for name, player in still.items():
                await _say(publisher, said.TradeCancelRequested(player=player), name)
            cancelled = True
        await asyncio.sleep(QUIET_S)


def _open(events: list[Event]) -> dict[str, str]:
    """Trades without an end (and who proposed each), or any name under which inventories or trades have not answered yet."""
    still: dict[str, str] = {}
    waiting: dict[str, tuple[str, str]] = {}
    for event in events:
        match event.data:
            case said.TradeProposeRequested() as it:
                still[event.entity] = it.player
            case said.TradeSettled() | said.TradeCancelled():
                still.pop(event.entity, None)
            case _:
                pass
        if event.name in ("ItemReleaseRequested", "ItemReserveRequested", "TradeSettled", "ItemGiven", "GiftGiven"):
            waiting[event.id] = (event.entity, event.name)
        waiting.pop(event.cause, None)
    # A release of what is not aside is answered with nothing; everything else is answered.
    return still or {name: PLAYERS[0] for name, kind in waiting.values() if kind != "ItemReleaseRequested"}


def _check(events: list[Event], found: Found) -> None:
    names = Counter(event.name for event in events)
    found.settled, found.cancelled, found.gifts = names["TradeSettled"], names["TradeCancelled"], names["ItemGiven"]
    owned: Owned = read(events)
    found.violations += [str(one) for one in owned.ended()]
    ended = Counter(event.entity for event in events if event.name in ("TradeSettled", "TradeCancelled"))
    found.violations += [f"{trade} ended {times} times" for trade, times in ended.items() if times != 1]
    things = {thing for _, thing in owned.owner}
    if len(things) != len(PLAYERS) * THINGS:
        found.violations.append(f"{len(things)} things are somebody's, wanted {len(PLAYERS) * THINGS}")
    for sku in KINDS:
        there = sum(count for (_, _, kind), count in owned.pieces.items() if kind == sku)
        if there != len(PLAYERS) * STOCK:
            found.violations.append(f"{there} pieces of {sku} are somebody's, wanted {len(PLAYERS) * STOCK}")
    if parked := names["EventParked"]:
        found.violations.append(f"{parked} inputs were parked")


def main() -> None:
    """Run and print."""
    trades, kills = map(int, (*sys.argv[1:3], "1000", "20")[:2] if len(sys.argv) != 2 else (sys.argv[1], "20"))
    found = asyncio.run(run(trades, kills, seed=random.randrange(10**6)))
    print(found)
    raise SystemExit(1 if found.violations else 0)


if __name__ == "__main__":
    main()
