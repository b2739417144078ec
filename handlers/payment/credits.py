"""Money that comes and goes by other rules than the price list: openings, charges of subsystems, credits, rewards, sales, credit lines."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.payment.ledger import (
    MAX_REASON,
    Asked,
    Problem,
    Said,
    bad_account,
    bad_amount,
    bad_currency,
    bad_id,
    bad_reason,
    no_funds,
    transfer,
)
from handlers.payment.state import Account, account_of, moved
from handlers.payment.tables import MAX_BALANCE, PriceList
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import LedgerEntry

MINT: Final = "mint"
MARKET: Final = "market"


def opening(prices: PriceList, event: Event, player: str, account: Account) -> tuple[tuple[Message, ...], Account]:
    """The events that begin an account, and the account then: the opening gifts of the price list."""
    own = account_of(player)
    gifts = {currency: amount for currency, amount in prices.currencies.items() if amount}
    if not gifts:
        return (said.AccountOpened(account=own),), account
    legs = [(name, currency, sign * amount) for currency, amount in gifts.items() for name, sign in ((MINT, -1), (own, 1))]
    gift = said.TransferPosted(
        transfer_id=f"opening:{event.subsystem}:{event.id}",
        entries=[LedgerEntry(account=name, currency=currency, amount_minor=amount) for name, currency, amount in legs],
        reason="opening",
        reference=player,
    )
    return (said.AccountOpened(account=own), gift), moved(account, own, gift)


def charge(prices: PriceList, asked: Asked, it: said.ChargeRequested, account: Account) -> Said:
    """Take what a subsystem's rules ask for; the game itself charges nobody, it has the price list."""
    problem = (
        _may_not_charge(prices, asked.event)
        or bad_id(asked)
        or bad_currency(prices, it.currency)
        or bad_account(prices, it.to)
        or bad_amount(it.amount_minor)
        or bad_reason(it.reason)
    )
    amount = it.amount_minor
    if it.up_to:
        amount = min(amount, max(0, account.balance(it.currency)))
    problem = problem or no_funds(account, it.currency, amount)
    if problem:
        return (_charge_declined(asked, problem),)
    done = said.ChargeCompleted(request_id=asked.id, currency=it.currency, amount_minor=amount, to=it.to, request_digest=asked.digest)
    if not amount:
        return (done,)
    return transfer(asked.event, "charge", asked.id, it.currency, (account_of(asked.event.entity), -amount), (it.to, amount)), done


def _may_not_charge(prices: PriceList, event: Event) -> Problem | None:
    if event.subsystem in prices.chargers:
        return None
    return Problem("NOT_ALLOWED", f"charges are for {', '.join(prices.chargers)}, found {event.subsystem}: ask for a purchase instead")


def _charge_declined(asked: Asked, problem: Problem) -> Message:
    digest = "" if problem.code == "NOT_ALLOWED" else asked.digest
    return said.ChargeDeclined(
        request_id=asked.id, code=problem.code, reason=problem.reason, request_event_id=asked.event.id, request_digest=digest
    )


def credit(prices: PriceList, asked: Asked, it: said.CreditRequested, account: Account) -> Said:
    """An operator gives money."""
    problem = bad_id(asked) or bad_reason(it.reason)
    return _credited(prices, asked, it.currency, it.amount_minor, (MINT, "credit", it.reason), account, problem)


def earned(
    prices: PriceList, event: Event, player: str, currency: str, amount: int, source: tuple[str, str, str], account: Account
) -> Said:
    """A reward or a sale of (account, kind, reference); the bus hands every event over once, so its id is name enough."""
    if not amount:
        return ()
    return _credited(prices, Asked(event, event.id, ""), currency, amount, source, account, None, player)


def _credited(
    prices: PriceList,
    asked: Asked,
    currency: str,
    amount: int,
    source: tuple[str, str, str],
    account: Account,
    problem: Problem | None,
    player: str = "",
) -> Said:
    problem = problem or bad_currency(prices, currency) or bad_amount(amount) or _full(account, currency, amount)
    if problem:
        return (_credit_declined(asked, problem),)
    giver, kind, reference = source
    granted = said.CreditGranted(
        request_id=asked.id,
        currency=currency,
        amount_minor=amount,
        source=giver,
        kind=kind,
        reference=reference[:MAX_REASON],
        request_digest=asked.digest,
    )
    legs = (giver, -amount), (account_of(player or asked.event.entity), amount)
    return transfer(asked.event, kind, reference[:MAX_REASON], currency, *legs), granted


def _full(account: Account, currency: str, amount: int) -> Problem | None:
    if account.balance(currency) + amount <= MAX_BALANCE:
        return None
    return Problem("BALANCE_FULL", f"the account may hold {MAX_BALANCE} minor units of {currency}: spend some first")


def _credit_declined(asked: Asked, problem: Problem) -> Message:
    return said.CreditDeclined(
        request_id=asked.id, code=problem.code, reason=problem.reason, request_event_id=asked.event.id, request_digest=asked.digest
    )


def line(prices: PriceList, asked: Asked, it: said.CreditLineRequested, account: Account) -> Said:
    """Move the floor of a balance; never above what is owed already."""
    problem = bad_id(asked) or bad_currency(prices, it.currency) or bad_amount(it.limit_minor, least=0)
    owed = -account.balance(it.currency)
    if problem is None and it.limit_minor < owed:
        problem = Problem("LINE_IN_USE", f"{owed} minor units of {it.currency} are owed: wanted that or more, found {it.limit_minor}")
    if problem:
        refused = said.CreditLineRefused(
            request_id=asked.id, code=problem.code, reason=problem.reason, request_event_id=asked.event.id, request_digest=asked.digest
        )
        return (refused,)
    return (said.CreditLineChanged(request_id=asked.id, currency=it.currency, limit_minor=it.limit_minor, request_digest=asked.digest),)
