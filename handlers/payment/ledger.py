"""Transfers and answers: what every request about money has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from bus.errors import BrokenRule
from bus.event import Event
from handlers.book import find
from handlers.payment.state import PENDING, Account
from handlers.payment.tables import MAX_AMOUNT, PriceList
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import LedgerEntry

MAX_REQUEST_ID: Final = 128  # characters
MAX_REASON: Final = 256
MAX_NAME: Final = 64

Said = Sequence[Message]
Leg = tuple[str, int]  # account, what it gains


class Problem(NamedTuple):
    """The reason why a request is declined."""

    code: str
    reason: str


class Asked(NamedTuple):
    """A request as its answer needs it. `digest` is empty for a request whose id is not valid: it is answered and not remembered."""

    event: Event
    id: str
    digest: str


Answer = Callable[[PriceList, Asked, Any, Account], Said]


def transfer(event: Event, reason: str, reference: str, currency: str, *legs: Leg) -> said.TransferPosted:
    """A transfer caused by `event`; legs of 0 are left out. Raises `BrokenRule` if money would come from nowhere or vanish."""
    if sum(amount for _, amount in legs) != 0:
        raise BrokenRule(f"legs of a transfer must sum to zero, found {legs} in {currency}", currency=currency)
    return said.TransferPosted(
        transfer_id=f"{reason}:{event.subsystem}:{event.id}",
        entries=[LedgerEntry(account=account, currency=currency, amount_minor=amount) for account, amount in legs if amount],
        reason=reason,
        reference=reference,
    )


def digest_of(event: Event) -> str:
    """Of a request's type and bytes."""
    return blake2b(event.name.encode() + b"\n" + event.data.SerializeToString(deterministic=True), digest_size=8).hexdigest()


def once(answer: Answer, prices: PriceList, event: Event, account: Account) -> Said:
    """`answer`, if the request's id is new; otherwise what became of it. A request has one answer, for ever."""
    it: Any = event.data
    request = it.request_id or event.id
    if len(request) > MAX_REQUEST_ID:
        return answer(prices, Asked(event, request[:MAX_REQUEST_ID], ""), it, account)
    digest = digest_of(event)
    known = find(account.requests, request)
    if known is None:
        return answer(prices, Asked(event, request, digest), it, account)
    if known.digest != digest:
        return (_conflicted(event, request),)
    outcome = {"": "completed", PENDING: "pending"}.get(known.code, "declined")
    code = known.code if outcome == "declined" else ""
    return (said.PaymentRequestRepeated(request_id=request, request=event.name, outcome=outcome, code=code, request_event_id=event.id),)


def _conflicted(event: Event, request: str) -> Message:
    return said.PaymentRequestConflicted(
        request_id=request,
        request=event.name,
        code="IDEMPOTENCY_CONFLICT",
        reason=f"request_id {ascii(request)[:80]} was used for another request of {event.entity}: give this one an id of its own",
        request_event_id=event.id,
    )


def bad_id(asked: Asked) -> Problem | None:
    """The problem of a request id that is too long; None for a good one."""
    if asked.digest:
        return None
    return Problem("BAD_REQUEST_ID", f"request_id may have {MAX_REQUEST_ID} characters, this one begins with {ascii(asked.id)[:80]}")


def bad_amount(amount: int, *, least: int = 1) -> Problem | None:
    """The problem of an amount out of range; None for a good one."""
    if least <= amount <= MAX_AMOUNT:
        return None
    return Problem("BAD_AMOUNT", f"amount must be {least} to {MAX_AMOUNT} minor units, found {amount}")


def bad_currency(prices: PriceList, currency: str) -> Problem | None:
    """The problem of a currency that does not exist; None for a good one."""
    if currency in prices.currencies:
        return None
    return Problem("UNKNOWN_CURRENCY", f"wanted one of {', '.join(prices.currencies)}, found {ascii(currency)[:80]}")


def bad_account(prices: PriceList, account: str) -> Problem | None:
    """The problem of a system account that may not be paid; None for a good one."""
    if account in prices.accounts:
        return None
    return Problem("UNKNOWN_ACCOUNT", f"wanted one of {', '.join(prices.accounts)}, found {ascii(account)[:80]}")


def bad_reason(reason: str) -> Problem | None:
    """The problem of words for people that are too long; None for good ones."""
    return None if len(reason) <= MAX_REASON else Problem("TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(reason)}")


def no_funds(account: Account, currency: str, amount: int) -> Problem | None:
    """The problem of a player with less than `amount`, credit line included; None if there is enough."""
    there = account.available(currency)
    if amount <= there:
        return None
    return Problem("INSUFFICIENT_FUNDS", f"wanted {amount} minor units of {currency}, found {there}: earn or buy more first")


def frozen(account: Account) -> Problem | None:
    """The problem of an account that may not spend while the player's bank disputes a real payment; None for any other account."""
    if not account.disputed:
        return None
    return Problem("ACCOUNT_FROZEN", f"{account.disputed} real payments are disputed: the account spends nothing until they are settled")
