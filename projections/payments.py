"""Money as tables: every leg of every transfer, what each account holds, and what became of purchases, holds and real payments."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider

LEDGER = Table("ledger", key=("world", "position", "leg"))
BALANCES = Table("balances", key=("world", "account", "currency"), adds=("balance_minor", "transfers"))
LINES = Table("credit_lines", key=("world", "player", "currency"))
PURCHASES = Table("purchases", key=("world", "player", "request_id"))
HOLDS = Table("holds", key=("world", "player", "hold"))
DECLINED = Table("payments_declined", key=("world", "position"))
REAL = Table("real_payments", key=("world", "payment_id"), adds=("given_minor", "written_off_minor"))

Declined = (
    said.PurchaseDeclined | said.RefundDeclined | said.ChargeDeclined | said.CreditDeclined | said.HoldDeclined | said.CreditLineRefused
)


def posted(event: Event, it: said.TransferPosted) -> list[Change]:
    changes = []
    for leg, entry in enumerate(it.entries, start=1):
        moved = {"account": entry.account, "currency": entry.currency, "amount_minor": entry.amount_minor}
        words = {"player": event.entity, "transfer_id": it.transfer_id, "reason": it.reason, "reference": it.reference}
        changes.append(LEDGER.put(event.world, event.position, leg, posted_at=event.time_ns, **moved, **words))
        changes.append(BALANCES.put(event.world, entry.account, entry.currency, balance_minor=entry.amount_minor, transfers=1))
    return changes


def line_changed(event: Event, it: said.CreditLineChanged) -> Change:
    return LINES.put(event.world, event.entity, it.currency, limit_minor=it.limit_minor)


def bought(event: Event, it: said.PurchaseCompleted) -> Change:
    return PURCHASES.put(
        *(event.world, event.entity, it.request_id),
        sku=it.sku, quantity=it.quantity, currency=it.currency, price_minor=it.price_minor, discount_minor=it.discount_minor,
        charged_minor=it.charged_minor, coupon=it.coupon or None, bought_at=event.time_ns,
    )  # fmt: skip


def refunded(event: Event, it: said.RefundCompleted) -> Change:
    return PURCHASES.put(event.world, event.entity, it.purchase_id, refunded_minor=it.refunded_minor, refunded_at=event.time_ns)


def held(event: Event, it: said.HoldPlaced) -> Change:
    return HOLDS.put(
        *(event.world, event.entity, it.hold),
        currency=it.currency, amount_minor=it.amount_minor, for_real_ms=it.for_real_ms, placed_at=event.time_ns,
    )  # fmt: skip


def captured(event: Event, it: said.HoldCaptured) -> Change:
    return HOLDS.put(event.world, event.entity, it.hold, ended="captured", captured_minor=it.amount_minor, ended_at=event.time_ns)


def released(event: Event, it: said.HoldReleased) -> Change:
    return HOLDS.put(event.world, event.entity, it.hold, ended=it.cause, ended_at=event.time_ns)


def declined(event: Event, it: Declined) -> Change:
    return DECLINED.put(
        *(event.world, event.position),
        player=event.entity, answer=event.name, request_id=it.request_id, code=it.code, reason=it.reason, declined_at=event.time_ns,
    )  # fmt: skip


def noted(event: Event, it: provider.ProviderPaymentNoted) -> Change:
    return REAL.put(
        *(event.world, it.payment_id),
        player=event.entity, pack=it.pack or None, paid_minor=it.paid_minor, paid_currency=it.paid_currency or None,
        refunded_minor=it.refunded_minor, disputes_open=len(it.disputes_open), disputes_lost=len(it.disputes_lost),
        inquiries=sum(one.state == "inquiry" for one in it.disputes), failed=it.failed,
    )  # fmt: skip


def delivered(event: Event, it: provider.PackDelivered) -> Change:
    settled = {"refused": None, "refused_reason": None}  # an earlier receipt of it may have been
    return REAL.put(event.world, it.payment_id, currency=it.currency, given_minor=it.amount_minor, **settled)


def differed(event: Event, it: provider.PackPriceDiffered) -> Change:
    return REAL.put(event.world, it.payment_id, price_minor=it.price_minor)


def reversed_(event: Event, it: provider.PackReversed) -> Change:
    gone = it.amount_minor + it.written_off_minor
    return REAL.put(event.world, it.payment_id, currency=it.currency, given_minor=-gone, written_off_minor=it.written_off_minor)


def restored(event: Event, it: provider.PackRestored) -> Change:
    back = it.amount_minor + it.recovered_minor
    return REAL.put(event.world, it.payment_id, currency=it.currency, given_minor=back, written_off_minor=-it.recovered_minor)


def refused(event: Event, it: provider.PackRefused) -> Change:
    receipt = {"pack": it.pack, "paid_minor": it.paid_minor, "paid_currency": it.paid_currency} if it.paid_minor else {}
    return REAL.put(event.world, it.payment_id, player=event.entity, refused=it.code, refused_reason=it.reason, **receipt)


payments = Projection(
    name="payments",
    version=2,
    said_by="payment",
    schema=sql_beside(__file__),
    tables=(LEDGER, BALANCES, LINES, PURCHASES, HOLDS, DECLINED, REAL),
    on={
        said.TransferPosted: posted,
        said.CreditLineChanged: line_changed,
        said.PurchaseCompleted: bought,
        said.RefundCompleted: refunded,
        said.HoldPlaced: held,
        said.HoldCaptured: captured,
        said.HoldReleased: released,
        said.PurchaseDeclined: declined,
        said.RefundDeclined: declined,
        said.ChargeDeclined: declined,
        said.CreditDeclined: declined,
        said.CreditLineRefused: declined,
        said.HoldDeclined: declined,
        provider.ProviderPaymentNoted: noted,
        provider.PackDelivered: delivered,
        provider.PackReversed: reversed_,
        provider.PackRestored: restored,
        provider.PackRefused: refused,
        provider.PackPriceDiffered: differed,
    },
)
