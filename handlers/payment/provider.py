"""Real payments: what the provider says may come in any order and twice; what the player has in the end depends only on what was said.

From all that is known of a payment (`handlers.payment.real`) follows how much of its pack the player is entitled to. Each piece of news is
noted, and the difference to what was given so far is given or taken back. What the player had already spent cannot be taken back: it is
written off as a loss, and recovered first if the money comes after all.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.book import find
from handlers.payment.ledger import MAX_REQUEST_ID, Problem, Said, transfer
from handlers.payment.real import MAX_DISPUTES, MAX_REFUNDS, REFUND_STATES, News, Real, entitled, learned
from handlers.payment.state import Account, account_of
from handlers.payment.tables import MAX_AMOUNT, MAX_BALANCE, Pack, PriceList
from schemas.gen.worldbus.payment.v1 import provider_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import ProviderDispute, ProviderRefund

PROVIDER: Final = "provider"
LOSS: Final = "loss"
SECOND_NS: Final = 10**9


def heard(prices: PriceList, event: Event, it: News, account: Account) -> Said:
    """Note the news, and give or take what follows from it."""
    known = find(account.payments, it.payment_id) or Real()
    if problem := _bad_news(prices, it, known):
        return (_refused(it, problem),)
    now = learned(known, it, event.time_ns // SECOND_NS)
    if now == known:
        return ()
    return (_noted(it.payment_id, now), *_differed(prices, it, known), *_consequence(prices, event, it, now, account))


def _bad_news(prices: PriceList, it: News, known: Real) -> Problem | None:
    if not 1 <= len(it.payment_id) <= MAX_REQUEST_ID:
        return Problem("BAD_PAYMENT", f"payment_id must have 1 to {MAX_REQUEST_ID} characters, found {len(it.payment_id)}")
    match it:
        case said.PaymentReceived():
            return _bad_receipt(prices, it, known)
        case said.PaymentRefunded():
            return _bad_refund(it, known)
        case said.PaymentDisputed():
            return _bad_dispute(it.dispute_id, it.amount_minor, known)
        case said.DisputeSettled():
            return _bad_dispute(it.dispute_id, it.lost_minor, known)
        case said.PaymentInquired():
            return _bad_dispute(it.inquiry_id, 0, known)
        case _:
            return None


def _bad_refund(it: said.PaymentRefunded, known: Real) -> Problem | None:
    amounts = [it.refunded_minor, *(one.amount_minor for one in it.refunds)]
    if not all(0 <= amount <= MAX_AMOUNT for amount in amounts):
        return Problem("BAD_PAYMENT", f"amounts of refunds must be 0 to {MAX_AMOUNT} minor units, found {amounts[:10]}")
    ids = {one.refund_id for one in it.refunds}
    if not all(1 <= len(one) <= MAX_REQUEST_ID for one in ids) or len(ids | {one.id for one in known.refunds}) > MAX_REFUNDS:
        return Problem("BAD_PAYMENT", f"wanted refund_ids of 1 to {MAX_REQUEST_ID} characters, at most {MAX_REFUNDS} of one payment")
    strange = [one.state for one in it.refunds if one.state not in REFUND_STATES]
    if strange:
        return Problem("BAD_PAYMENT", f"the state of a refund is {', '.join(REFUND_STATES)}, found {ascii(strange[0])[:40]}")
    return None


def _bad_dispute(dispute_id: str, amount: int, known: Real) -> Problem | None:
    ids = {dispute_id, *(one.id for one in known.disputes)}
    if not 1 <= len(dispute_id) <= MAX_REQUEST_ID or len(ids) > MAX_DISPUTES:
        return Problem("BAD_PAYMENT", f"wanted a dispute_id of 1 to {MAX_REQUEST_ID} characters, at most {MAX_DISPUTES} of one payment")
    if not 0 <= amount <= MAX_AMOUNT:
        return Problem("BAD_PAYMENT", f"the amount of a dispute must be 0 to {MAX_AMOUNT} minor units, found {amount}")
    return None


def _bad_receipt(prices: PriceList, it: said.PaymentReceived, known: Real) -> Problem | None:
    pack = prices.packs.get(it.pack)
    if pack is None:
        return Problem(
            "UNKNOWN_PACK", f"the price list has no pack {ascii(it.pack)[:80]}: give the money back, or credit the player yourself"
        )
    price, found = pack.prices.get(it.paid_currency), it.subtotal_minor or it.paid_minor
    if price is None or found < price or not 1 <= it.paid_minor <= MAX_AMOUNT:
        wanted = " or ".join(f"{price} {real}" for real, price in pack.prices.items())
        paid = f"{it.paid_minor} {ascii(it.paid_currency)[:20]}"
        return Problem("WRONG_PRICE", f"{it.pack} costs {wanted}, found {paid}: give the money back, or credit the player yourself")
    if known.pack and (known.pack, known.paid) != (it.pack, it.paid_minor):
        reason = f"this payment was {known.paid} for {known.pack} before, found {it.paid_minor} for {it.pack}: look at it at the provider's"
        return Problem("PAYMENT_CHANGED", reason)
    return None


def _differed(prices: PriceList, it: News, known: Real) -> Said:
    """Word of a pack that is delivered although its price was not what was paid, once for a payment."""
    if not isinstance(it, said.PaymentReceived) or known.pack:
        return ()
    price = prices.packs[it.pack].prices[it.paid_currency]
    if it.paid_minor == price or (prices.taxed_on_top and _taxes_explain(it, price)):
        return ()
    taxes = f"taxes {'on top' if prices.taxed_on_top else 'included'}"
    reason = (
        f"{it.pack} costs {price} {it.paid_currency}, {taxes}; found {it.paid_minor}: delivered, but look at the price list and its `tax`"
    )
    return (
        said.PackPriceDiffered(
            payment_id=it.payment_id,
            pack=it.pack,
            paid_currency=it.paid_currency,
            paid_minor=it.paid_minor,
            price_minor=price,
            subtotal_minor=it.subtotal_minor,
            tax_minor=it.tax_minor,
            reason=reason,
            provider_event_id=it.provider_event_id,
        ),
    )


def _taxes_explain(it: said.PaymentReceived, price: int) -> bool:
    """True if the taxes that are said make up the difference; where nothing is said of them, all beyond the price is taxes."""
    return it.paid_minor - price == it.tax_minor if it.subtotal_minor or it.tax_minor else it.paid_minor > price


def _refused(it: News, problem: Problem) -> Message:
    refused = said.PackRefused(
        payment_id=it.payment_id[:MAX_REQUEST_ID], code=problem.code, reason=problem.reason, provider_event_id=it.provider_event_id
    )
    if isinstance(it, said.PaymentReceived):
        refused.pack, refused.paid_minor, refused.paid_currency = it.pack[:MAX_REQUEST_ID], it.paid_minor, it.paid_currency[:MAX_REQUEST_ID]
    return refused


def _noted(payment_id: str, now: Real) -> Message:
    return said.ProviderPaymentNoted(
        payment_id=payment_id,
        pack=now.pack,
        paid_minor=now.paid,
        paid_currency=now.currency,
        refunded_minor=now.refunded,
        reported_minor=now.reported,
        refunds=[ProviderRefund(refund_id=one.id, amount_minor=one.amount, state=one.state) for one in now.refunds],
        disputes_open=now.open,
        disputes_won=[one.id for one in now.disputes if one.state == "won"],
        disputes_lost=now.lost,
        disputes=[
            ProviderDispute(dispute_id=one.id, state=one.state, amount_minor=one.amount, currency=one.currency, said_unix_s=one.at_s)
            for one in now.disputes
        ],
        failed=now.failed,
    )


def _consequence(prices: PriceList, event: Event, it: Any, now: Real, account: Account) -> Said:
    pack = prices.packs.get(now.pack)
    if pack is None:
        return ()
    due = entitled(pack, now) - now.given
    if due < 0:
        cause = "refunded" if isinstance(it, said.PaymentRefunded) else "disputed"
        return _taken_back(event, it.payment_id, pack.currency, -due, cause, account)
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
    restored = said.PackRestored(
        payment_id=payment_id,
        currency=pack.currency,
        amount_minor=player,
        recovered_minor=recovered,
        cause="refund_failed" if isinstance(event.data, said.PaymentRefunded) else "",
    )
    return transfer(event, "restored", payment_id, pack.currency, *legs), restored


def _taken_back(event: Event, payment_id: str, currency: str, amount: int, cause: str, account: Account) -> Said:
    there = min(amount, max(0, account.balance(currency)))
    legs = (account_of(event.entity), -there), (LOSS, there - amount), (PROVIDER, amount)
    back = said.PackReversed(payment_id=payment_id, currency=currency, amount_minor=there, written_off_minor=amount - there, cause=cause)
    return transfer(event, "reversal", payment_id, currency, *legs), back
