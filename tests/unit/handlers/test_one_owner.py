"""The exploits with goods, by name, each played to its end by the handlers together; nothing is gained by any of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

import pytest
from google.protobuf.message import Message

from bench.chaos.checks.owners import check
from bus.event import Event
from bus.testing import Rehearsal, given
from schemas.gen.worldbus.broker.v1 import broker_pb2 as brokers
from schemas.gen.worldbus.game.v1.game_pb2 import GiftGiven
from schemas.gen.worldbus.inventory.v1 import inventory_pb2 as said
from schemas.gen.worldbus.inventory.v1.types_pb2 import Pieces
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed, RelationshipChanged
from schemas.gen.worldbus.payment.v1 import payment_pb2 as money
from schemas.gen.worldbus.payment.v1.types_pb2 import GrantedItem
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestProgressed
from schemas.gen.worldbus.time.v1.time_pb2 import ClockScaleRequested, ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.trade.v1 import trade_pb2 as trades
from schemas.gen.worldbus.trade.v1.types_pb2 import TradePieces, TradeSide
from tests.duskmarket import FOLDER, broker, inventory, market, npc, payment, quest, time, trade
from tests.ledger import check_ledger
from worlds.duskmarket.broker.tables import load

BUYER = next(iter(tomllib.loads((FOLDER / "market.toml").read_text())["buyers"]))


@pytest.fixture
def town() -> Iterable[Rehearsal]:
    """Mira has a good, `mira/<good>`, and everybody is there."""
    town = Rehearsal(time, payment, inventory, broker, market, trade, quest, npc)
    town.say(ClockStartRequested(), entity="clock")
    town.say(brokers.AcquisitionRequested(source="surgeons-door"), entity="mira")
    yield town
    assert check(town.log) == []
    check_ledger(town.log, rewards=True)


def good(town: Rehearsal) -> brokers.GoodAcquired:
    (acquired,) = town.said(brokers.GoodAcquired)
    return acquired


def things(town: Rehearsal, who: str) -> set[str]:
    return set(town.state(inventory, who).things)


def gift(item: str, to: str = "widow-hask", value: int = 100) -> Message:
    return GiftGiven(npc=to, item=item, value_minor=value)


def offer(town: Rehearsal) -> None:
    """Offered at a price that the buyer counters: the good is bound."""
    town.say(brokers.SaleRequested(good=good(town).good, buyer=buyer_of(town), ask_minor=10_000), entity="mira")
    assert town.state(broker, "mira").offers


def buyer_of(town: Rehearsal) -> str:
    tables = load(FOLDER / "market.toml")
    return next(name for name, buyer in tables.buyers.items() if good(town).kind in buyer.tastes)


def codes(town: Rehearsal) -> list[str]:
    return [refused.code for refused in town.said(said.ItemRefused)]


def test_a_good_given_is_not_sold(town: Rehearsal) -> None:
    town.say(gift(good(town).kind), entity="mira")
    town.say(brokers.SaleRequested(good=good(town).good, buyer=buyer_of(town), ask_minor=1), entity="mira")

    assert town.said(brokers.BargainStruck) == ()
    assert town.said(brokers.BargainRefused)[-1].code == "NO_SUCH_GOOD"
    assert (things(town, "mira"), things(town, "widow-hask")) == (set(), {f"mira/{good(town).good}"})


def test_a_good_on_offer_is_not_given_and_one_withdrawn_is(town: Rehearsal) -> None:
    offer(town)
    town.say(gift(good(town).kind), entity="mira")
    assert codes(town)[-1] == "RESERVED"
    assert town.said(said.ItemGiven) == ()

    town.say(brokers.OfferWithdrawRequested(good=good(town).good), entity="mira")
    town.say(gift(good(town).kind), entity="mira")
    assert things(town, "widow-hask")


def test_an_offer_that_nobody_takes_up_ends_by_itself(town: Rehearsal) -> None:
    offer(town)
    town.say(ClockScaleRequested(scale=100_000), entity="clock")
    for _ in range(3):
        town.say(RealTimePassed(real_ms=3_600_000), entity="clock")

    assert town.said(brokers.OfferWithdrawn) or town.said(brokers.GoodSpoiled)
    assert town.state(inventory, "mira").reserves == {}


def test_a_good_is_sold_once_and_its_thing_is_gone(town: Rehearsal) -> None:
    town.say(brokers.SaleRequested(good=good(town).good, buyer=buyer_of(town), ask_minor=1), entity="mira")

    (struck,) = town.said(brokers.BargainStruck)
    assert struck.thing == f"mira/{good(town).good}"
    assert (things(town, "mira"), town.state(inventory, "mira").reserves) == (set(), {})
    town.say(gift(good(town).kind), entity="mira")
    assert codes(town)[-1] == "NOT_ENOUGH"


def test_phantom_gifts_please_nobody_and_count_for_no_quest(town: Rehearsal) -> None:
    before = town.said(RelationshipChanged)
    for _ in range(5):
        town.say(gift("grave-salt", "doctor-vane", 10**6), entity="mira")

    assert set(codes(town)) == {"NOT_ENOUGH"}
    assert town.said(RelationshipChanged) == before
    assert town.said(QuestProgressed) == ()


def test_one_thing_is_not_given_to_two(town: Rehearsal) -> None:
    thing = f"mira/{good(town).good}"
    town.say(gift(thing, "widow-hask"), entity="mira")
    town.say(gift(thing, "doctor-vane"), entity="mira")

    assert codes(town)[-1] == "NO_SUCH_THING"
    assert (things(town, "widow-hask"), things(town, "doctor-vane")) == ({thing}, set())


def test_a_gift_to_nobody_stays_with_its_owner(town: Rehearsal) -> None:
    town.say(gift(good(town).kind, "nobody"), entity="mira")

    assert codes(town)[-1] == "UNKNOWN_NPC"
    assert len(things(town, "mira")) == 1


def test_what_a_character_gives_was_its_own() -> None:
    town = Rehearsal(time, payment, inventory, broker, market)  # and the character's words are the test's
    town.say(brokers.AcquisitionRequested(source="surgeons-door"), entity="mira")
    gave = NpcActed(action="give", target="ben", cause="dialogue", place="quay")
    town.say(gave, entity="widow-hask", subsystem="npc")
    assert codes(town)[-1] == "NOTHING_TO_GIVE"

    town.say(gift(good(town).kind), entity="mira")
    town.say(gave, entity="widow-hask", subsystem="npc")
    town.say(gave, entity="widow-hask", subsystem="npc")
    assert things(town, "ben") == {f"mira/{good(town).good}"}
    assert (things(town, "widow-hask"), codes(town)[-1]) == (set(), "NOTHING_TO_GIVE")
    assert check(town.log) == []


def test_what_was_used_is_not_refunded(town: Rehearsal) -> None:
    town.say(money.PurchaseRequested(request_id="p1", sku="night-kit"), entity="mira")
    paid = town.state(payment, "mira").balances["crowns"]
    town.say(said.ItemUseRequested(sku="lantern"), entity="mira")
    town.say(money.RefundRequested(request_id="r1", purchase_id="p1"), entity="mira", subsystem="client")

    assert [declined.code for declined in town.said(money.RefundDeclined)] == ["USED"]
    assert town.state(payment, "mira").balances["crowns"] == paid
    assert town.state(inventory, "mira").items["embalming-salts"] == 5, "what is left stays"
    assert town.state(inventory, "mira").reserves == {}


def test_a_refund_by_the_player_is_of_the_whole_purchase(town: Rehearsal) -> None:
    town.say(money.PurchaseRequested(request_id="p1", sku="lantern"), entity="mira")
    town.say(money.RefundRequested(request_id="r1", purchase_id="p1", amount_minor=449), entity="mira", subsystem="client")

    assert [declined.code for declined in town.said(money.RefundDeclined)] == ["BAD_AMOUNT"]


def test_a_refund_takes_the_very_things_that_were_put_aside_for_it() -> None:
    """Of the kind that was bought and used the player has a good: that one goes back, and nobody sells it any more."""
    aside = [Pieces(sku="jar", quantity=1, thing="mira/jar-1")]
    paid = money.RefundCompleted(purchase_id="p1", whole=True, items=[GrantedItem(sku="jar", quantity=1)])
    case = given(
        inventory,
        said.ItemGranted(sku="jar", quantity=1, now=1, reason="acquired", reference="jar-1", thing="mira/jar-1"),
        said.ItemsReserved(reference="p1", holder="payment", holder_entity="mira", items=aside),
        entity="mira",
    ).when(paid, subsystem="payment")

    gone = said.ItemRemoved(sku="jar", quantity=1, reason="refund", reference="p1", thing="mira/jar-1")
    case.then(gone).then_state(things={}, items={"jar": 0}, reserves={})
    held = given(broker, brokers.GoodAcquired(good="jar-1", kind="jar", condition=900), entity="mira")
    held.when(gone, subsystem="inventory").then_types(brokers.GoodPartedWith).then_state(goods={})


def test_a_good_that_is_aside_for_a_trade_does_not_spoil_under_its_hands() -> None:
    """It would be gone and the partner's as well, and what came of the same kind would be counted without it."""
    aside = [Pieces(sku="jar", quantity=1, thing="mira/jar-1")]
    sides = [
        TradeSide(player=who, gives=[TradePieces(sku="jar", quantity=1, thing=thing)])
        for who, thing in (("mira", "mira/jar-1"), ("ben", "ben/jar-1"))
    ]
    case = given(
        inventory,
        said.ItemGranted(sku="jar", quantity=1, now=1, reason="acquired", reference="jar-1", thing="mira/jar-1"),
        said.ItemsReserved(reference="t1", holder="trade", holder_entity="t1", items=aside),
        entity="mira",
    ).when(brokers.GoodSpoiled(good="jar-1", kind="jar", thing="mira/jar-1"), subsystem="broker")

    case.then(said.ItemRemoved(sku="jar", now=1, reason="spoiled", reference="jar-1", thing="mira/jar-1", missing=1))
    case = case.then_state(things={"mira/jar-1": "jar"}, items={"jar": 1})
    case = case.when(trades.TradeSettled(sides=sides), entity="t1", subsystem="trade").then_types(said.ItemRemoved, said.ItemGranted)
    assert (case.said[0].quantity, case.said[0].missing) == (1, 0)  # type: ignore[attr-defined]
    case.then_state(things={"ben/jar-1": "jar"}, items={"jar": 1}, reserves={})


