"""Purchases from the price list, with or without a coupon, and their refunds."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.book import find
from handlers.names import NAME_RULE, is_token
from handlers.payment.ledger import MAX_NAME, MAX_REQUEST_ID, Asked, Problem, Said, bad_id, bad_reason, frozen, no_funds, transfer
from handlers.payment.state import Account, Purchase, Wanted, account_of
from handlers.payment.tables import MAX_BALANCE, PAY, Item, PriceList
from handlers.permissions import OPERATOR
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as coupons
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemReserveRefused, ItemReserveRequested, ItemsReserved
from schemas.gen.worldbus.inventory.v1.types_pb2 import Pieces
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import GrantedItem

MAX_PENDING: Final = 16  # purchases of one player that wait for their coupons
HOUSE: Final = "house"


def purchase(prices: PriceList, asked: Asked, it: said.PurchaseRequested, account: Account) -> Said:
    """Buy, or ask whether the coupon is good."""
    quantity = it.quantity or 1
    item = prices.items.get(it.sku)
    problem = bad_id(asked) or _bad_order(prices, it, quantity) or frozen(account) or _bad_coupon(it, account)
    if problem:
        return _declined(asked.event, asked.id, it.sku, asked.digest, problem)
    assert item is not None  # _bad_order
    currency = it.currency or next(iter(item.prices))
    wanted = Wanted(asked.digest, it.sku, quantity, currency, item.prices[currency] * quantity, it.coupon)
    if it.coupon:
        return (_claim(asked.id, wanted),)
    return _settled(asked.event, item, asked.id, wanted, 0, account)


def _bad_order(prices: PriceList, it: said.PurchaseRequested, quantity: int) -> Problem | None:
    item = prices.items.get(it.sku)
    if item is None:
        return Problem("UNKNOWN_SKU", f"the price list has no item {ascii(it.sku)[:80]}")
    if not 1 <= quantity <= item.most:
        return Problem("BAD_QUANTITY", f"quantity of {it.sku} must be 1 to {item.most}, found {quantity}")
    if it.currency and it.currency not in item.prices:
        return Problem("NOT_SOLD_FOR", f"{it.sku} is sold for {' or '.join(item.prices)}, found {ascii(it.currency)[:80]}")
    return None


def _bad_coupon(it: said.PurchaseRequested, account: Account) -> Problem | None:
    if not it.coupon:
        return None
    if not is_token(it.coupon):
        return Problem("BAD_COUPON", f"coupon must be {NAME_RULE}, found {ascii(it.coupon)[:80]}")
    if len(account.wanted) >= MAX_PENDING:
        return Problem("TOO_MANY_PENDING", f"{MAX_PENDING} purchases wait for their coupons: wait for an answer first")
    return None


def _claim(request: str, wanted: Wanted) -> Message:
    return coupons.CouponClaimed(
        coupon=wanted.coupon,
        request_id=request,
        sku=wanted.sku,
        quantity=wanted.quantity,
        currency=wanted.currency,
        price_minor=wanted.price,
        request_digest=wanted.digest,
    )


def honoured(prices: PriceList, event: Event, it: coupons.CouponHonoured, account: Account) -> Said:
    """The coupon is good: buy with the discount, or give the use back."""
    wanted = account.wanted.get(it.request_id)
    if wanted is None or wanted.coupon != event.entity:
        return ()
    item = prices.items.get(wanted.sku)
    if item is None:  # sold no longer
        problem = Problem("UNKNOWN_SKU", f"the price list has no item {wanted.sku} any more")
        return _declined(event, it.request_id, wanted.sku, wanted.digest, problem, wanted.coupon)
    off = it.amount_minor + wanted.price * it.percent // 100
    return _settled(event, item, it.request_id, wanted, min(off, wanted.price), account)


def denied(event: Event, it: coupons.CouponDenied, account: Account) -> Said:
    """The coupon is not good: the purchase is declined for the coupon's reason."""
    wanted = account.wanted.get(it.request_id)
    if wanted is None or wanted.coupon != event.entity:
        return ()
    return _declined(event, it.request_id, wanted.sku, wanted.digest, Problem(it.code, it.reason))


def _settled(event: Event, item: Item, request: str, wanted: Wanted, discount: int, account: Account) -> Said:
    charged = wanted.price - discount
    if problem := frozen(account) or no_funds(account, wanted.currency, charged):
        return _declined(event, request, wanted.sku, wanted.digest, problem, wanted.coupon)
    bought = said.PurchaseCompleted(
        request_id=request,
        sku=wanted.sku,
        quantity=wanted.quantity,
        currency=wanted.currency,
        price_minor=wanted.price,
        discount_minor=discount,
        charged_minor=charged,
        coupon=wanted.coupon,
        items=_items(item, wanted.quantity),
        request_digest=wanted.digest,
    )
    if not charged:
        return (bought,)
    return transfer(event, "purchase", request, wanted.currency, (account_of(event_player(event)), -charged), (HOUSE, charged)), bought


def event_player(event: Event) -> str:
    """The player whose lane decides: the one a coupon's answer names, otherwise the event's entity."""
    it = event.data
    return it.player if isinstance(it, coupons.CouponHonoured | coupons.CouponDenied) else event.entity


def _items(item: Item, quantity: int) -> list[GrantedItem]:
    return [GrantedItem(sku=sku, quantity=pieces * quantity) for sku, pieces in item.gives.items()]


