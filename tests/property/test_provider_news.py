"""News of a payment provider, in any order, repeated, and partly never, against the provider's own books.

The provider here is a small one of its own making: it knows its payments, refunds and disputes as objects, and sends what Stripe documents.
It shares no code with what reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.payment import payments
from handlers.payment.tables import Item, Pack, PriceList
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider
from tests.duskmarket import coupon
from tests.laws import examples
from tests.ledger import check_ledger
from worldbus.edges.payments import Owner, read

PACK = 10_000
PRICES = {"eur": 499, "jpy": 500, "kwd": 1500}  # two, no and three decimals
LIST = PriceList(
    currencies={"crowns": 700},
    accounts=("house",),
    chargers=(),
    items={"lantern": Item(prices={"crowns": 450}, gives={"lantern": 1}, most=20)},
    packs={"purse": Pack(currency="crowns", amount_minor=PACK, prices=PRICES)},
    tax="exclusive",
)
payment = payments(LIST)


@dataclass
class Sale:
    """One payment in the provider's books."""

    id: str
    currency: str
    paid: int
    refunds: dict[str, list[Any]] = field(default_factory=dict)  # id → [amount, state]
    disputes: dict[str, list[Any]] = field(default_factory=dict)  # id → [amount, state, lost]

    @property
    def kept(self) -> int:
        """The sum that stays with the shop, as things are."""
        back = sum(amount for amount, state in self.refunds.values() if state not in ("failed", "canceled"))
        gone = sum(lost if state == "lost" else amount for amount, state, lost in self.disputes.values() if state in ("open", "lost"))
        return max(0, self.paid - back - gone)