def test_what_is_being_refunded_is_neither_used_nor_given(town: Rehearsal) -> None:
    town.say(money.PurchaseRequested(request_id="p1", sku="lantern"), entity="mira")
    town.say(money.RefundRequested(request_id="r1", purchase_id="p1"), entity="mira", subsystem="client", hear=False)
    town.say(gift("lantern"), entity="mira", hear=False)
    town.say(RealTimePassed(real_ms=1), entity="clock")  # now everybody hears it

    assert len(town.said(money.RefundCompleted)) + len(town.said(said.ItemGiven)) == 1


def trade_of(town: Rehearsal, *gives: tuple[str, list[TradePieces]], name: str = "t1") -> None:
    (one, ones), (other, others) = gives
    town.say(trades.TradeProposeRequested(player=one, partner=other, gives=ones), entity=name)
    town.say(trades.TradeChangeRequested(player=other, gives=others), entity=name)
    for who in (one, other):
        town.say(trades.TradeAcceptRequested(player=who, revision=town.state(trade, name).revision), entity=name)


def test_a_trade_changes_both_hands_at_once_and_the_broker_of_the_new_owner_has_the_good(town: Rehearsal) -> None:
    town.say(money.PurchaseRequested(request_id="p1", sku="lantern"), entity="ben")
    thing = f"mira/{good(town).good}"
    trade_of(town, ("mira", [TradePieces(thing=thing)]), ("ben", [TradePieces(sku="lantern", quantity=1)]))

    assert len(town.said(trades.TradeSettled)) == 1
    assert (things(town, "mira"), things(town, "ben")) == (set(), {thing})
    assert (town.state(inventory, "mira").items["lantern"], town.state(inventory, "ben").items["lantern"]) == (1, 0)
    assert not town.state(broker, "mira").goods
    (held,) = town.state(broker, "ben").goods.values()
    assert (held.thing, held.condition) == (thing, good(town).condition)


