"""Real payments: whatever order the provider's news come in, the player ends with what was paid for."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from bus.testing import Case, given
from handlers.payment import payments
from handlers.payment.real import Real, learned
from handlers.payment.state import Account
from handlers.payment.tables import Item, Pack, PriceList
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider
from schemas.gen.worldbus.payment.v1.types_pb2 import ProviderRefund

EDGE = "payments-provider"
PRICES = PriceList(
    currencies={"crowns": 0},
    accounts=("house",),
    chargers=(),
    items={"lantern": Item(prices={"crowns": 300}, gives={"lantern": 1}, most=3)},
    packs={"purse": Pack(currency="crowns", amount_minor=1000, prices={"eur": 500})},
)
payment = payments(PRICES)


def heard(case: Case[Account], *news: Any) -> Case[Account]:
    for message in news:
        case = case.when(message, subsystem=EDGE)
    return case


def fresh() -> Case[Account]:
    return given(payment, said.AccountOpened(), entity="mira")


def paid(**more: Any) -> provider.PaymentReceived:
    return provider.PaymentReceived(**{"payment_id": "pi_1", "pack": "purse", "paid_currency": "eur", "paid_minor": 500, **more})


def refunded(so_far: int) -> provider.PaymentRefunded:
    return provider.PaymentRefunded(payment_id="pi_1", refunded_minor=so_far)


def disputed(name: str = "dp_1", **more: Any) -> provider.PaymentDisputed:
    return provider.PaymentDisputed(payment_id="pi_1", dispute_id=name, **more)


def settled(won: bool, name: str = "dp_1", **more: Any) -> provider.DisputeSettled:
    return provider.DisputeSettled(payment_id="pi_1", dispute_id=name, won=won, **more)


def refund(state: str, amount: int = 500, name: str = "re_1") -> provider.PaymentRefunded:
    return provider.PaymentRefunded(payment_id="pi_1", refunds=[ProviderRefund(refund_id=name, amount_minor=amount, state=state)])


def inquired(closed: bool = False, name: str = "dp_1") -> provider.PaymentInquired:
    return provider.PaymentInquired(payment_id="pi_1", inquiry_id=name, kind="inquiry", closed=closed)


def spend(case: Case[Account], quantity: int) -> Case[Account]:
    return case.when(said.PurchaseRequested(request_id=f"p{quantity}", sku="lantern", quantity=quantity))


def test_a_payment_brings_its_pack_once() -> None:
    case = heard(fresh(), paid())

    case.then_types(provider.ProviderPaymentNoted, said.TransferPosted, provider.PackDelivered).then_state(balances={"crowns": 1000})
    heard(case, paid()).then_nothing()


def test_only_the_provider_edge_is_believed() -> None:
    fresh().when(paid(), subsystem="game").then_nothing()


def test_a_refund_takes_back_its_share() -> None:
    case = heard(fresh(), paid(), refunded(100)).then_state(balances={"crowns": 800})

    heard(case, refunded(100)).then_nothing()
    heard(case, refunded(500)).then_state(balances={"crowns": 0})


@pytest.mark.parametrize("order", list(permutations(["paid", "refunded 100", "refunded 200", "failed"])))
def test_news_may_come_in_any_order(order: tuple[str, ...]) -> None:
    news = {
        "paid": paid(),
        "refunded 100": refunded(100),
        "refunded 200": refunded(200),
        "failed": provider.PaymentFailed(payment_id="pi_1", failure="card_declined"),
    }

    heard(fresh(), *(news[one] for one in order)).then_state(balances={"crowns": 600})


@pytest.mark.parametrize("order", list(permutations([0, 1, 2])))
@pytest.mark.parametrize(("won", "left"), [(True, 1000), (False, 0)])
def test_a_dispute_may_be_heard_of_in_any_order(order: tuple[int, ...], won: bool, left: int) -> None:
    news = [paid(), disputed(), settled(won)]
    case = heard(fresh(), *(news[number] for number in order))

    assert (case.state.balance("crowns"), case.state.disputed) == (left, 0)


def test_what_was_spent_is_written_off_and_recovered_first() -> None:
    case = heard(spend(heard(fresh(), paid()), 3), disputed())

    reversal = case.said[1]
    assert isinstance(reversal, said.TransferPosted)
    assert {entry.account: entry.amount_minor for entry in reversal.entries} == {"player:mira": -100, "loss": -900, "provider": 1000}
    case = heard(case.then_state(balances={"crowns": 0}), settled(won=True))
    assert case.said[-1] == provider.PackRestored(payment_id="pi_1", currency="crowns", amount_minor=100, recovered_minor=900)
    case.then_state(balances={"crowns": 100})


def test_a_disputed_account_spends_nothing_until_it_is_settled() -> None:
    case = spend(heard(fresh(), paid(), paid(payment_id="pi_2"), disputed()), 1)

    (declined,) = case.said
    assert isinstance(declined, said.PurchaseDeclined)
    assert declined.code == "ACCOUNT_FROZEN"
    heard(case, settled(won=False)).when(said.PurchaseRequested(request_id="later", sku="lantern")).then_types(
        said.TransferPosted, said.PurchaseCompleted
    )


def test_a_lost_dispute_of_several_is_lost() -> None:
    heard(fresh(), paid(), disputed("a"), disputed("b"), settled(True, "a"), settled(False, "b")).then_state(balances={"crowns": 0})


@pytest.mark.parametrize(
    ("news", "code"),
    [
        (paid(pack="moon"), "UNKNOWN_PACK"),
        (paid(paid_minor=499), "WRONG_PRICE"),
        (paid(paid_currency="usd"), "WRONG_PRICE"),
        (paid(payment_id=""), "BAD_PAYMENT"),
        (paid(payment_id="x" * 129), "BAD_PAYMENT"),
        (refunded(-1), "BAD_PAYMENT"),
        (disputed(""), "BAD_PAYMENT"),
    ],
)
def test_news_that_make_no_sense_are_left_to_a_person(news: Any, code: str) -> None:
    case = heard(fresh(), news)

    (refused,) = case.said
    assert isinstance(refused, provider.PackRefused)
    assert (refused.code, case.state.balances) == (code, {})
    assert len(refused.reason) > 20


def test_a_payment_does_not_become_another() -> None:
    prices = PriceList(
        **{**{name: getattr(PRICES, name) for name in PRICES.__slots__}, "packs": {**PRICES.packs, "same": PRICES.packs["purse"]}}
    )
    case = given(payments(prices), said.AccountOpened(), entity="mira")
    case = heard(case, paid(), paid(pack="same"))

    (refused,) = case.said
    assert isinstance(refused, provider.PackRefused)
    assert refused.code == "PAYMENT_CHANGED"


@pytest.mark.parametrize("final", ["failed", "canceled"])
@pytest.mark.parametrize("order", list(permutations([0, 1, 2])))
def test_a_refund_that_failed_or_was_cancelled_gives_the_pack_back(final: str, order: tuple[int, ...]) -> None:
    news = [refund("pending"), refund("succeeded"), refund(final)]

    heard(fresh(), paid(), *(news[number] for number in order)).then_state(balances={"crowns": 1000})


@pytest.mark.parametrize("state", ["pending", "requires_action", "succeeded"])
def test_a_refund_counts_from_the_moment_it_is_known(state: str) -> None:
    heard(fresh(), paid(), refund(state, 250)).then_state(balances={"crowns": 500})


def test_a_refund_that_failed_recovers_what_was_written_off() -> None:
    case = heard(spend(heard(fresh(), paid()), 3), refund("succeeded"), refund("failed"))

    assert case.said[-1] == provider.PackRestored(
        payment_id="pi_1", currency="crowns", amount_minor=100, recovered_minor=900, cause="refund_failed"
    )
    case.then_state(balances={"crowns": 100})


def test_refunds_by_id_and_by_their_sum_are_the_same_refunds() -> None:
    both = (refund("succeeded", 100), refunded(100), refund("succeeded", 150, "re_2"), refunded(250))
    heard(fresh(), paid(), *both).then_state(balances={"crowns": 500})
    heard(fresh(), paid(), *both, refund("failed", 150, "re_2")).then_state(balances={"crowns": 800})


@pytest.mark.parametrize(
    ("verdict", "left"),
    [
        ({"won": False, "lost_minor": 50}, 900),
        ({"won": False, "lost_minor": 20}, 960),
        ({"won": True, "lost_minor": 20}, 960),
        ({"won": True}, 1000),
        ({"won": False}, 0),
        ({"won": False, "lost_minor": 50, "currency": "usd"}, 0),
    ],
)
def test_a_dispute_costs_the_share_that_is_disputed_and_then_what_is_lost(verdict: dict[str, Any], left: int) -> None:
    case = heard(fresh(), paid(), disputed(amount_minor=50, currency="eur")).then_state(balances={"crowns": 900})

    heard(case, settled(**verdict)).then_state(balances={"crowns": left}, disputed=0)


def test_shares_are_rounded_down_for_the_player() -> None:
    prices = PriceList(
        currencies={"crowns": 0},
        accounts=(),
        chargers=(),
        items={},
        packs={"purse": Pack(currency="crowns", amount_minor=10_000, prices={"eur": 499})},
    )
    case = given(payments(prices), said.AccountOpened(), entity="mira")

    heard(case, paid(paid_minor=499), settled(False, lost_minor=50)).then_state(balances={"crowns": 8_997})


def test_an_inquiry_moves_nothing_and_freezes_nothing() -> None:
    case = heard(fresh(), paid(), inquired()).then_types(provider.ProviderPaymentNoted).then_state(balances={"crowns": 1000}, disputed=0)

    heard(case, inquired(closed=True)).then_types(provider.ProviderPaymentNoted).then_state(balances={"crowns": 1000})
    heard(case, disputed(amount_minor=500)).then_state(balances={"crowns": 0}, disputed=1)


def test_a_dispute_of_an_earlier_release_that_was_an_inquiry_ends_with_it() -> None:
    earlier = provider.ProviderPaymentNoted(payment_id="pi_1", pack="purse", paid_minor=500, disputes_open=["dp_1"])
    case = heard(given(payment, said.AccountOpened(), earlier, entity="mira"), settled(True))

    case.then_state(balances={"crowns": 1000}, disputed=0)


def with_taxes(tax: str) -> Case[Account]:
    prices = PriceList(**{**{name: getattr(PRICES, name) for name in PRICES.__slots__}, "tax": tax})
    return given(payments(prices), said.AccountOpened(), entity="mira")


SESSION = {"subtotal_minor": 500, "tax_minor": 95}


@pytest.mark.parametrize(
    ("tax", "receipt", "differs"),
    [
        ("inclusive", {}, False),
        ("inclusive", {"subtotal_minor": 500, "tax_minor": 80}, False),
        ("inclusive", {"paid_minor": 595}, True),
        ("inclusive", {"paid_minor": 595, **SESSION}, True),
        ("inclusive", {"paid_minor": 450, "subtotal_minor": 500}, True),  # the provider's own discount
        ("exclusive", {}, False),
        ("exclusive", {"paid_minor": 595}, False),
        ("exclusive", {"paid_minor": 595, **SESSION}, False),
        ("exclusive", {"paid_minor": 700, **SESSION}, True),
    ],
)
def test_a_pack_that_was_paid_for_is_delivered_and_what_is_odd_is_said(tax: str, receipt: dict[str, int], differs: bool) -> None:
    case = heard(with_taxes(tax), paid(**receipt)).then_state(balances={"crowns": 1000})

    said_so = [one for one in case.said if isinstance(one, provider.PackPriceDiffered)]
    assert [(one.price_minor, one.paid_minor) for one in said_so] == ([(500, receipt["paid_minor"])] if differs else [])
    heard(case, refunded(receipt.get("paid_minor", 500))).then_state(balances={"crowns": 0})


@pytest.mark.parametrize("tax", ["inclusive", "exclusive"])
@pytest.mark.parametrize(
    "receipt", [{"paid_minor": 499}, {"paid_minor": 595, "subtotal_minor": 400}, {"paid_minor": 0, "subtotal_minor": 500}]
)
def test_what_is_too_little_is_kept_on_record_with_its_figures(tax: str, receipt: dict[str, int]) -> None:
    (refused,) = heard(with_taxes(tax), paid(**receipt)).said

    assert isinstance(refused, provider.PackRefused)
    assert (refused.code, refused.pack, refused.paid_minor, refused.paid_currency) == ("WRONG_PRICE", "purse", receipt["paid_minor"], "eur")


def test_the_receipt_of_a_session_and_of_its_intent_are_one() -> None:
    case = heard(with_taxes("exclusive"), paid(paid_minor=595), paid(paid_minor=595, **SESSION))

    case.then_nothing().then_state(balances={"crowns": 1000})


@pytest.mark.parametrize(
    "news", [refund("melted"), refund("pending", -1), refund("pending", name=""), inquired(name=""), disputed(amount_minor=-1)]
)
def test_impossible_refunds_and_disputes_are_left_to_a_person(news: Any) -> None:
    (refused,) = heard(fresh(), paid(), news).said

    assert isinstance(refused, provider.PackRefused)
    assert refused.code == "BAD_PAYMENT"


def test_a_payment_has_no_more_refunds_than_can_be_known() -> None:
    many = provider.PaymentRefunded(
        payment_id="pi_1", refunds=[ProviderRefund(refund_id=f"re_{number}", amount_minor=1, state="succeeded") for number in range(100)]
    )
    case = heard(fresh(), paid(), many).then_state(balances={"crowns": 800})

    heard(case, refund("succeeded", 1, "re_0")).then_nothing()
    heard(case, refund("succeeded", 1, "re_100")).then_types(provider.PackRefused)


def test_of_two_verdicts_the_later_one_stands_in_either_order() -> None:
    lost, won = (settled(False, lost_minor=50), 1), (settled(True), 2)
    for news, state in (((lost, won), "won"), ((won, lost), "won"), ((lost, (settled(True), 0)), "lost")):
        known = Real()
        for one, at_s in news:
            known = learned(known, one, at_s)
        assert [one.state for one in known.disputes] == [state]
