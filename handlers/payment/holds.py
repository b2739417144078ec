"""Money put aside for a while: placed, then captured, released, or given back when its time is over."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.payment.ledger import (
    MAX_REQUEST_ID,
    Asked,
    Problem,
    Said,
    bad_account,
    bad_amount,
    bad_currency,
    bad_id,
    bad_reason,
    frozen,
    no_funds,
    transfer,
)
from handlers.payment.purchases import HOUSE
from handlers.payment.state import Account, account_of, escrow_of
from handlers.payment.tables import PriceList
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

MAX_HOLDS: Final = 16  # of one player at a time
DEFAULT_MS: Final = 900_000  # 15 minutes
MAX_MS: Final = 2_592_000_000  # 30 days


def wake_of(number: int) -> str:
    """Name of the wake that ends a hold; each has its own, so that one still under way cannot end another."""
    return f"hold-{number}"


def place(prices: PriceList, asked: Asked, it: said.HoldRequested, account: Account) -> Said:
    """Put money aside and ask to be woken when its time is over."""
    for_ms = it.for_real_ms or DEFAULT_MS
    problem = (
        bad_id(asked)
        or bad_currency(prices, it.currency)
        or bad_amount(it.amount_minor)
        or _bad_time(for_ms)
        or bad_reason(it.reason)
        or frozen(account)
        or _too_many(account)
        or no_funds(account, it.currency, it.amount_minor)
    )
    if problem:
        return (_declined(asked, asked.id, problem),)
    number, player = account.holds_placed + 1, asked.event.entity
    aside = (account_of(player), -it.amount_minor), (escrow_of(player), it.amount_minor)
    return (
        transfer(asked.event, "hold", asked.id, it.currency, *aside),
        said.HoldPlaced(
            hold=asked.id,
            number=number,
            currency=it.currency,
            amount_minor=it.amount_minor,
            for_real_ms=for_ms,
            request_digest=asked.digest,
        ),
        WakeRequested(name=wake_of(number), in_real_ms=for_ms),
    )


def _bad_time(for_ms: int) -> Problem | None:
    return None if 1 <= for_ms <= MAX_MS else Problem("BAD_DURATION", f"for_real_ms must be 1 to {MAX_MS} (30 days), found {for_ms}")


def _too_many(account: Account) -> Problem | None:
    if len(account.holds) < MAX_HOLDS:
        return None
    return Problem("TOO_MANY_HOLDS", f"a player may have {MAX_HOLDS} holds at a time: capture or release one first")


def capture(prices: PriceList, asked: Asked, it: said.HoldCaptureRequested, account: Account) -> Said:
    """Pay with a hold; what is not needed goes back."""
    hold, to = account.holds.get(it.hold), it.to or HOUSE
    amount = it.amount_minor or (hold.amount if hold else 0)
    problem = bad_id(asked) or bad_account(prices, to)
    if problem is None and hold and not 1 <= amount <= hold.amount:
        problem = Problem("MORE_THAN_HELD", f"amount must be 1 to the {hold.amount} minor units held, found {amount}")
    if problem or hold is None:
        return (_declined(asked, it.hold, problem or _no_hold(it.hold)),)
    player, rest = asked.event.entity, hold.amount - amount
    legs = (escrow_of(player), -hold.amount), (to, amount), (account_of(player), rest)
    captured = said.HoldCaptured(
        request_id=asked.id,
        hold=it.hold,
        currency=hold.currency,
        amount_minor=amount,
        returned_minor=rest,
        to=to,
        request_digest=asked.digest,
    )
    return transfer(asked.event, "capture", it.hold, hold.currency, *legs), captured, WakeCancelRequested(name=wake_of(hold.number))


def release(prices: PriceList, asked: Asked, it: said.HoldReleaseRequested, account: Account) -> Said:
    """Give back what was put aside."""
    hold = account.holds.get(it.hold)
    problem = bad_id(asked)
    if problem or hold is None:
        return (_declined(asked, it.hold, problem or _no_hold(it.hold)),)
    back = _given_back(asked.event, asked.event.entity, it.hold, account, asked.id, "released", asked.digest)
    return (*back, WakeCancelRequested(name=wake_of(hold.number)))


def woken(it: WakeFired, event: Event, account: Account) -> Said:
    """The time of a hold is over, if it is still there."""
    for name, hold in account.holds.items():
        if it.name == wake_of(hold.number):
            return _given_back(event, it.entity, name, account, "", "expired", "")
    return ()


def _given_back(event: Event, player: str, name: str, account: Account, request: str, cause: str, digest: str) -> tuple[Message, ...]:
    hold = account.holds[name]
    back = (escrow_of(player), -hold.amount), (account_of(player), hold.amount)
    released = said.HoldReleased(
        request_id=request, hold=name, currency=hold.currency, amount_minor=hold.amount, cause=cause, request_digest=digest
    )
    return transfer(event, "release", name, hold.currency, *back), released


def _no_hold(name: str) -> Problem:
    return Problem("NO_SUCH_HOLD", f"wanted the name of a hold that is not over, found {ascii(name)[:80]}")


def _declined(asked: Asked, hold: str, problem: Problem) -> Message:
    return said.HoldDeclined(
        request_id=asked.id,
        hold=hold[:MAX_REQUEST_ID],
        code=problem.code,
        reason=problem.reason,
        request_event_id=asked.event.id,
        request_digest=asked.digest,
    )
