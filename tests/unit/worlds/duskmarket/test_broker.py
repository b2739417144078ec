"""The rules of brokers and their buyers, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bus.testing import Case, Rehearsal, given
from handlers.book import put
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.broker.v1.types_pb2 import GoodCondition
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemGrantRequested,
    ItemReleaseRequested,
    ItemReserveRefused,
    ItemReserveRequested,
    ItemsReserved,
    ItemUsed,
    ItemUseRequested,
)
from schemas.gen.worldbus.market.v1 import market_pb2 as word
from schemas.gen.worldbus.market.v1.types_pb2 import StilledAppetite
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeCompleted, ChargeDeclined, ChargeRequested, PurchaseRequested
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from tests.duskmarket import inventory, payment, time
from tests.ledger import check_ledger
from worlds.duskmarket.broker import brokers
from worlds.duskmarket.broker.state import Broker, Held
from worlds.duskmarket.broker.tables import Appetite, Buyer, Good, Heat, Market, Source
from worlds.duskmarket.broker.trade import MAX_GOODS
from worlds.duskmarket.market import buyers
from worlds.duskmarket.market.state import Buyer as State
from worlds.duskmarket.market.state import Known

MINUTE = 60_000  # world milliseconds
MARKET = Market(
    look_ms=30 * MINUTE,
    seasons={"summer": 2000},
    preservatives={"salts": 500, "water": 900},
    heat=Heat(fades=10, raid_from=500, raid_chance=1000, takes=500, keeps=400, fine_minor=1000, currency="crowns"),
    appetite=Appetite(bite=400, returns=100),
    goods={
        "heart": Good(values={"teeth": 1000}, decay=100, spoils_at=200),
        "eye": Good(values={"teeth": 500, "crowns": 100}, decay=0, spoils_at=0),
    },
    sources={
        "quay": Source(kinds={"heart": 1}, condition=(900, 900), heat=40),
        "door": Source(kinds={"heart": 1, "eye": 1}, condition=(500, 1000), heat=0, cost=("crowns", 300)),
    },
    buyers={
        "orla": Buyer(place="square", currency="teeth", tastes={"heart": 1000}, patience=3, opening=500, yields=100, loyalty=500, heat=20),
        "coyle": Buyer(place="quay", currency="crowns", tastes={"eye": 2000}, patience=1, opening=1000, yields=0, loyalty=0, heat=0),
    },
)
broker, market = brokers(MARKET), buyers(MARKET)
OFFER_ENDS = WakeRequested(name="offer-heart-1", in_world_ms=MARKET.offer_ms)


def fresh() -> Case[Broker]:
    return given(broker, entity="mira")


def holding() -> Case[Broker]:
    """Mira has `heart-1` in condition 900, heat 40, and a look is asked for."""
    return fresh().when(said.AcquisitionRequested(source="quay"))


def offered(ask: int = 900) -> Case[Broker]:
    return set_aside(holding().when(said.SaleRequested(good="heart-1", buyer="orla", ask_minor=ask)))


def set_aside(case: Case[Broker]) -> Case[Broker]:
    """The inventory keeps the good for the offer."""
    case.then_types(said.SalePrepared, ItemReserveRequested)
    reserved = ItemsReserved(reference="heart-1", holder="broker", holder_entity="mira")
    return case.when(reserved, subsystem="inventory")


def countered(counter: int = 450) -> Case[Broker]:
    return buyer_says(offered(), word.OfferCountered(player="mira", good="heart-1", counter_minor=counter, round=1, patience=2))


def buyer_says(case: Case[Broker], message: Any) -> Case[Broker]:
    return case.when(message, entity="orla", subsystem="market")


def looked(case: Case[Any], *, late_ms: int = 0, season: str = "spring", id: str = "", name: str = "look") -> Case[Any]:
    subsystem = case.handler.name
    wake = WakeFired(
        subsystem=subsystem, entity=case.entity, name=name, due_world_ms=MINUTE, now=WorldTime(world_ms=MINUTE + late_ms, season=season)
    )
    return case.when(wake, entity="clock", subsystem="time", id=id)


def code(case: Case[Any]) -> str:
    (refused,) = case.said
    assert isinstance(refused, said.BargainRefused | said.AcquisitionRefused)
    assert refused.request_event_id
    assert len(refused.reason) > 20
    return refused.code


def test_a_good_is_found_and_somebody_noticed() -> None:
    holding().then(
        said.GoodAcquired(good="heart-1", kind="heart", source="quay", condition=900),
        said.HeatRaised(by=40, heat=40, cause="acquired"),
        WakeRequested(name="look", in_world_ms=30 * MINUTE),
    ).then_state(goods={"heart-1": Held("heart", 900)}, numbered=1, heat=40, watching=True)


def test_a_second_good_asks_for_no_second_look() -> None:
    holding().when(said.AcquisitionRequested(source="quay")).then_types(said.GoodAcquired, said.HeatRaised).then_state(numbered=2)


def test_dice_are_the_same_for_the_same_event_and_spread_over_others() -> None:
    kinds = [fresh().when(said.AcquisitionRequested(source="door"), id=f"e{number}").said[0].kind for number in range(40)]  # type: ignore[attr-defined]
    again = [fresh().when(said.AcquisitionRequested(source="door"), id=f"e{number}").said[0].kind for number in range(40)]  # type: ignore[attr-defined]

    assert kinds == again
    assert set(kinds) == {"heart", "eye"}


def test_a_good_that_costs_comes_when_it_is_paid() -> None:
    case = fresh().when(said.AcquisitionRequested(source="door"), id="e1").then_types(said.AcquisitionBegun, ChargeRequested)
    (good,) = case.state.coming
    charge = case.said[1]
    assert charge == ChargeRequested(
        request_id=f"broker/{good}", currency="crowns", amount_minor=300, to="market", reason=f"{case.state.coming[good].kind} from door"
    )
    paid = ChargeCompleted(request_id=f"broker/{good}", currency="crowns", amount_minor=300)

    case.when(paid, subsystem="payment").then_types(said.GoodAcquired, WakeRequested).then_state(coming={}, numbered=1)
    case.when(paid, subsystem="payment").when(paid, subsystem="payment").then_nothing()
    case.when(paid, subsystem="game").then_nothing()
    declined = case.when(
        ChargeDeclined(request_id=f"broker/{good}", code="INSUFFICIENT_FUNDS", reason="wanted 300, found 7"), subsystem="payment"
    )
    declined.then_types(said.AcquisitionRefused).then_state(coming={}, goods={})


def test_charges_for_something_else_are_not_for_goods() -> None:
    fresh().when(ChargeCompleted(request_id="somebody-elses"), subsystem="payment").then_nothing()


def test_hands_are_full_some_time() -> None:
    case = fresh()
    for _ in range(MAX_GOODS):
        case = case.when(said.AcquisitionRequested(source="quay")).when(said.AcquisitionRequested(source="door"))

    assert code(case) == "HANDS_FULL"
    assert len(case.state.goods) + len(case.state.coming) == MAX_GOODS


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (said.AcquisitionRequested(source="moon"), "UNKNOWN_SOURCE"),
        (said.SaleRequested(good="heart-9", buyer="orla", ask_minor=1), "NO_SUCH_GOOD"),
        (said.SaleRequested(good="heart-1", buyer="nobody", ask_minor=1), "UNKNOWN_BUYER"),
        (said.SaleRequested(good="heart-1", buyer="orla"), "BAD_PRICE"),
        (said.SaleRequested(good="heart-1", buyer="orla", ask_minor=10**12 + 1), "BAD_PRICE"),
        (said.CounterAcceptRequested(good="heart-9"), "NO_SUCH_GOOD"),
        (said.CounterAcceptRequested(good="heart-1"), "NO_COUNTER"),
        (said.GoodDiscardRequested(good="heart-9"), "NO_SUCH_GOOD"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(wish: Any, expected: str) -> None:
    case = holding()

    assert code(case.when(wish)) == expected
    assert case.when(wish).state == case.state


def test_an_offer_waits_for_the_buyer_and_binds_the_good() -> None:
    case = offered()
    case.then(said.OfferMade(player="mira", buyer="orla", good="heart-1", kind="heart", condition=900, ask_minor=900, round=1), OFFER_ENDS)

    assert code(case.when(said.SaleRequested(good="heart-1", buyer="orla", ask_minor=800))) == "WAITING_FOR_BUYER"
    assert code(case.when(said.SaleRequested(good="heart-1", buyer="coyle", ask_minor=800))) == "ALREADY_OFFERED"
    assert code(case.when(said.CounterAcceptRequested(good="heart-1"))) == "NO_COUNTER"


def test_an_accepted_offer_is_a_bargain() -> None:
    case = buyer_says(offered(), word.OfferAccepted(player="mira", good="heart-1", price_minor=900, round=1))

    case.then(
        said.BargainStruck(
            player="mira",
            buyer="orla",
            good="heart-1",
            currency="teeth",
            price_minor=900,
            kind="heart",
            condition=900,
            rounds=1,
            thing="mira/heart-1",
        ),
        said.HeatRaised(by=20, heat=60, cause="sold"),
    ).then_state(goods={}, offers={})


def test_a_counter_stands_until_the_broker_takes_it_or_asks_again() -> None:
    case = countered().then_types(said.CounterHeard)

    taken = case.when(said.CounterAcceptRequested(good="heart-1"))
    assert isinstance(taken.said[0], said.BargainStruck)
    assert taken.said[0].price_minor == 450
    again = case.when(said.SaleRequested(good="heart-1", buyer="orla", ask_minor=700))
    assert isinstance(again.said[0], said.OfferMade)
    assert again.said[0].round == 2


def test_a_buyer_who_turns_down_frees_the_good() -> None:
    case = buyer_says(
        offered(), word.OfferTurnedDown(player="mira", good="heart-1", code="SATED", reason="I have enough of those.", round=1)
    )

    refused, back = case.said
    assert (refused.code, back) == ("SATED", ItemReleaseRequested(owner="mira", reference="heart-1"))  # type: ignore[attr-defined]
    again = case.then_state(offers={}).when(said.SaleRequested(good="heart-1", buyer="coyle", ask_minor=5))
    set_aside(again).then_types(said.OfferMade, WakeRequested)


def test_a_buyers_word_that_comes_too_late_means_nothing() -> None:
    accepted = word.OfferAccepted(player="mira", good="heart-1", price_minor=900, round=1)

    buyer_says(
        offered().when(said.OfferWithdrawRequested(good="heart-1")).then_types(said.OfferWithdrawn, ItemReleaseRequested), accepted
    ).then_nothing()
    buyer_says(offered().when(said.GoodDiscardRequested(good="heart-1")).then_types(said.GoodDiscarded), accepted).then_nothing()
    buyer_says(countered(), accepted).then_nothing()
    offered().when(accepted, entity="coyle", subsystem="market").then_nothing()
    offered().when(accepted, entity="orla", subsystem="game").then_nothing()


def test_an_offer_ends_when_it_has_stood_long_enough_and_frees_the_good() -> None:
    ends = WakeFired(subsystem="broker", entity="mira", name="offer-heart-1")
    back = ItemReleaseRequested(owner="mira", reference="heart-1")
    for case in (offered(), countered()):
        over = case.when(ends, entity="clock", subsystem="time")
        over.then(said.OfferWithdrawn(player="mira", buyer="orla", good="heart-1"), back).then_state(offers={})
        over.when(ends, entity="clock", subsystem="time").then_nothing()


def test_a_good_that_the_inventory_does_not_put_aside_is_not_offered() -> None:
    asked = holding().when(said.SaleRequested(good="heart-1", buyer="orla", ask_minor=900))
    assert code(asked.when(said.SaleRequested(good="heart-1", buyer="coyle", ask_minor=5))) == "WAITING_FOR_BUYER"
    no = ItemReserveRefused(reference="heart-1", holder="broker", holder_entity="mira", code="RESERVED", reason="it is aside for a trade")

    case = asked.when(no, subsystem="inventory")
    assert code(case) == "NOT_SET_ASIDE"
    set_aside(case.then_state(preparing={}).when(said.SaleRequested(good="heart-1", buyer="coyle", ask_minor=5)))


def test_what_is_put_aside_for_a_good_that_is_gone_goes_back() -> None:
    asked = holding().when(said.SaleRequested(good="heart-1", buyer="orla", ask_minor=900))
    case = asked.when(said.GoodDiscardRequested(good="heart-1")).then_state(preparing={}, goods={})

    reserved = ItemsReserved(reference="heart-1", holder="broker", holder_entity="mira")
    case.when(reserved, subsystem="inventory").then(ItemReleaseRequested(owner="mira", reference="heart-1"))


def test_a_broker_takes_over_no_more_goods_than_can_be_hidden() -> None:
    """Else friends heap more goods on one than may spoil at one look: the look is parked, and no good ages any more."""
    came = said.GoodPartedWith(good="heart-9", kind="heart", thing="ben/heart-9", condition=900, pace=1000, to="mira")
    case = fresh()
    for _ in range(MAX_GOODS):
        case = case.when(came, entity="ben", subsystem="broker")
        assert isinstance(case.said[0], said.GoodTakenOver)

    full = case.when(came, entity="ben", subsystem="broker")
    assert code(full) == "HANDS_FULL"
    full.then_state(goods=case.state.goods)


def test_withdrawing_what_is_not_offered_is_nothing() -> None:
    holding().when(said.OfferWithdrawRequested(good="heart-1")).then_types(RequestRefused)


def test_goods_decay_with_the_season_and_the_heat_fades() -> None:
    looked(holding()).then(
        said.GoodsDecayed(goods=[GoodCondition(good="heart-1", condition=800)], season="spring"),
        said.HeatFaded(by=10, heat=30),
        WakeRequested(name="look", at_world_ms=31 * MINUTE),
    )
    looked(holding(), season="summer").then_state(goods={"heart-1": Held("heart", 700)}, heat=30)


def test_looks_that_were_slept_through_are_made_up_for() -> None:
    looked(holding(), late_ms=60 * MINUTE).then_state(goods={"heart-1": Held("heart", 600)}, heat=10)


def test_a_late_look_loses_no_time() -> None:
    """The next one is due from when this one was, not from when the clock came to it."""
    case = looked(holding(), late_ms=10 * MINUTE)

    assert case.said[-1] == WakeRequested(name="look", at_world_ms=31 * MINUTE)
    assert looked(holding(), late_ms=40 * MINUTE).said[-1] == WakeRequested(name="look", at_world_ms=61 * MINUTE)


def test_a_spoiled_good_is_gone_with_its_offer() -> None:
    case = looked(offered(), late_ms=180 * MINUTE)

    assert said.GoodSpoiled(good="heart-1", kind="heart") in case.said
    case.then_state(goods={}, offers={})


def test_with_nothing_left_the_clock_is_not_asked_again() -> None:
    case = looked(holding().when(said.GoodDiscardRequested(good="heart-1")), late_ms=90 * MINUTE)

    case.then(said.HeatFaded(by=40, heat=0), said.BrokerIdled()).then_state(watching=False)
    looked(case).then_nothing()
    case.when(said.AcquisitionRequested(source="quay")).then_types(said.GoodAcquired, said.HeatRaised, WakeRequested)


def test_salts_slow_decay_and_the_better_treatment_counts() -> None:
    def used(sku: str) -> ItemUsed:
        return ItemUsed(sku=sku, target="heart-1", quantity=1)

    case = holding().when(used("water"), subsystem="inventory").then(said.GoodPreserved(good="heart-1", sku="water", pace=900))
    case = case.when(used("salts"), subsystem="inventory").when(used("water"), subsystem="inventory").then_nothing()
    looked(case).then_state(goods={"heart-1": Held("heart", 850, 500)})
    holding().when(used("salts"), subsystem="game").then_nothing()
    holding().when(used("lantern"), subsystem="inventory").then_nothing()


def hot(heat: int = 1000) -> Case[Broker]:
    goods = {f"heart-{number}": Held("heart", 900) for number in range(1, 6)}
    return Case(handler=broker, entity="mira", state=Broker(goods=goods, numbered=5, heat=heat, watching=True))


def test_a_raid_takes_goods_fines_and_cools_down() -> None:
    case = looked(hot())

    raid = next(message for message in case.said if isinstance(message, said.RaidSuffered))
    assert (len(raid.goods), raid.heat_before, raid.heat, raid.fine_minor) == (3, 990, 396, 990)
    fine = next(message for message in case.said if isinstance(message, ChargeRequested))
    assert (fine.up_to, fine.amount_minor, fine.to) == (True, 990, "city")
    assert len(case.state.goods) == 2
    assert case.state.heat == 396


def test_nobody_comes_while_little_is_known() -> None:
    for number in range(30):
        case = looked(hot(509), id=f"e{number}")
        assert not any(isinstance(message, said.RaidSuffered) for message in case.said)


def deal(
    ask: int, *, round: int = 1, good: str = "heart-1", kind: str = "heart", condition: int = 1000, buyer: str = "orla"
) -> said.OfferMade:
    return said.OfferMade(player="mira", buyer=buyer, good=good, kind=kind, condition=condition, ask_minor=ask, round=round)


def at_orla(state: State | None = None) -> Case[State]:
    return Case(handler=market, entity="orla", state=state or State())


def hear(case: Case[State], message: Any) -> Case[State]:
    return case.when(message, entity="mira", subsystem="broker")


def counter(case: Case[State]) -> int:
    countered = case.said[0]
    assert isinstance(countered, word.OfferCountered)
    return countered.counter_minor


def test_a_buyer_counters_within_their_limit_and_comes_closer_each_time() -> None:
    case = hear(at_orla(), deal(1200))
    first = counter(case)
    assert 450 <= first <= 550  # half of 1000, and a mood
    case = hear(case, deal(1150, round=2))
    second = counter(case)

    assert first < second <= 660
    hear(case, deal(1100, round=3)).then_types(word.OfferTurnedDown, word.RegardChanged)
    hear(case, deal(second, round=3)).then(word.OfferAccepted(player="mira", good="heart-1", price_minor=second, round=3))


def test_a_word_once_given_stands_when_the_good_decays() -> None:
    case = hear(at_orla(), deal(1200))

    hear(case, deal(counter(case), round=2, condition=300)).then_types(word.OfferAccepted)


def test_worse_condition_less_regard_and_less_appetite_make_lower_prices() -> None:
    usual = counter(hear(at_orla(), deal(1200)))

    assert counter(hear(at_orla(), deal(1200, condition=500))) < usual
    assert counter(hear(at_orla(State(sated={"heart": 400})), deal(1200))) < usual
    assert counter(hear(at_orla(regarded(-600)), deal(1200))) < usual < counter(hear(at_orla(regarded(600)), deal(1200)))


def regarded(regard: int) -> State:
    """A buyer who thinks so of Mira."""
    return State(brokers=put(State().brokers, "mira", Known(regard=regard)))


@pytest.mark.parametrize(
    ("state", "offer", "expected"),
    [
        (State(), deal(10, kind="eye"), "NOT_INTERESTED"),
        (State(), deal(10, kind="moon"), "NOT_INTERESTED"),
        (State(sated={"heart": 900}), deal(10), "SATED"),
        (State(), deal(10, condition=0), "WORTHLESS"),
        (regarded(-700), deal(10), "DISTRUSTED"),
    ],
)
def test_what_a_buyer_turns_down(state: State, offer: said.OfferMade, expected: str) -> None:
    case = hear(at_orla(state), offer)

    (down,) = case.said
    assert isinstance(down, word.OfferTurnedDown)
    assert down.code == expected


def test_an_insult_costs_regard() -> None:
    hear(at_orla(), deal(5000)).then_types(word.OfferCountered, word.RegardChanged)


def test_a_bargain_pleases_and_stills_the_appetite_until_it_returns() -> None:
    struck = said.BargainStruck(player="mira", buyer="orla", good="heart-1", kind="heart", currency="teeth", price_minor=5)
    case = hear(at_orla(), struck)
    case.then(
        word.RegardChanged(player="mira", by=25, regard=25, cause="bargain"),
        word.AppetiteSated(kind="heart", sated=400),
        WakeRequested(name="hunger", in_world_ms=30 * MINUTE),
    )

    case = hear(case, struck).then_types(word.RegardChanged, word.AppetiteSated).then_state(sated={"heart": 800})
    case = looked(case, name="hunger", late_ms=180 * MINUTE).then(
        word.AppetiteReturned(by=700, left=[StilledAppetite(kind="heart", sated=100)]),
        WakeRequested(name="hunger", at_world_ms=211 * MINUTE),
    )
    looked(case, name="hunger").then(word.AppetiteReturned(by=100)).then_state(sated={})


def test_only_brokers_are_heard() -> None:
    at_orla().when(deal(1), entity="mira", subsystem="game").then_nothing()


def night() -> Rehearsal:
    town = Rehearsal(time, payment, inventory, broker, market)
    town.say(ClockStartRequested(scale=60_000), entity="clock")  # a world minute per second
    return town


def test_the_whole_loop_moves_goods_and_money() -> None:
    town = night()
    town.say(said.AcquisitionRequested(source="door"), entity="mira")
    (acquired,) = town.said(said.GoodAcquired)
    buyer = "orla" if acquired.kind == "heart" else "coyle"
    town.say(said.SaleRequested(good=acquired.good, buyer=buyer, ask_minor=100_000), entity="mira")
    if not town.said(said.CounterHeard):  # coyle hears one offer only
        town.say(said.SaleRequested(good=acquired.good, buyer=buyer, ask_minor=10), entity="mira")
    else:
        town.say(said.CounterAcceptRequested(good=acquired.good), entity="mira")

    (struck,) = town.said(said.BargainStruck)
    balances = check_ledger(town.log)
    assert balances["market", struck.currency] == -struck.price_minor + (300 if struck.currency == "crowns" else 0)
    assert town.state(inventory, "mira").items == {acquired.kind: 0}
    assert town.state(broker, "mira").goods == {}


def test_who_cannot_pay_gets_no_good() -> None:
    town = night()
    town.say(PurchaseRequested(sku="ice-chest", currency="crowns"), entity="mira")
    town.say(PurchaseRequested(sku="ice-chest", currency="crowns"), entity="mira")
    town.say(said.AcquisitionRequested(source="door"), entity="mira")

    assert [refused.code for refused in town.said(said.AcquisitionRefused)] == ["INSUFFICIENT_FUNDS"]
    assert town.said(said.GoodAcquired) == ()


def test_salts_bought_and_used_keep_a_good_longer() -> None:
    salted = brokers(replace(MARKET, preservatives={"embalming-salts": 500}))
    town = Rehearsal(time, payment, inventory, salted, market)
    town.say(ClockStartRequested(scale=60_000), entity="clock")
    town.say(ItemGrantRequested(sku="embalming-salts", quantity=1), entity="mira", subsystem="operator")
    town.say(said.AcquisitionRequested(source="quay"), entity="mira")
    town.say(said.AcquisitionRequested(source="quay"), entity="mira")
    town.say(ItemUseRequested(sku="embalming-salts", target="heart-1"), entity="mira")
    town.say(RealTimePassed(real_ms=60_000), entity="clock")  # an hour, two looks: the second one at the clock's next step
    town.say(RealTimePassed(real_ms=1), entity="clock")

    conditions = {good: held.condition for good, held in town.state(salted, "mira").goods.items()}
    assert conditions == {"heart-1": 800, "heart-2": 700}