def test_a_change_voids_what_was_accepted(town: Rehearsal) -> None:
    town.say(trades.TradeProposeRequested(player="mira", partner="ben", gives=[TradePieces(sku="lantern")]), entity="t1")
    town.say(trades.TradeAcceptRequested(player="ben", revision=1), entity="t1")
    town.say(trades.TradeChangeRequested(player="mira", gives=[]), entity="t1")
    town.say(trades.TradeAcceptRequested(player="ben", revision=1), entity="t1")
    town.say(trades.TradeAcceptRequested(player="mira", revision=2), entity="t1")

    assert town.state(trade, "t1").accepted == ("mira",)
    assert town.said(trades.TradeSettled) == ()


def test_one_thing_is_not_traded_twice(town: Rehearsal) -> None:
    thing = f"mira/{good(town).good}"
    for number, partner in enumerate(("ben", "ida")):
        name = f"t{number}"
        town.say(trades.TradeProposeRequested(player="mira", partner=partner, gives=[TradePieces(thing=thing)]), entity=name)
    for number, partner in enumerate(("ben", "ida")):
        for who in ("mira", partner):
            town.say(trades.TradeAcceptRequested(player=who, revision=1), entity=f"t{number}", hear=False)
    town.say(RealTimePassed(real_ms=1), entity="clock")  # now everybody hears it

    assert len(town.said(trades.TradeSettled)) == 1
    assert [cancelled.cause for cancelled in town.said(trades.TradeCancelled)] == ["not_there"]


