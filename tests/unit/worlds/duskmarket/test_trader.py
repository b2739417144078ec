"""Simulated brokers play the game's core loop: they earn, spoil, haggle and are raided, and the same seed plays the same game."""

from __future__ import annotations

from collections import Counter

from bus.testing import Rehearsal
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import broker, content, coupon, inventory, market, payment, time
from tests.ledger import check_ledger
from worlds.duskmarket.bots.trader import Trader, Trades


def lockstep(seed: int, *, players: int, hours: int) -> tuple[Rehearsal, Trades]:
    """So many world hours in steps of five world minutes: everybody wishes, then time passes."""
    town, trades, heard = Rehearsal(time, payment, coupon, inventory, broker, market), Trades(), 0
    town.say(ClockStartRequested(scale=60_000), entity="clock")  # a world minute per second
    traders = {f"player-{number}": Trader.of(seed, number, content.market) for number in range(players)}
    for _ in range(hours * 12):
        wishes = [(name, trader.wish(trades.of(name))) for name, trader in traders.items()]
        for name, wish in wishes:
            if wish is not None:
                town.say(wish, entity=name)
        town.say(RealTimePassed(real_ms=5_000), entity="clock")
        for event in town.log[heard:]:
            if event.subsystem == broker.name:
                trades.hear(event)
        heard = len(town.log)
    return town, trades


def test_brokers_make_a_living_between_the_worlds() -> None:
    town, _ = lockstep(1, players=8, hours=20)
    balances = check_ledger(town.log, rewards=True)

    assert len(town.said(said.BargainStruck)) > 50
    assert {struck.currency for struck in town.said(said.BargainStruck)} == {"crowns", "teeth"}
    assert len({struck.buyer for struck in town.said(said.BargainStruck)}) == 5
    assert town.said(said.RaidSuffered)
    assert any(charge.to == "city" for charge in town.said(ChargeCompleted)), "nobody was fined"
    assert town.said(said.GoodsDecayed)
    richer = [name for name in range(8) if balances[f"player:player-{name}", "crowns"] > 5000]
    assert len(richer) >= 5, "the trade is not worth its risks"


def test_what_a_trader_wishes_can_be() -> None:
    """On the state it knows, a trader asks for nothing that the rules refuse; only money may be short."""
    town, _ = lockstep(2, players=4, hours=12)
    refused = Counter(one.code for one in town.said(said.AcquisitionRefused))
    unheard = Counter(one.code for one in town.said(said.BargainRefused) if not one.round)

    assert set(refused) <= {"INSUFFICIENT_FUNDS"}
    assert not unheard


def test_what_a_trader_knows_is_what_the_handler_knows() -> None:
    town, trades = lockstep(3, players=2, hours=12)

    assert all(trades.of(f"player-{number}") == town.state(broker, f"player-{number}") for number in range(3))


def test_the_same_seed_plays_the_same_game_and_another_one_does_not() -> None:
    logs = [[event.raw for event in lockstep(seed, players=2, hours=4)[0].log] for seed in (4, 4, 5)]

    assert logs[0] == logs[1]
    assert logs[0] != logs[2]
