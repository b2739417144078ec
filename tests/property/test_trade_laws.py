"""Laws of trades and inventories over random interleavings, in peace and with members that die and sleep at any step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.chaos.checks.owners import check, read
from bus.event import Draft, Event
from bus.handler import Handler
from bus.testing import Rehearsal
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, GoodAcquired, GoodSpoiled
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven
from schemas.gen.worldbus.inventory.v1 import inventory_pb2 as said
from schemas.gen.worldbus.trade.v1 import trade_pb2 as trades
from schemas.gen.worldbus.trade.v1.types_pb2 import TradePieces
from tests.duskmarket import inventory, trade
from tests.laws import examples
from tests.simulator import PARTITIONS, WORLD, Member, World

PLAYERS = ("mira", "ben", "ida")
NAMES = ("t1", "t2", "t3")
Wish = tuple[str, str, Message]  # entity, who says it, what

players, names = st.sampled_from(PLAYERS), st.sampled_from(NAMES)
things = st.builds(lambda who, number: TradePieces(thing=f"{who}/jar-{number}"), players, st.integers(0, 1))
some = st.builds(lambda count: TradePieces(sku="oil", quantity=count), st.integers(1, 6))
goods = st.lists(st.one_of(things, some), max_size=2)
revisions = st.integers(1, 3)
requests: st.SearchStrategy[Wish] = st.one_of(
    st.builds(
        lambda name, a, b, g: (name, "game", trades.TradeProposeRequested(player=a, partner=b, gives=g)), names, players, players, goods
    ),
    st.builds(lambda name, who, g: (name, "game", trades.TradeChangeRequested(player=who, gives=g)), names, players, goods),
    st.builds(lambda name, who, n: (name, "game", trades.TradeAcceptRequested(player=who, revision=n)), names, players, revisions),
    st.builds(lambda name, who, n: (name, "game", trades.TradeAcceptRequested(player=who, revision=n)), names, players, revisions),
    st.builds(lambda name, who: (name, "game", trades.TradeCancelRequested(player=who)), names, players),
    st.builds(lambda who: (who, "game", said.ItemUseRequested(sku="oil", quantity=2)), players),
    st.builds(lambda who, item: (who, "game", GiftGiven(npc="widow-hask", item=item)), players, st.sampled_from(["oil", "jar"])),
    st.builds(lambda who, n: (who, "broker", GoodSpoiled(good=f"jar-{n}", kind="jar", thing=f"{who}/jar-{n}")), players, st.integers(0, 1)),
    st.builds(lambda who, n: (who, "broker", BargainStruck(good=f"jar-{n}", kind="jar")), players, st.integers(0, 1)),
)
lives = st.lists(requests, min_size=5, max_size=40)
STOCK: tuple[Wish, ...] = tuple(
    wish
    for who in PLAYERS
    for wish in (
        (who, "operator", said.ItemGrantRequested(request_id="begin", sku="oil", quantity=8)),
        (who, "broker", GoodAcquired(good="jar-0", kind="jar")),
        (who, "broker", GoodAcquired(good="jar-1", kind="jar")),
    )
)


def laws(log: Sequence[Event]) -> None:
    """The laws that hold at the end of any log of trades in which everybody has heard everything."""
    assert check(log) == []
    owned = read(log)
    gone = Counter(event.data.sku for event in log if isinstance(event.data, said.ItemUsed | said.ItemRemoved) and _leaves(event))
    for event in log:
        if isinstance(event.data, said.ItemUsed | said.ItemRemoved) and _leaves(event):
            gone[event.data.sku] += event.data.quantity - 1
    for sku, came in (("oil", 24), ("jar", 6)):
        there = sum(count for (_, _, kind), count in owned.pieces.items() if kind == sku)
        assert there + gone[sku] == came, "pieces are somebody's, or were used, sold or spoiled"
    ends = Counter(event.entity for event in log if event.name in ("TradeSettled", "TradeCancelled"))
    assert set(ends.values()) <= {1}, "a trade ends once"
    for settled in (event for event in log if isinstance(event.data, trades.TradeSettled)):
        table = {side.player: side for side in settled.data.sides}
        accepted = [event.data for event in log if event.entity == settled.entity and isinstance(event.data, trades.TradeAccepted)]
        assert {it.player for it in accepted[-2:]} == set(table), "both accepted"
        assert len({it.revision for it in accepted[-2:]}) == 1, "the same table"


def _leaves(event: Event) -> bool:
    return event.subsystem == "inventory" and getattr(event.data, "reason", "used") != "traded"


@given(lives)
@settings(deadline=None)
def test_one_owner_whatever_is_asked_for(wishes: list[Wish]) -> None:
    town = Rehearsal(inventory, trade)
    for entity, by, message in (*STOCK, *wishes):
        town.say(message, entity=entity, subsystem=by)

    laws(town.log)
    for who in PLAYERS:
        state = town.state(inventory, who)
        assert town.refold()["inventory", who] == state
        assert all(state.free(sku) >= 0 for sku in state.items)
        assert sum(kind == "jar" for kind in state.things.values()) == state.items["jar"]
        for name in state.reserves:
            assert town.state(trade, name.removeprefix("trade/")).phase == "closing", "nothing stays aside for a trade that is over"


@given(lives, st.integers(0, 2**32))
@settings(deadline=None)
def test_one_owner_when_everybody_hears_late(wishes: list[Wish], seed: int) -> None:
    """Requests pile up before anybody decides: the second acceptance, a gift and a cancel are under way together."""
    town = Rehearsal(inventory, trade)
    for entity, by, message in STOCK:
        town.say(message, entity=entity, subsystem=by)
    for number, (entity, by, message) in enumerate(wishes):
        town.say(message, entity=entity, subsystem=by, hear=(seed >> number % 32) & 1 == 1)
    town.say(said.ItemUseRequested(sku="oil"), entity="mira")

    laws(town.log)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives, st.integers(0, 2**32), st.sampled_from([0.0, 0.15, 0.3]))
def test_trouble_changes_nothing_of_what_a_trade_says(wishes: list[Wish], seed: int, share: float) -> None:
    """Redelivery, deaths and lost acknowledgements; the answers of inventories are played to the trades one after the other."""
    asked = [wish for wish in wishes if wish[1] == "game" and wish[0] in NAMES]
    log = asyncio.run(_disturbed(trade, asked, seed, share))

    town = Rehearsal(trade, world=WORLD)
    for number, (entity, by, message) in enumerate(asked):
        town.say(message, entity=entity, subsystem=by, id=f"in-{number}", time_ns=number)
    for name in NAMES:
        wanted = [(event.id, event.data) for event in town.log if event.subsystem == "trade" and event.entity == name]
        assert wanted == [(event.id, event.data) for event in log if event.subsystem == "trade" and event.entity == name]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives, st.integers(0, 2**32), st.sampled_from([0.0, 0.15, 0.3]))
def test_trouble_changes_nothing_of_what_an_owner_has(wishes: list[Wish], seed: int, share: float) -> None:
    town = Rehearsal(inventory, trade, world=WORLD)
    for entity, by, message in (*STOCK, *wishes):
        town.say(message, entity=entity, subsystem=by)
    inputs = [event for event in town.log if event.subsystem != "inventory" and event.name in _HEARD]
    log = asyncio.run(_disturbed(inventory, [(event.entity, event.subsystem, event.data) for event in inputs], seed, share))

    for who in PLAYERS:
        mine = [event.data for event in log if event.subsystem == "inventory" and event.entity == who]
        came = Counter((it.thing or it.sku) for it in mine if isinstance(it, said.ItemGranted))
        wanted = Counter((it.thing or it.sku) for it in town.said(said.ItemGranted, entity=who))
        assert came == wanted, "what came, came once"


_HEARD = {kind.DESCRIPTOR.name for kind in inventory.listens_to} - {"ItemGiven"}


async def _disturbed(handler: Handler[object], wishes: Sequence[Wish], seed: int, share: float) -> list[Event]:
    world = World(handler, seed, share)
    dice, members = world.random, [Member(world, range(PARTITIONS))]
    for number, (entity, by, message) in enumerate(wishes):
        world.log.publish(Draft(data=message, world=WORLD, entity=entity, subsystem=by, id=f"in-{number}", time_ns=number))
        for member in members:
            for partition in member.partitions:
                member.read(partition, dice.randrange(4))
        await world.turn(dice.randrange(6))
        if dice.random() < share * 0.4:
            await members.pop().die()
            members.append(Member(world, range(PARTITIONS)))
    for member in members:
        await world.turn(dice.randrange(10))
        await member.die()
    await world.settle()
    return world.log.events