def _declined(event: Event, request: str, sku: str, digest: str, problem: Problem, coupon: str = "") -> Said:
    declined = said.PurchaseDeclined(
        request_id=request, sku=sku[:MAX_NAME], code=problem.code, reason=problem.reason, request_event_id=event.id, request_digest=digest
    )
    return (declined, coupons.CouponReturned(coupon=coupon, request_id=request)) if coupon else (declined,)


def refund(prices: PriceList, asked: Asked, it: said.RefundRequested, account: Account) -> Said:
    """Give back what a purchase cost, or a part of it; never more than was charged, however often it is asked."""
    bought = find(account.purchases, it.purchase_id)
    problem = (
        bad_id(asked)
        or bad_reason(it.reason)
        or _not_refundable(prices, it, bought, account)
        or _in_parts(asked, it)
        or _under_way(it.purchase_id, account)
    )
    if problem:
        return _refund_declined(asked, it.purchase_id, problem)
    assert bought is not None  # _not_refundable
    amount = it.amount_minor or bought.charged - bought.refunded
    item = prices.items.get(bought.sku)
    goods = _items(item, bought.quantity) if item and bought.refunded + amount == bought.charged else []
    if not goods or prices.refund_used == PAY:
        return _paid_back(asked, it.purchase_id, bought, amount, goods)
    return (
        said.RefundBegun(request_id=asked.id, purchase_id=it.purchase_id, amount_minor=amount, request_digest=asked.digest),
        ItemReserveRequested(
            owner=asked.event.entity, reference=it.purchase_id, items=[Pieces(sku=one.sku, quantity=one.quantity) for one in goods]
        ),
    )


def _in_parts(asked: Asked, it: said.RefundRequested) -> Problem | None:
    """A part of the money back, and the goods kept, is for an operator to grant."""
    if not it.amount_minor or asked.event.subsystem == OPERATOR:
        return None
    return Problem("BAD_AMOUNT", f"a player gives back the whole purchase: leave amount_minor out, found {it.amount_minor}")


def _under_way(purchase: str, account: Account) -> Problem | None:
    if purchase not in account.returning:
        return None
    return Problem("REFUND_UNDER_WAY", f"the goods of {ascii(purchase)[:80]} are being taken back: wait for that answer")


def _paid_back(asked: Asked, purchase: str, bought: Purchase, amount: int, goods: list[GrantedItem]) -> Said:
    refunded = bought.refunded + amount
    whole = refunded == bought.charged
    done = said.RefundCompleted(
        request_id=asked.id,
        purchase_id=purchase,
        currency=bought.currency,
        amount_minor=amount,
        refunded_minor=refunded,
        whole=whole,
        items=goods if whole else [],
        request_digest=asked.digest,
    )
    if not amount:
        return (done,)
    back = (HOUSE, -amount), (account_of(asked.event.entity), amount)
    return transfer(asked.event, "refund", purchase, bought.currency, *back), done


def goods_back(event: Event, it: ItemsReserved, account: Account) -> Said:
    """The goods of a refund are there: the money goes back, and the inventory takes them."""
    begun, bought = account.returning.get(it.reference), find(account.purchases, it.reference)
    if begun is None or bought is None:
        return ()
    goods = [GrantedItem(sku=one.sku, quantity=one.quantity) for one in it.items]
    return _paid_back(Asked(event, begun.request, begun.digest), it.reference, bought, begun.amount, goods)


def goods_gone(event: Event, it: ItemReserveRefused, account: Account) -> Said:
    """Not all of the goods are there any more: no refund, by the world's policy."""
    begun = account.returning.get(it.reference)
    if begun is None:
        return ()
    problem = Problem("USED", f"the goods of {ascii(it.reference)[:80]} are not all there to give back: {it.reason}")
    return _refund_declined(Asked(event, begun.request, begun.digest), it.reference, problem)


def _not_refundable(prices: PriceList, it: said.RefundRequested, bought: Purchase | None, account: Account) -> Problem | None:
    if bought is None:
        return Problem("UNKNOWN_PURCHASE", f"wanted the request_id of a completed purchase, found {ascii(it.purchase_id)[:80]}")
    if bought.sku in prices.items and not prices.items[bought.sku].refundable:
        return Problem("NOT_REFUNDABLE", f"{bought.sku} is not taken back")
    if bought.whole:
        return Problem("ALREADY_REFUNDED", f"all {bought.charged} minor units of {bought.currency} have come back already")
    left = bought.charged - bought.refunded
    if it.amount_minor < 0:
        return Problem("BAD_AMOUNT", f"amount must be 1 or more, or 0 for all that is left, found {it.amount_minor}")
    if it.amount_minor > left:
        return Problem("MORE_THAN_CHARGED", f"at most {left} of {bought.charged} minor units can still come back, found {it.amount_minor}")
    if account.balance(bought.currency) + (it.amount_minor or left) > MAX_BALANCE:
        return Problem("BALANCE_FULL", f"the account may hold {MAX_BALANCE} minor units of {bought.currency}: spend some first")
    return None


def _refund_declined(asked: Asked, purchase: str, problem: Problem) -> Said:
    return (
        said.RefundDeclined(
            request_id=asked.id,
            purchase_id=purchase[:MAX_REQUEST_ID],
            code=problem.code,
            reason=problem.reason,
            request_event_id=asked.event.id,
            request_digest=asked.digest,
        ),
    )