class Provider:
    """Its books, and every webhook that it has to send; `last` tells which of them is the newest about each object."""

    def __init__(self) -> None:
        self.sales: list[Sale] = []
        self.sent: list[dict[str, Any]] = []
        self.last: dict[str, int] = {}
        self.now = 1_700_000_000

    def send(self, kind: str, about: str, **thing: Any) -> None:
        event = {"id": f"evt_{len(self.sent)}", "type": kind, "created": self.now, "data": {"object": thing}}
        self.last[about] = len(self.sent)
        self.sent.append(event)

    def sell(self, currency: str, taxed: bool, named_by: str) -> None:
        price, number = PRICES[currency], len(self.sales)
        tax = price // 5 if taxed else 0
        sale = Sale(f"pi_{number}", currency, price + tax)
        self.sales.append(sale)
        ours = {"player": "mira", "pack": "purse"}
        totals = {"amount_subtotal": price, "amount_total": sale.paid, "total_details": {"amount_tax": tax}}
        common = {"currency": currency, "metadata": ours if named_by != "session" else {}}
        self.send("payment_intent.succeeded", f"{sale.id} intent", id=sale.id, amount_received=sale.paid, **common)
        common["metadata"] = ours if named_by != "intent" else {}
        about = f"{sale.id} session"
        self.send("checkout.session.completed", about, id="cs_1", payment_intent=sale.id, payment_status="paid", **totals, **common)

    def refund(self, sale: Sale, share: int, path: tuple[str, ...]) -> None:
        """Give a share of what is left back, by a refund that goes through these states."""
        left = sale.paid - sum(amount for amount, state in sale.refunds.values() if state not in ("failed", "canceled"))
        if not left or len(sale.refunds) > 5:
            return
        name = f"re_{sale.id}_{len(sale.refunds)}"
        sale.refunds[name] = [max(1, left * share // 100), "pending"]
        self._say_refund("refund.created", sale, name)
        standing = sum(amount for amount, state in sale.refunds.values() if state not in ("failed", "canceled"))
        charge = {"id": "ch_1", "payment_intent": sale.id, "amount_refunded": standing}
        self.send("charge.refunded", f"{sale.id} charge", **charge)
        for state in path:
            sale.refunds[name][1] = state
            self._say_refund("refund.failed" if state == "failed" else "charge.refund.updated", sale, name)

    def _say_refund(self, kind: str, sale: Sale, name: str) -> None:
        amount, state = sale.refunds[name]
        self.send(kind, name, id=name, payment_intent=sale.id, amount=amount, status=state)

    def dispute(self, sale: Sale, share: int, path: tuple[str, ...], back: int) -> None:
        """Dispute a share of the payment; of a dispute that is lost, `back` percent come back all the same."""
        if len(sale.disputes) > 3:
            return
        name, amount = f"dp_{sale.id}_{len(sale.disputes)}", max(1, sale.paid * share // 100)
        sale.disputes[name] = [amount, "", 0]
        for number, status in enumerate(path):
            kind = "created" if number == 0 else "closed" if status in ("won", "lost", "warning_closed") else "updated"
            returned = {"won": amount, "lost": amount * back // 100}.get(status, 0)
            moves = [{"amount": -amount, "currency": sale.currency}, {"amount": returned, "currency": sale.currency}]
            sale.disputes[name][1:] = [KEPT_FROM.get(status, ""), amount - returned]
            more = {"balance_transactions": moves} if status in ("won", "lost") else {}
            self._say_dispute(f"charge.dispute.{kind}", sale, name, status, **more)

    def _say_dispute(self, kind: str, sale: Sale, name: str, status: str, **more: Any) -> None:
        amount = sale.disputes[name][0]
        self.send(kind, name, id=name, payment_intent=sale.id, amount=amount, currency=sale.currency, status=status, **more)

    def warn(self, sale: Sale) -> None:
        self.send("radar.early_fraud_warning.created", f"{sale.id} warning", id=f"issfr_{sale.id}", payment_intent=sale.id)


REFUNDS = [(), ("succeeded",), ("failed",), ("canceled",), ("succeeded", "failed"), ("requires_action", "canceled")]
INQUIRY, OPEN = ("warning_needs_response", "warning_under_review"), ("needs_response", "under_review")
DISPUTES = [
    *(INQUIRY[:1], INQUIRY, (*INQUIRY, "warning_closed"), (*INQUIRY, *OPEN), (*INQUIRY, *OPEN, "lost")),
    *(OPEN, (*OPEN, "won"), (*OPEN, "lost"), ("lost",)),
]
KEPT_FROM = {"needs_response": "open", "under_review": "open", "lost": "lost"}
"""States in which a dispute keeps money from the shop."""
shares = st.one_of(st.just(100), st.integers(1, 100))
steps = st.one_of(
    st.tuples(st.just("sell"), st.sampled_from(sorted(PRICES)), st.booleans(), st.sampled_from(["intent", "session", "both"])),
    st.tuples(st.just("refund"), shares, st.sampled_from(REFUNDS)),
    st.tuples(st.just("refund"), shares, st.sampled_from(REFUNDS)),
    st.tuples(st.just("dispute"), shares, st.sampled_from(DISPUTES), st.integers(0, 100)),
    st.tuples(st.just("warn")),
)


@st.composite
def histories(draw: st.DrawFn) -> Provider:
    """A provider after some business, within few seconds: its times tell little."""
    there = Provider()
    there.sell("eur", draw(st.booleans()), draw(st.sampled_from(["intent", "session", "both"])))
    for step in draw(st.lists(steps, min_size=1, max_size=7)):
        there.now += draw(st.integers(0, 1))
        sale = draw(st.sampled_from(there.sales))
        match step:
            case ("sell", currency, taxed, named_by):
                if len(there.sales) < 3:
                    there.sell(currency, taxed, named_by)
            case ("refund", share, path):
                there.refund(sale, share, path)
            case ("dispute", share, path, back):
                there.dispute(sale, share, path, back)
            case _:
                there.warn(sale)
    return there


def delivered(webhooks: list[dict[str, Any]], spending: dict[int, int]) -> Rehearsal:
    """A player's account after these webhooks arrived in this order; before some of them the player buys lanterns."""
    town = Rehearsal(payment, coupon)
    for number, event in enumerate(webhooks):
        if number in spending:
            town.say(said.PurchaseRequested(request_id=f"p{number}", sku="lantern", quantity=spending[number]), entity="mira")
        webhook = read(json.dumps(event).encode(), "duskmarket")
        if webhook is None or (webhook.owner is None and not webhook.of_known):
            continue  # of no concern, or not ours
        draft = webhook.draft(Owner("duskmarket", "mira"))
        if not any(one.id == draft.id for one in town.log):  # recorded once, for ever
            town.say(webhook.news, entity="mira", subsystem="payments-provider", id=draft.id, time_ns=draft.time_ns)
    return town


def given_out(town: Rehearsal) -> int:
    return -check_ledger(town.log).get(("provider", "crowns"), 0)


orders = st.randoms(use_true_random=False)
purchases = st.dictionaries(st.integers(0, 40), st.integers(1, 20), max_size=6)


@given(histories(), orders, purchases, st.data())
@settings(deadline=None, max_examples=examples(150))
def test_the_player_has_what_the_providers_books_say(there: Provider, order: Any, spending: dict[int, int], data: Any) -> None:
    """Any order, any repetitions, and any losses but of the newest word about each thing."""
    dispensable = [number for number in range(len(there.sent)) if number not in there.last.values()]
    lost = set(data.draw(st.lists(st.sampled_from(dispensable), max_size=8))) if dispensable else set()
    webhooks = [event for number, event in enumerate(there.sent) if number not in lost]
    webhooks += data.draw(st.lists(st.sampled_from(webhooks), max_size=6))
    order.shuffle(webhooks)
    town = delivered(webhooks, spending)

    assert given_out(town) == sum(PACK * sale.kept // sale.paid for sale in there.sales)
    assert town.said(provider.PackRefused, provider.PackPriceDiffered) == ()
    assert town.state(payment, "mira").disputed == sum(any(one[1] == "open" for one in sale.disputes.values()) for sale in there.sales)
    assert town.refold() == {lane: town.state(town.handlers[lane[0]], lane[1]) for lane in town.refold()}


@given(histories(), orders, st.data())
@settings(deadline=None, max_examples=examples(75))
def test_whatever_is_lost_the_order_of_the_rest_does_not_matter(there: Provider, order: Any, data: Any) -> None:
    kept = [event for event in there.sent if data.draw(st.booleans())]
    one = delivered(kept, {})
    order.shuffle(kept)
    other = delivered([*kept, *kept], {})

    assert given_out(one) == given_out(other)
    assert 0 <= given_out(one) <= PACK * len(there.sales)
    assert one.state(payment, "mira").payments == other.state(payment, "mira").payments
    assert one.state(payment, "mira").balances == other.state(payment, "mira").balances
