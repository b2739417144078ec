"""The rules of money, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from bus.testing import Case, Rehearsal, given
from handlers.payment import payments
from handlers.payment.holds import DEFAULT_MS, MAX_HOLDS
from handlers.payment.state import Account
from handlers.payment.tables import MAX_BALANCE, Item, Pack, PriceList
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as coupons
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import GrantedItem, LedgerEntry
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeCancelRequested, WakeFired, WakeRequested
from tests.duskmarket import coupon, time

PRICES = PriceList(
    currencies={"crowns": 1000, "teeth": 0},
    accounts=("house", "city"),
    chargers=("broker",),
    items={
        "lantern": Item(prices={"crowns": 300, "teeth": 5}, gives={"lantern": 1, "oil": 2}, most=3),
        "papers": Item(prices={"crowns": 100}, gives={"papers": 1}, refundable=False),
    },
    packs={"purse": Pack(currency="crowns", amount_minor=500, prices={"eur": 499})},
    refund_used="pay",
)
payment = payments(PRICES)


def opened() -> Case[Account]:
    return given(payment, entity="mira").when(PlayerArrived(session=1), subsystem="player")


def buy(request: str = "p1", sku: str = "lantern", **more: Any) -> said.PurchaseRequested:
    return said.PurchaseRequested(request_id=request, sku=sku, **more)


def legs(message: Any) -> dict[tuple[str, str], int]:
    assert isinstance(message, said.TransferPosted)
    return {(entry.account, entry.currency): entry.amount_minor for entry in message.entries}


def code(case: Case[Any]) -> str:
    """The code of a refusal, which says nothing else and moves nothing."""
    (refusal,) = case.said
    assert refusal.request_event_id  # type: ignore[attr-defined]
    assert len(refusal.reason) > 20  # type: ignore[attr-defined]
    return str(refusal.code)  # type: ignore[attr-defined]


def test_an_account_opens_with_the_first_arrival_and_its_gifts() -> None:
    case = opened()

    case.then_types(said.AccountOpened, said.TransferPosted)
    assert legs(case.said[1]) == {("mint", "crowns"): -1000, ("player:mira", "crowns"): 1000}
    case.then_state(opened=True, balances={"crowns": 1000})
    case.when(PlayerArrived(session=2), subsystem="player").then_nothing()


def test_an_arrival_that_presence_did_not_say_opens_nothing() -> None:
    given(payment, entity="mira").when(PlayerArrived(session=1), subsystem="game").then_nothing()


def test_the_first_request_opens_the_account_and_counts_on_the_gifts() -> None:
    case = given(payment, entity="mira").when(buy())

    case.then_types(said.AccountOpened, said.TransferPosted, said.TransferPosted, said.PurchaseCompleted)
    case.then_state(balances={"crowns": 700})


def test_what_has_no_consequence_opens_no_account() -> None:
    case = given(payment, entity="mira").when(QuestRewarded(player="mira", quest="talk"), subsystem="quest").then_nothing()

    case.when(WakeFired(subsystem="payment", entity="mira", name="hold-1"), entity="clock", subsystem="time").then_nothing()


def test_a_purchase_pays_the_house_and_names_what_the_player_gets() -> None:
    case = opened().when(buy(quantity=2))
    transfer, bought = case.said

    assert legs(transfer) == {("player:mira", "crowns"): -600, ("house", "crowns"): 600}
    assert isinstance(bought, said.PurchaseCompleted)
    assert (bought.price_minor, bought.discount_minor, bought.charged_minor) == (600, 0, 600)
    assert list(bought.items) == [GrantedItem(sku="lantern", quantity=2), GrantedItem(sku="oil", quantity=4)]
    case.then_state(balances={"crowns": 400})


def test_an_item_is_sold_for_its_first_currency_unless_another_is_named() -> None:
    assert code(opened().when(buy(currency="teeth"))) == "INSUFFICIENT_FUNDS"


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (buy(sku="moon"), "UNKNOWN_SKU"),
        (buy(quantity=4), "BAD_QUANTITY"),
        (buy(quantity=-1), "BAD_QUANTITY"),
        (buy(currency="eur"), "NOT_SOLD_FOR"),
        (buy(coupon="no good"), "BAD_COUPON"),
        (buy("x" * 129), "BAD_REQUEST_ID"),
        (said.RefundRequested(purchase_id="p9"), "UNKNOWN_PURCHASE"),
        (said.RefundRequested(request_id="x" * 129, purchase_id="p9"), "BAD_REQUEST_ID"),
        (said.RefundRequested(purchase_id="p9", reason="x" * 257), "TOO_LONG"),
        (said.HoldRequested(currency="crowns"), "BAD_AMOUNT"),
        (said.HoldRequested(currency="eur", amount_minor=1), "UNKNOWN_CURRENCY"),
        (said.HoldRequested(currency="crowns", amount_minor=1, for_real_ms=-1), "BAD_DURATION"),
        (said.HoldRequested(currency="crowns", amount_minor=1001), "INSUFFICIENT_FUNDS"),
        (said.HoldCaptureRequested(hold="h"), "NO_SUCH_HOLD"),
        (said.HoldCaptureRequested(hold="h", to="player:tam"), "UNKNOWN_ACCOUNT"),
        (said.HoldReleaseRequested(hold="h"), "NO_SUCH_HOLD"),
        (said.ChargeRequested(currency="crowns", amount_minor=1, to="house"), "NOT_ALLOWED"),
        (said.CreditRequested(currency="crowns", amount_minor=1), "NOT_ALLOWED"),
        (said.CreditLineRequested(currency="crowns", limit_minor=1), "NOT_ALLOWED"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_is_declined_and_moves_nothing(wish: Any, expected: str) -> None:
    case = opened().when(wish, subsystem="operator" if isinstance(wish, said.RefundRequested) else "game")

    assert code(case) == expected
    case.then_state(balances={"crowns": 1000}, holds={})


def test_a_player_cannot_spend_what_is_not_there() -> None:
    case = opened().when(buy(quantity=3)).when(buy("p2"))

    assert code(case) == "INSUFFICIENT_FUNDS"
    case.then_state(balances={"crowns": 100})


def test_a_player_can_spend_the_last_coin_and_not_one_more() -> None:
    assert code(opened().when(hold(1001))) == "INSUFFICIENT_FUNDS"
    opened().when(hold(1000)).then_state(balances={"crowns": 0})


def test_the_same_request_is_charged_once_and_answered_again() -> None:
    case = opened().when(buy()).when(buy(), id="again")

    case.then(
        said.PaymentRequestRepeated(request_id="p1", request="PurchaseRequested", outcome="completed", request_event_id="again")
    ).then_state(balances={"crowns": 700})


def test_a_declined_request_stays_declined() -> None:
    """The player may have given up and bought elsewhere: a late copy of the request must not charge after all."""
    case = opened().when(buy(quantity=3)).when(buy("p2"))
    case = case.when(said.CreditRequested(currency="crowns", amount_minor=5000), subsystem="operator").when(buy("p2"), id="late")

    case.then(
        said.PaymentRequestRepeated(
            request_id="p2", request="PurchaseRequested", outcome="declined", code="INSUFFICIENT_FUNDS", request_event_id="late"
        )
    )


def test_another_request_under_a_taken_id_is_a_conflict() -> None:
    for other in (buy(quantity=2), said.HoldRequested(request_id="p1", currency="crowns", amount_minor=5)):
        case = opened().when(buy()).when(other)

        case.then_types(said.PaymentRequestConflicted).then_state(balances={"crowns": 700}, holds={})
        assert code(case) == "IDEMPOTENCY_CONFLICT"


def test_a_request_without_an_id_is_named_by_its_event() -> None:
    case = opened().when(buy(""), id="evt-1").when(buy(""), id="evt-1")

    case.then_types(said.PaymentRequestRepeated)
    case.when(buy(""), id="evt-2").then_types(said.TransferPosted, said.PurchaseCompleted)


def test_a_request_is_remembered_behind_thousands_of_others() -> None:
    case = opened().when(buy("p1"))
    for number in range(3000):
        case = case.when(buy(f"n{number}", "moon"))

    case.when(buy("p1")).then_types(said.PaymentRequestRepeated)


def test_a_refund_gives_everything_back_once() -> None:
    case = opened().when(buy(quantity=2)).when(said.RefundRequested(request_id="r1", purchase_id="p1"), subsystem="operator")
    transfer, done = case.said

    assert legs(transfer) == {("house", "crowns"): -600, ("player:mira", "crowns"): 600}
    assert isinstance(done, said.RefundCompleted)
    assert (done.amount_minor, done.refunded_minor, done.whole, done.items[0].quantity) == (600, 600, True, 2)
    case = case.then_state(balances={"crowns": 1000}).when(said.RefundRequested(request_id="r2", purchase_id="p1"), subsystem="operator")
    assert code(case) == "ALREADY_REFUNDED"


def test_partial_refunds_never_exceed_the_charge() -> None:
    case = opened().when(buy()).when(said.RefundRequested(request_id="r1", purchase_id="p1", amount_minor=200), subsystem="operator")
    assert isinstance(case.said[1], said.RefundCompleted)
    assert (case.said[1].whole, list(case.said[1].items)) == (False, [])

    assert (
        code(case.when(said.RefundRequested(request_id="r2", purchase_id="p1", amount_minor=101), subsystem="operator"))
        == "MORE_THAN_CHARGED"
    )
    assert code(case.when(said.RefundRequested(request_id="r2", purchase_id="p1", amount_minor=-5), subsystem="operator")) == "BAD_AMOUNT"
    case = case.when(said.RefundRequested(request_id="r3", purchase_id="p1"), subsystem="operator")
    assert isinstance(case.said[1], said.RefundCompleted)
    assert (case.said[1].amount_minor, case.said[1].refunded_minor, case.said[1].whole) == (100, 300, True)
    case.then_state(balances={"crowns": 1000})


def test_what_is_not_taken_back_is_not_refunded() -> None:
    assert code(opened().when(buy(sku="papers")).when(said.RefundRequested(purchase_id="p1"), subsystem="operator")) == "NOT_REFUNDABLE"


def hold(amount: int = 400, request: str = "h1", **more: Any) -> said.HoldRequested:
    return said.HoldRequested(request_id=request, currency="crowns", amount_minor=amount, **more)


def test_a_hold_puts_money_aside() -> None:
    case = opened().when(hold())

    case.then_types(said.TransferPosted, said.HoldPlaced, WakeRequested)
    assert legs(case.said[0]) == {("player:mira", "crowns"): -400, ("escrow:mira", "crowns"): 400}
    assert case.said[2] == WakeRequested(name="hold-1", in_real_ms=DEFAULT_MS)
    assert code(case.then_state(balances={"crowns": 600}).when(hold(601, "h2"))) == "INSUFFICIENT_FUNDS"


def test_a_captured_hold_pays_and_gives_back_the_rest() -> None:
    case = opened().when(hold()).when(said.HoldCaptureRequested(hold="h1", amount_minor=150, to="city"))

    case.then_types(said.TransferPosted, said.HoldCaptured, WakeCancelRequested).then_state(balances={"crowns": 850}, holds={})
    assert legs(case.said[0]) == {("escrow:mira", "crowns"): -400, ("city", "crowns"): 150, ("player:mira", "crowns"): 250}
    assert code(case.when(said.HoldCaptureRequested(request_id="c2", hold="h1"))) == "NO_SUCH_HOLD"


def test_a_hold_pays_no_more_than_it_holds() -> None:
    for amount in (401, -1):
        case = opened().when(hold()).when(said.HoldCaptureRequested(hold="h1", amount_minor=amount))
        assert code(case) == "MORE_THAN_HELD"


def test_a_released_hold_comes_back() -> None:
    case = opened().when(hold()).when(said.HoldReleaseRequested(hold="h1"))

    case.then_types(said.TransferPosted, said.HoldReleased, WakeCancelRequested).then_state(balances={"crowns": 1000}, holds={})


def test_a_hold_expires_once() -> None:
    over = WakeFired(subsystem="payment", entity="mira", name="hold-1")
    case = opened().when(hold()).when(over, entity="clock", subsystem="time")

    case.then_types(said.TransferPosted, said.HoldReleased).then_state(balances={"crowns": 1000}, holds={})
    case.when(over, entity="clock", subsystem="time").then_nothing()
    opened().when(hold()).when(over, entity="clock", subsystem="game").then_nothing()  # only the clock wakes


def test_with_the_clock_a_forgotten_hold_expires() -> None:
    town = Rehearsal(time, payment)
    town.say(ClockStartRequested(), entity="clock")
    town.say(hold(for_real_ms=30_000), entity="mira")
    town.say(RealTimePassed(real_ms=29_999), entity="clock")
    assert town.said(said.HoldReleased) == ()
    town.say(RealTimePassed(real_ms=1), entity="clock")

    (released,) = town.said(said.HoldReleased)
    assert (released.cause, released.amount_minor) == ("expired", 400)


def test_holds_are_bounded() -> None:
    case = opened()
    for number in range(MAX_HOLDS):
        case = case.when(hold(1, f"n{number}"))

    assert code(case.when(hold(1, "more"))) == "TOO_MANY_HOLDS"


def test_a_credit_line_moves_the_floor_and_cannot_be_taken_back_while_owed() -> None:
    def line(limit: int, request: str) -> said.CreditLineRequested:
        return said.CreditLineRequested(request_id=request, currency="crowns", limit_minor=limit)

    case = opened().when(line(500, "l1"), subsystem="operator").when(buy(quantity=3)).when(buy("p2")).then_state(balances={"crowns": -200})
    assert code(case.when(buy("p3", quantity=2))) == "INSUFFICIENT_FUNDS"
    assert code(case.when(line(199, "l2"), subsystem="operator")) == "LINE_IN_USE"
    case.when(line(200, "l3"), subsystem="operator").then_types(said.CreditLineChanged).then_state(lines={"crowns": 200})


def test_a_subsystem_charges_its_own_price_and_fines_what_is_there() -> None:
    price = said.ChargeRequested(request_id="c1", currency="crowns", amount_minor=1001, to="city")
    assert code(opened().when(price, subsystem="broker")) == "INSUFFICIENT_FUNDS"

    price.up_to = True
    case = opened().when(price, subsystem="broker").then_types(said.TransferPosted, said.ChargeCompleted).then_state(balances={"crowns": 0})
    fine = said.ChargeRequested(request_id="c2", currency="crowns", amount_minor=10, to="city", up_to=True)
    case.when(fine, subsystem="broker").then_types(said.ChargeCompleted)


def test_an_operator_gives_from_the_mint() -> None:
    case = opened().when(said.CreditRequested(request_id="g", currency="teeth", amount_minor=70, reason="sorry"), subsystem="operator")

    case.then_types(said.TransferPosted, said.CreditGranted).then_state(balances={"crowns": 1000, "teeth": 70})


def test_a_quest_pays_once_per_reward() -> None:
    reward = QuestRewarded(player="mira", quest="the-quiet-cart", currency="crowns", amount_minor=250)
    case = opened().when(reward, subsystem="quest", id="e7")

    case.then_types(said.TransferPosted, said.CreditGranted).then_state(balances={"crowns": 1250})
    case.when(reward, subsystem="game").then_nothing()  # only the quest handler rewards
    case.when(QuestRewarded(player="mira", quest="talk"), subsystem="quest").then_nothing()


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (QuestRewarded(player="mira", currency="pearls", amount_minor=1), "UNKNOWN_CURRENCY"),
        (QuestRewarded(player="mira", currency="crowns", amount_minor=-1), "BAD_AMOUNT"),
    ],
)
def test_a_reward_that_cannot_be_paid_is_said_and_stops_nothing(reward: QuestRewarded, expected: str) -> None:
    assert code(opened().when(reward, subsystem="quest")) == expected


def test_a_full_account_takes_no_more() -> None:
    history = said.TransferPosted(entries=[LedgerEntry(account="player:mira", currency="crowns", amount_minor=MAX_BALANCE)])
    full = given(payment, said.AccountOpened(), history, entity="mira")

    assert code(full.when(QuestRewarded(player="mira", currency="crowns", amount_minor=1), subsystem="quest")) == "BALANCE_FULL"


def town(*wishes: tuple[str, coupons.CouponDefinitionRequested]) -> Rehearsal:
    market = Rehearsal(time, payment, coupon)
    market.say(ClockStartRequested(), entity="clock")
    for name, wish in wishes:
        market.say(wish, entity=name, subsystem="studio")
    return market


def test_a_percentage_comes_off_rounded_down() -> None:
    market = town(("SPRING", coupons.CouponDefinitionRequested(percent=33)))
    market.say(buy(coupon="SPRING"), entity="mira")

    (bought,) = market.said(said.PurchaseCompleted)
    assert (bought.price_minor, bought.discount_minor, bought.charged_minor, bought.coupon) == (300, 99, 201, "SPRING")
    assert market.state(payment, "mira").balances == {"crowns": 799}
    assert market.state(payment, "mira").wanted == {}


def test_a_fixed_amount_never_takes_off_more_than_the_price() -> None:
    market = town(("BIG", coupons.CouponDefinitionRequested(amount_minor=10_000, currency="crowns")))
    market.say(buy(coupon="BIG"), entity="mira")
    market.say(said.RefundRequested(request_id="r1", purchase_id="p1"), entity="mira", subsystem="operator")
    market.say(said.RefundRequested(request_id="r2", purchase_id="p1"), entity="mira", subsystem="operator")

    (bought,) = market.said(said.PurchaseCompleted)
    assert bought.charged_minor == 0
    (back,) = market.said(said.RefundCompleted)
    assert (back.amount_minor, back.whole) == (0, True)
    assert [declined.code for declined in market.said(said.RefundDeclined)] == ["ALREADY_REFUNDED"]
    assert {transfer.reason for transfer in market.said(said.TransferPosted)} == {"opening"}


def test_limits_per_player_and_in_total() -> None:
    market = town(("TWICE", coupons.CouponDefinitionRequested(percent=10, per_player=1, in_total=2)))
    for number, who in enumerate(["mira", "mira", "tam", "ida"]):
        market.say(buy(f"p{number}", coupon="TWICE"), entity=who)

    assert [declined.code for declined in market.said(said.PurchaseDeclined)] == ["COUPON_LIMIT_REACHED", "COUPON_USED_UP"]
    assert market.state(coupon, "TWICE").used == 2


def test_a_purchase_that_fails_after_all_gives_the_use_back() -> None:
    market = town(("ONCE", coupons.CouponDefinitionRequested(percent=1, per_player=1)))
    market.say(buy("p1", quantity=3), entity="mira")
    market.say(buy("p2", coupon="ONCE"), entity="mira")
    assert [declined.code for declined in market.said(said.PurchaseDeclined)] == ["INSUFFICIENT_FUNDS"]
    assert market.said(coupons.CouponRestored)[0].used == 0

    market.say(said.RefundRequested(request_id="r", purchase_id="p1"), entity="mira", subsystem="operator")
    market.say(buy("p3", coupon="ONCE"), entity="mira")
    assert [bought.request_id for bought in market.said(said.PurchaseCompleted)] == ["p1", "p3"]


def test_a_coupon_is_good_until_its_time_in_the_world() -> None:
    market = town(("DUSK", coupons.CouponDefinitionRequested(percent=50, expires_world_ms=5_000)))
    market.say(RealTimePassed(real_ms=4_999), entity="clock")
    market.say(buy("p1", coupon="DUSK"), entity="mira")
    market.say(RealTimePassed(real_ms=1), entity="clock")
    market.say(buy("p2", coupon="DUSK"), entity="mira")

    assert [bought.request_id for bought in market.said(said.PurchaseCompleted)] == ["p1"]
    assert [declined.code for declined in market.said(said.PurchaseDeclined)] == ["COUPON_EXPIRED"]


def test_a_coupon_is_for_what_it_is_for() -> None:
    market = town(
        ("LAMPS", coupons.CouponDefinitionRequested(percent=50, skus=["lantern"])),
        ("TEETH", coupons.CouponDefinitionRequested(amount_minor=1, currency="teeth")),
        ("GONE", coupons.CouponDefinitionRequested(percent=50)),
    )
    market.say(coupons.CouponWithdrawalRequested(reason="misprint"), entity="GONE", subsystem="operator")
    for number, (sku, name) in enumerate([("papers", "LAMPS"), ("lantern", "TEETH"), ("lantern", "GONE"), ("lantern", "NEVER")]):
        market.say(buy(f"p{number}", sku, coupon=name), entity="mira")

    codes = [declined.code for declined in market.said(said.PurchaseDeclined)]
    assert codes == ["COUPON_WRONG_SKU", "COUPON_WRONG_CURRENCY", "COUPON_WITHDRAWN", "COUPON_UNKNOWN"]


def test_a_purchase_that_waits_for_its_coupon_is_pending() -> None:
    case = opened().when(buy(coupon="SPRING")).then_types(coupons.CouponClaimed)
    case = case.when(buy(coupon="SPRING"), id="again")

    case.then(said.PaymentRequestRepeated(request_id="p1", request="PurchaseRequested", outcome="pending", request_event_id="again"))
    honoured = coupons.CouponHonoured(player="mira", request_id="p1", percent=10)
    case.when(honoured, entity="OTHER", subsystem="coupon").then_nothing()
    case.when(honoured, entity="SPRING", subsystem="game").then_nothing()
    case.when(honoured, entity="SPRING", subsystem="coupon").then_types(said.TransferPosted, said.PurchaseCompleted)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (coupons.CouponDefinitionRequested(), "PERCENT_OR_AMOUNT"),
        (coupons.CouponDefinitionRequested(percent=10, amount_minor=10), "PERCENT_OR_AMOUNT"),
        (coupons.CouponDefinitionRequested(percent=101), "BAD_PERCENT"),
        (coupons.CouponDefinitionRequested(amount_minor=-1), "BAD_AMOUNT"),
        (coupons.CouponDefinitionRequested(amount_minor=1), "BAD_CURRENCY"),
        (coupons.CouponDefinitionRequested(percent=1, in_total=-1), "BAD_LIMIT"),
        (coupons.CouponDefinitionRequested(percent=1, expires_world_ms=-1), "BAD_EXPIRY"),
        (coupons.CouponDefinitionRequested(percent=1, skus=["No Good"]), "BAD_SKUS"),
        (coupons.CouponWithdrawalRequested(), "NOT_DEFINED"),
    ],
)
def test_a_coupon_that_makes_no_sense_is_refused(wish: Any, expected: str) -> None:
    assert code(given(coupon, entity="SPRING").when(wish, subsystem="studio")) == expected


def test_defining_a_coupon_again_alike_changes_nothing_and_otherwise_is_refused() -> None:
    case = given(coupon, entity="SPRING").when(coupons.CouponDefinitionRequested(percent=10), subsystem="operator")

    case.when(coupons.CouponDefinitionRequested(percent=10), subsystem="operator").then_types(RequestFoundDone)
    assert code(case.when(coupons.CouponDefinitionRequested(percent=11), subsystem="operator")) == "ALREADY_DEFINED"