def test_the_same_pieces_are_not_traded_twice(town: Rehearsal) -> None:
    town.say(money.PurchaseRequested(request_id="p1", sku="lantern"), entity="mira")
    for name, partner in (("t0", "ben"), ("t1", "ida")):
        lantern = [TradePieces(sku="lantern", quantity=1)]
        town.say(trades.TradeProposeRequested(player="mira", partner=partner, gives=lantern), entity=name)
    for name, partner in (("t0", "ben"), ("t1", "ida")):
        for who in ("mira", partner):
            town.say(trades.TradeAcceptRequested(player=who, revision=1), entity=name, hear=False)
    town.say(RealTimePassed(real_ms=1), entity="clock")  # now everybody hears it

    assert len(town.said(trades.TradeSettled)) == 1
    assert [refused.code for refused in town.said(said.ItemReserveRefused)] == ["RESERVED"]
    assert town.state(inventory, "mira").items["lantern"] == 0


@pytest.mark.parametrize("end", [trades.TradeCancelRequested(player="ben"), RealTimePassed(real_ms=900_000)], ids=["asked", "time_over"])
def test_a_trade_that_ends_gives_everything_back(town: Rehearsal, end: Any) -> None:
    town.say(trades.TradeProposeRequested(player="mira", partner="ben", gives=[TradePieces(thing=f"mira/{good(town).good}")]), entity="t1")
    town.say(end, entity="clock" if isinstance(end, RealTimePassed) else "t1")
    town.say(trades.TradeAcceptRequested(player="ben", revision=1), entity="t1")

    assert len(town.said(trades.TradeCancelled)) == 1
    assert things(town, "mira") | {event.name for event in _of(town.log, "GoodSpoiled")}
    assert town.state(inventory, "mira").reserves == {}


def _of(log: Iterable[Event], name: str) -> list[Event]:
    return [event for event in log if event.name == name]


def test_a_log_of_a_former_release_folds_to_owners() -> None:
    """Goods had no ids, kinds were given without saying which piece, and nothing was put aside for an offer."""
    history = (
        said.ItemGranted(sku="jar", quantity=1, now=1, reason="acquired", reference="jar-1"),
        said.ItemGranted(sku="jar", quantity=1, now=2, reason="acquired", reference="jar-2"),
        said.ItemGranted(sku="jar", quantity=1, now=3, reason="acquired", reference="jar-3"),
        said.ItemRemoved(sku="jar", quantity=1, now=2, reason="given", reference="widow-hask"),
        said.ItemRemoved(sku="jar", quantity=1, now=1, reason="sold", reference="jar-2"),
    )
    case = given(inventory, *history, entity="mira").then_state(things={"mira/jar-3": "jar"}, items={"jar": 1})
    case.when(brokers.BargainStruck(good="jar-3", kind="jar"), subsystem="broker").then_state(things={}, items={"jar": 0})

    offered = given(
        broker,
        brokers.GoodAcquired(good="heart-1", kind="heart", condition=900),
        brokers.OfferMade(player="mira", buyer=BUYER, good="heart-1", kind="heart", condition=900, ask_minor=9, round=1),
        brokers.CounterHeard(buyer=BUYER, good="heart-1", counter_minor=5, round=1),
        entity="mira",
    )
    (refused,) = offered.when(brokers.CounterAcceptRequested(good="heart-1")).said
    assert (type(refused), refused.code) == (brokers.BargainRefused, "NOT_SET_ASIDE")  # type: ignore[attr-defined]
    assert offered.state.goods, "the good is still the broker's"
