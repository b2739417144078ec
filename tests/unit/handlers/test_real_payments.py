"""Real payments: whatever order the provider's news come in, the player ends with what was paid for."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from bus.testing import Case, given
from handlers.payment import payments
from handlers.payment.state import Account
from handlers.payment.tables import Item, Pack, PriceList
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider

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


def disputed(name: str = "dp_1") -> provider.PaymentDisputed:
    return provider.PaymentDisputed(payment_id="pi_1", dispute_id=name)


def settled(won: bool, name: str = "dp_1") -> provider.DisputeSettled:
    return provider.DisputeSettled(payment_id="pi_1", dispute_id=name, won=won)


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
