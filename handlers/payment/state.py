"""A player's money, folded from the handler's events about the player."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from bus.event import Event
from handlers.book import Book, blank, find, put
from handlers.payment.real import Dispute, Real, Refund
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as coupons
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider

V = TypeVar("V")
PENDING: Final = "PENDING"  # code of a request that has no answer yet


class Request(NamedTuple):
    """A request that was answered: the digest of its bytes, and the code of the refusal (empty if it was done)."""

    digest: str
    code: str


class Returning(NamedTuple):
    """A refund whose goods are being taken back."""

    request: str
    digest: str
    amount: int


class Purchase(NamedTuple):
    """A purchase that may be refunded; amounts in minor units. `whole` once all of it has been."""

    sku: str
    quantity: int
    currency: str
    charged: int
    refunded: int = 0
    whole: bool = False


class Wanted(NamedTuple):
    """A purchase that waits for its coupon."""

    digest: str
    sku: str
    quantity: int
    currency: str
    price: int
    coupon: str


class Hold(NamedTuple):
    """Money put aside."""

    number: int
    currency: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The money of one player; amounts in minor units by currency."""

    opened: bool = False
    balances: Mapping[str, int] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)  # how far below zero
    holds: Mapping[str, Hold] = field(default_factory=dict)
    holds_placed: int = 0  # ever
    wanted: Mapping[str, Wanted] = field(default_factory=dict)  # purchases by request id
    returning: Mapping[str, Returning] = field(default_factory=dict)  # by purchase: the inventory has not answered yet
    disputed: int = 0  # payments with an open dispute
    requests: Book[Request] = field(default_factory=blank)
    purchases: Book[Purchase] = field(default_factory=blank)
    payments: Book[Real] = field(default_factory=lambda: blank(16))

    def balance(self, currency: str) -> int:
        """The balance, which may be below zero by as much as the credit line."""
        return self.balances.get(currency, 0)

    def available(self, currency: str) -> int:
        """The sum that can be spent, 0 or more."""
        return self.balance(currency) + self.lines.get(currency, 0)


def account_of(player: str) -> str:
    """Ledger name of a player's money."""
    return f"player:{player}"


def escrow_of(player: str) -> str:
    """Ledger name of what is put aside of a player's money."""
    return f"escrow:{player}"


def moved(account: Account, own: str, it: said.TransferPosted) -> Account:
    """The account after a transfer; `own` is its ledger name."""
    balances = dict(account.balances)
    for entry in it.entries:
        if entry.account == own:
            balances[entry.currency] = balances.get(entry.currency, 0) + entry.amount_minor
    return replace(account, balances=balances)


def evolve(account: Account, event: Event) -> Account:
    """The account after payment said `event`."""
    match event.data:
        case said.TransferPosted() as it:
            return moved(account, account_of(event.entity), it)
        case said.AccountOpened():
            return replace(account, opened=True)
        case provider.ProviderPaymentNoted() | provider.PackDelivered() | provider.PackReversed() | provider.PackRestored():
            return _real(account, event.data)
        case coupons.CouponClaimed() as it:
            wanted = Wanted(it.request_digest, it.sku, it.quantity, it.currency, it.price_minor, it.coupon)
            return replace(_answered(account, it.request_id, it.request_digest, PENDING), wanted={**account.wanted, it.request_id: wanted})
        case _:
            return _evolve_answer(account, event)


