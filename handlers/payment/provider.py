"""Real payments: what the provider says may come in any order and twice; what the player has in the end depends only on what was said.

From all that is known of a payment follows how much of its pack the player is entitled to. Each piece of news is noted, and the difference
to what was given so far is given or taken back. What the player had already spent cannot be taken back: it is written off as a loss, and
recovered first if the money comes after all.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.book import find
from handlers.payment.ledger import MAX_REQUEST_ID, Problem, Said, transfer
from handlers.payment.state import Account, Real, account_of
from handlers.payment.tables import MAX_AMOUNT, MAX_BALANCE, Pack, PriceList
from schemas.gen.worldbus.payment.v1 import provider_pb2 as said

PROVIDER: Final = "provider"
LOSS: Final = "loss"
MAX_DISPUTES: Final = 16  # of one payment

News = said.PaymentReceived | said.PaymentFailed | said.PaymentRefunded | said.PaymentDisputed | said.DisputeSettled


def heard(prices: PriceList, event: Event, it: News, account: Account) -> Said:
    """Note the news, and give or take what follows from it."""
    known = find(account.payments, it.payment_id) or Real()
    if problem := _bad_news(prices, it, known):
        return (_refused(it, problem),)
    now = learned(known, it)
    if now == known:
        return ()
    return (_noted(it.payment_id, now), *_consequence(prices, event, it, now, account))


def learned(known: Real, it: News) -> Real:
    """What is known after the news. The order of news does not matter: later figures are larger, and settled stays settled."""
    match it:
        case said.PaymentReceived():
            return known._replace(pack=it.pack, paid=it.paid_minor)
        case said.PaymentRefunded():
            return known._replace(refunded=max(known.refunded, it.refunded_minor))
        case said.PaymentDisputed():
            over = it.dispute_id in (*known.open, *known.won, *known.lost)
            return known if over else known._replace(open=_with(known.open, it.dispute_id))
        case said.DisputeSettled():
            if it.dispute_id in (*known.won, *known.lost):
                return known
            still = tuple(one for one in known.open if one != it.dispute_id)
            if it.won:
                return known._replace(open=still, won=_with(known.won, it.dispute_id))
            return known._replace(open=still, lost=_with(known.lost, it.dispute_id))
        case said.PaymentFailed():
            return known._replace(failed=True)


def _with(ids: tuple[str, ...], one: str) -> tuple[str, ...]:
    return tuple(sorted((*ids, one)))


def entitled(pack: Pack | None, known: Real) -> int:
    """How much virtual money a payment is good for: the share not refunded; nothing while a dispute is open, or after one was lost."""
    if pack is None or not known.pack or known.open or known.lost:
        return 0
    kept = max(0, known.paid - known.refunded)
    return pack.amount_minor * kept // known.paid if known.paid else 0


def _bad_news(prices: PriceList, it: News, known: Real) -> Problem | None:
    if not 1 <= len(it.payment_id) <= MAX_REQUEST_ID:
        return Problem("BAD_PAYMENT", f"payment_id must have 1 to {MAX_REQUEST_ID} characters, found {len(it.payment_id)}")
    if isinstance(it, said.PaymentReceived):
        return _bad_receipt(prices, it, known)
    if isinstance(it, said.PaymentRefunded) and not 0 <= it.refunded_minor <= MAX_AMOUNT:
        return Problem("BAD_PAYMENT", f"refunded_minor must be 0 to {MAX_AMOUNT}, found {it.refunded_minor}")
    if isinstance(it, said.PaymentDisputed | said.DisputeSettled):
        seen = (*known.open, *known.won, *known.lost)
        if not 1 <= len(it.dispute_id) <= MAX_REQUEST_ID or (it.dispute_id not in seen and len(seen) >= MAX_DISPUTES):
            return Problem("BAD_PAYMENT", f"wanted a dispute_id of 1 to {MAX_REQUEST_ID} characters, at most {MAX_DISPUTES} per payment")
    return None


def _bad_receipt(prices: PriceList, it: said.PaymentReceived, known: Real) -> Problem | None:
    pack = prices.packs.get(it.pack)
    if pack is None:
        return Problem("UNKNOWN_PACK", f"the price list has no pack {ascii(it.pack)[:80]}: give the money back, or add the pack and replay")
    if pack.prices.get(it.paid_currency) != it.paid_minor:
        wanted = " or ".join(f"{price} {real}" for real, price in pack.prices.items())
        return Problem(
            "WRONG_PRICE", f"{it.pack} costs {wanted}, found {it.paid_minor} {ascii(it.paid_currency)[:20]}: give the money back"
        )
    if known.pack and (known.pack, known.paid) != (it.pack, it.paid_minor):
        return Problem("PAYMENT_CHANGED", f"this payment was for {known.pack} before, found {it.pack}: look at it at the provider's")
    return None


def _refused(it: News, problem: Problem) -> Message:
    return said.PackRefused(
        payment_id=it.payment_id[:MAX_REQUEST_ID], code=problem.code, reason=problem.reason, provider_event_id=it.provider_event_id
    )


def _noted(payment_id: str, now: Real) -> Message:
    return said.ProviderPaymentNoted(
        payment_id=payment_id,
        pack=now.pack,
        paid_minor=now.paid,
        refunded_minor=now.refunded,
        disputes_open=now.open,
        disputes_won=now.won,
        disputes_lost=now.lost,
        failed=now.failed,
    )


def _consequence(prices: PriceList, event: Event, it: Any, now: Real, account: Account) -> Said:
    pack = prices.packs.get(now.pack)
    if pack is None:
        return ()
    due = entitled(pack, now) - now.given
    if due < 0:
        return _taken_back(event, it.payment_id, pack.currency, -due, "disputed" if now.open or now.lost else "refunded", account)
    if due == 0:
        return ()
    if account.balance(pack.currency) + due > MAX_BALANCE:
        reason = f"the account may hold {MAX_BALANCE} minor units of {pack.currency}: give the money back"
        return (_refused(it, Problem("BALANCE_FULL", reason)),)
    return _given(event, it.payment_id, pack, now, due)


def _given(event: Event, payment_id: str, pack: Pack, now: Real, due: int) -> Said:
    recovered = min(due, now.written_off)
    player = due - recovered
    legs = (PROVIDER, -due), (LOSS, recovered), (account_of(event.entity), player)
    if isinstance(event.data, said.PaymentReceived):
        delivered = said.PackDelivered(payment_id=payment_id, pack=now.pack, currency=pack.currency, amount_minor=due)
        return transfer(event, "pack", payment_id, pack.currency, *legs), delivered
    restored = said.PackRestored(payment_id=payment_id, currency=pack.currency, amount_minor=player, recovered_minor=recovered)
    return transfer(event, "restored", payment_id, pack.currency, *legs), restored


def _taken_back(event: Event, payment_id: str, currency: str, amount: int, cause: str, account: Account) -> Said:
    there = min(amount, max(0, account.balance(currency)))
    legs = (account_of(event.entity), -there), (LOSS, there - amount), (PROVIDER, amount)
    back = said.PackReversed(payment_id=payment_id, currency=currency, amount_minor=there, written_off_minor=amount - there, cause=cause)
    return transfer(event, "reversal", payment_id, currency, *legs), back
