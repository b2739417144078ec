"""Laws of the trade between day and night, whatever brokers wish and however time passes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemUseRequested
from schemas.gen.worldbus.market.v1 import market_pb2 as word
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeCompleted, CreditGranted, PurchaseRequested
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import broker, inventory, market, payment, time
from tests.ledger import check_ledger
from worlds.duskmarket.broker.state import Broker
from worlds.duskmarket.broker.trade import MAX_GOODS
from worlds.duskmarket.market.state import Buyer

PLAYERS = ("mira", "tam")
BUYERS = ("madame-orla", "the-sexton", "grin-collector", "doctor-vane", "registrar-coyle", "nobody")
SOURCES = ("drowned-quay", "paupers-field", "surgeons-door", "moth-alley", "name-pawn", "moon")
Step = tuple[str, Any]

# A wish names a good by its number among those the broker has, so that most wishes make sense; -1 names one that is not there.
numbers = st.integers(-1, 4)
asks = st.one_of(st.integers(1, 200), st.integers(200, 5000), st.sampled_from([0, -1, 10**12, 2**63 - 1]))
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("acquire"), st.sampled_from(SOURCES)),
    st.tuples(st.just("sell"), st.tuples(numbers, st.sampled_from(BUYERS), asks)),
    st.tuples(st.just("haggle"), st.tuples(numbers, st.integers(50, 100))),
    st.tuples(st.just("accept"), numbers),
    st.tuples(st.just("withdraw"), numbers),
    st.tuples(st.just("discard"), numbers),
    st.tuples(st.just("salt"), numbers),
    st.tuples(st.just("wait"), st.integers(1, 200)),
)
lives = st.lists(st.tuples(st.sampled_from(PLAYERS), steps), max_size=50)


def live(wishes: list[tuple[str, Step]]) -> Rehearsal:
    town = Rehearsal(time, payment, inventory, broker, market)
    town.say(ClockStartRequested(scale=60_000), entity="clock")  # a world minute per second
    for player in PLAYERS:
        town.say(PurchaseRequested(sku="embalming-salts", quantity=5), entity=player)
    for player, (kind, what) in wishes:
        if kind == "wait":
            town.say(RealTimePassed(real_ms=what * 1000), entity="clock")
        else:
            town.say(wish(town, player, kind, what), entity=player)
    return town


def wish(town: Rehearsal, player: str, kind: str, what: Any) -> Message:
    state: Broker = town.state(broker, player)
    goods = [*state.goods, "no-such-good"]
    number = what[0] if isinstance(what, tuple) else what
    good = goods[min(number, len(goods) - 1)] if isinstance(number, int) else ""
    match kind:
        case "acquire":
            return said.AcquisitionRequested(source=what)
        case "sell":
            return said.SaleRequested(good=good, buyer=what[1], ask_minor=what[2])
        case "haggle":
            offer = state.offers.get(good)
            ask = offer.ask * what[1] // 100 if offer else 100
            return said.SaleRequested(good=good, buyer=offer.buyer if offer else "madame-orla", ask_minor=ask)
        case "accept":
            return said.CounterAcceptRequested(good=good)
        case "withdraw":
            return said.OfferWithdrawRequested(good=good)
        case "discard":
            return said.GoodDiscardRequested(good=good)
        case _:
            return ItemUseRequested(sku="embalming-salts", target=good)


@given(lives)
@settings(deadline=None)
def test_a_good_comes_once_goes_at_most_once_and_only_what_is_there_is_sold(wishes: list[tuple[str, Step]]) -> None:
    town = live(wishes)
    for player in PLAYERS:
        held: dict[str, int] = {}
        ever: set[str] = set()
        heat = 0
        for event in town.log:
            if event.subsystem != "broker" or event.entity != player:
                continue
            match event.data:
                case said.GoodAcquired() as it:
                    assert it.good not in ever
                    ever.add(it.good)
                    held[it.good] = it.condition
                case said.GoodsDecayed() as it:
                    for one in it.goods:
                        assert 0 < one.condition < held[one.good]
                        held[one.good] = one.condition
                case said.OfferMade() as it:
                    assert it.condition == held[it.good]
                case said.BargainStruck() as it:
                    assert it.condition == held.pop(it.good), "sold in another condition than it has, or sold twice"
                case said.GoodSpoiled() | said.GoodDiscarded() as it:
                    held.pop(it.good)
                case said.HeatRaised() | said.HeatFaded() as it:
                    assert it.by > 0
                    heat += it.by if isinstance(it, said.HeatRaised) else -it.by
                    assert heat == it.heat
                case said.RaidSuffered() as it:
                    assert it.heat_before == heat
                    heat = it.heat
                    for lost in it.goods:
                        held.pop(lost.good)
                case _:
                    pass
            assert 0 <= heat <= 1000
            assert len(held) <= MAX_GOODS
        state: Broker = town.state(broker, player)
        assert {good: one.condition for good, one in state.goods.items()} == held
        assert state.heat == heat
        assert state.coming == {}, "a good that was paid or declined still waits"
        assert state.offers.keys() <= held.keys()
        assert all(offer.counter for offer in state.offers.values()), "an offer without an answer"
        assert state.watching or not (state.goods or state.heat), "nobody watches over the goods"
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Broker) == state


@given(lives)
@settings(deadline=None)
def test_money_and_items_follow_the_trade(wishes: list[tuple[str, Step]]) -> None:
    town = live(wishes)
    balances = check_ledger(town.log)
    struck, paid, got = town.said(said.BargainStruck), town.said(ChargeCompleted), town.said(said.GoodAcquired)
    for currency in ("crowns", "teeth"):
        bought = sum(one.amount_minor for one in paid if one.currency == currency and one.to == "market")
        sold = sum(one.price_minor for one in struck if one.currency == currency)
        assert balances.get(("market", currency), 0) == bought - sold
        assert bought == sum(one.cost_minor for one in got if one.currency == currency), "paid for a good that did not come"
    assert len([one for one in town.said(CreditGranted) if one.kind == "sale"]) == len(struck)
    for player in PLAYERS:
        state: Broker = town.state(broker, player)
        kinds = Counter(held.kind for held in state.goods.values())
        items = town.state(inventory, player).items
        assert {sku: count for sku, count in items.items() if count and sku != "embalming-salts"} == kinds


@given(lives)
@settings(deadline=None)
def test_buyers_keep_their_word_and_their_temper(wishes: list[tuple[str, Step]]) -> None:
    """Counters about a good never fall, a bargain's price is what was agreed, and regard and appetite stay within their bounds."""
    town = live(wishes)
    last: dict[tuple[str, str, str], int] = {}
    agreed: dict[tuple[str, str, str], set[int]] = {}
    regard: Counter[tuple[str, str]] = Counter()
    for event in town.log:
        match event.data:
            case word.OfferCountered() as it:
                assert it.counter_minor >= max(1, last.get((event.entity, it.player, it.good), 0)) or it.round == 1
                last[event.entity, it.player, it.good] = it.counter_minor
                agreed.setdefault((event.entity, it.player, it.good), set()).add(it.counter_minor)
            case word.OfferAccepted() as it:
                agreed.setdefault((event.entity, it.player, it.good), set()).add(it.price_minor)
            case said.BargainStruck() as it:
                assert it.price_minor in agreed[it.buyer, it.player, it.good]
            case word.RegardChanged() as it:
                regard[event.entity, it.player] += it.by
                assert regard[event.entity, it.player] == it.regard
                assert -1000 <= it.regard <= 1000
            case word.AppetiteSated() as it:
                assert 0 < it.sated <= 1000
            case _:
                pass
    for buyer in BUYERS:
        state: Buyer = town.state(market, buyer)
        assert all(0 < sated <= 1000 for sated in state.sated.values())
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Buyer) == state
    assert all(state == town.state(town.handlers[name], entity) for (name, entity), state in town.refold().items())