def _evolve_answer(account: Account, event: Event) -> Account:
    match event.data:
        case said.PurchaseCompleted() as it:
            bought = Purchase(it.sku, it.quantity, it.currency, it.charged_minor)
            account = replace(
                account, purchases=put(account.purchases, it.request_id, bought), wanted=_without(account.wanted, it.request_id)
            )
            return _answered(account, it.request_id, it.request_digest)
        case said.PurchaseDeclined() as it:
            account = replace(account, wanted=_without(account.wanted, it.request_id)) if it.request_digest else account
            return _answered(account, it.request_id, it.request_digest, it.code)
        case said.RefundBegun() as it:
            begun = Returning(it.request_id, it.request_digest, it.amount_minor)
            account = replace(account, returning={**account.returning, it.purchase_id: begun})
            return _answered(account, it.request_id, it.request_digest, PENDING)
        case said.RefundCompleted() as it:
            account = replace(account, returning=_without(account.returning, it.purchase_id))
            return _answered(_refunded(account, it), it.request_id, it.request_digest)
        case said.RefundDeclined(code="USED") as it:
            account = replace(account, returning=_without(account.returning, it.purchase_id))
            return _answered(account, it.request_id, it.request_digest, it.code)
        case said.HoldPlaced() as it:
            holds = {**account.holds, it.hold: Hold(it.number, it.currency, it.amount_minor)}
            return _answered(replace(account, holds=holds, holds_placed=it.number), it.hold, it.request_digest)
        case said.HoldCaptured() | said.HoldReleased() as it:
            return _answered(replace(account, holds=_without(account.holds, it.hold)), it.request_id, it.request_digest)
        case said.CreditLineChanged() as it:
            return _answered(replace(account, lines={**account.lines, it.currency: it.limit_minor}), it.request_id, it.request_digest)
        case said.ChargeCompleted() | said.CreditGranted() as it:
            return _answered(account, it.request_id, it.request_digest)
        case said.RefundDeclined() | said.ChargeDeclined() | said.CreditDeclined() | said.CreditLineRefused() | said.HoldDeclined() as it:
            return _answered(account, it.request_id, it.request_digest, it.code)
        case _:
            return account


def _answered(account: Account, request: str, digest: str, code: str = "") -> Account:
    return replace(account, requests=put(account.requests, request, Request(digest, code))) if digest else account


def _refunded(account: Account, it: said.RefundCompleted) -> Account:
    bought = find(account.purchases, it.purchase_id)
    if bought is None:
        return account  # never: refunds are decided on a purchase that is there
    return replace(account, purchases=put(account.purchases, it.purchase_id, bought._replace(refunded=it.refunded_minor, whole=it.whole)))


Known = provider.ProviderPaymentNoted | provider.PackDelivered | provider.PackReversed | provider.PackRestored


def _real(account: Account, it: Known) -> Account:
    before = find(account.payments, it.payment_id) or Real()
    after = _known(before, it)
    disputed = account.disputed + bool(after.open) - bool(before.open)
    return replace(account, payments=put(account.payments, it.payment_id, after), disputed=disputed)


def _known(real: Real, it: Known) -> Real:
    match it:
        case provider.PackDelivered():
            return real._replace(given=real.given + it.amount_minor)
        case provider.PackReversed():
            gone = it.amount_minor + it.written_off_minor
            return real._replace(given=real.given - gone, written_off=real.written_off + it.written_off_minor)
        case provider.PackRestored():
            back = it.amount_minor + it.recovered_minor
            return real._replace(given=real.given + back, written_off=real.written_off - it.recovered_minor)
        case _:
            return real._replace(
                pack=it.pack,
                paid=it.paid_minor,
                currency=it.paid_currency,
                reported=it.reported_minor if it.refunds or it.reported_minor else it.refunded_minor,
                refunds=tuple(Refund(one.refund_id, one.amount_minor, one.state) for one in it.refunds),
                disputes=_disputes(it),
                failed=it.failed,
            )


def _disputes(it: provider.ProviderPaymentNoted) -> tuple[Dispute, ...]:
    """Earlier releases noted ids alone, each of which stands for all of the payment."""
    if it.disputes:
        return tuple(Dispute(one.dispute_id, one.state, one.amount_minor, one.currency, one.said_unix_s) for one in it.disputes)
    by_state = (("open", it.disputes_open), ("won", it.disputes_won), ("lost", it.disputes_lost))
    return tuple(sorted(Dispute(name, state) for state, names in by_state for name in names))


def _without(entries: Mapping[str, V], key: str) -> Mapping[str, V]:
    return {name: entry for name, entry in entries.items() if name != key} if key in entries else entries
