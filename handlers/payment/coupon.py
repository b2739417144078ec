"""Coupons as a handler, `coupon`: the entity is the code, and its uses are counted over all players.

CouponDefinitionRequested ──▶ CouponDefined │ CouponDefinitionRefused … CouponExpired │ CouponWithdrawn
CouponClaimed (payment) ──▶ CouponHonoured │ CouponDenied                CouponReturned (payment) ──▶ CouponRestored
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.book import Book, blank, find, put
from handlers.names import NAME_RULE, is_token
from handlers.payment.ledger import MAX_REASON, Problem, Said
from handlers.payment.tables import MAX_AMOUNT, SKU_RULE, is_sku
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content

MAX_SKUS: Final = 64
MAX_COUNT: Final = 10**9
EXPIRY: Final = "expiry"  # name of the wake
PAGES: Final = 256  # a coupon may be known to all players of a world


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """One coupon; not `defined` before its definition. `ended` is `expired` or `withdrawn` once it is."""

    defined: bool = False
    percent: int = 0
    amount: int = 0
    currency: str = ""
    expires_ms: int = 0
    per_player: int = 0
    in_total: int = 0
    skus: tuple[str, ...] = ()
    ended: str = ""
    used: int = 0
    by_player: Book[int] = field(default_factory=lambda: blank(PAGES))


def decide(event: Event, coupon: Coupon) -> Said:
    """The answer of the coupon to a claim or a return."""
    match event.data:
        case said.CouponClaimed() as it:
            return _claimed(event, it, coupon)
        case said.CouponReturned() as it if coupon.used:
            return (said.CouponRestored(player=event.entity, request_id=it.request_id, used=coupon.used - 1),)
        case said.CouponDefinitionRequested() as it:
            return _define(event, it, coupon)
        case said.CouponWithdrawalRequested() as it:
            return _withdraw(event, it, coupon)
        case WakeFired(name=name) if name == EXPIRY and coupon.defined and not coupon.ended:
            return (said.CouponExpired(used=coupon.used),)
        case _:
            return ()


def _claimed(event: Event, it: said.CouponClaimed, coupon: Coupon) -> Said:
    player = event.entity
    if problem := _not_good(it, player, coupon):
        return (said.CouponDenied(player=player, request_id=it.request_id, code=problem.code, reason=problem.reason),)
    return (
        said.CouponHonoured(
            player=player, request_id=it.request_id, percent=coupon.percent, amount_minor=coupon.amount, used=coupon.used + 1
        ),
    )


def _not_good(it: said.CouponClaimed, player: str, coupon: Coupon) -> Problem | None:
    if not coupon.defined:
        return Problem("COUPON_UNKNOWN", f"there is no coupon {it.coupon}: is it spelled right?")
    if coupon.ended:
        return Problem(
            f"COUPON_{coupon.ended.upper()}", f"coupon {it.coupon} has {'' if coupon.ended == 'expired' else 'been '}{coupon.ended}"
        )
    if coupon.currency and coupon.currency != it.currency:
        return Problem("COUPON_WRONG_CURRENCY", f"coupon {it.coupon} is for {coupon.currency}, the purchase is in {it.currency}")
    if coupon.skus and it.sku not in coupon.skus:
        return Problem("COUPON_WRONG_SKU", f"coupon {it.coupon} is for {', '.join(coupon.skus)}, not for {it.sku}")
    if coupon.in_total and coupon.used >= coupon.in_total:
        return Problem("COUPON_USED_UP", f"coupon {it.coupon} was good for {coupon.in_total} purchases, and all of them were made")
    if coupon.per_player and (find(coupon.by_player, player) or 0) >= coupon.per_player:
        return Problem("COUPON_LIMIT_REACHED", f"coupon {it.coupon} is good for {coupon.per_player} purchases of one player")
    return None


def _define(event: Event, it: said.CouponDefinitionRequested, coupon: Coupon) -> Said:
    problem = _bad_definition(it)
    if problem is None and coupon.defined:
        if _same(it, coupon):
            return ()
        problem = Problem("ALREADY_DEFINED", f"coupon {event.entity} was defined otherwise: withdraw it and choose another code")
    if problem:
        return _refused(event, problem)
    defined = said.CouponDefined(
        percent=it.percent,
        amount_minor=it.amount_minor,
        currency=it.currency,
        expires_world_ms=it.expires_world_ms,
        per_player=it.per_player,
        in_total=it.in_total,
        skus=it.skus,
    )
    return (defined, WakeRequested(name=EXPIRY, at_world_ms=it.expires_world_ms)) if it.expires_world_ms else (defined,)


def _same(it: said.CouponDefinitionRequested, coupon: Coupon) -> bool:
    asked = (it.percent, it.amount_minor, it.currency, it.expires_world_ms, it.per_player, it.in_total, tuple(it.skus))
    there = (coupon.percent, coupon.amount, coupon.currency, coupon.expires_ms, coupon.per_player, coupon.in_total, coupon.skus)
    return asked == there


def _bad_definition(it: said.CouponDefinitionRequested) -> Problem | None:
    if (it.percent != 0) == (it.amount_minor != 0):
        return Problem("PERCENT_OR_AMOUNT", f"wanted either percent or amount_minor, found {it.percent} and {it.amount_minor}")
    if not 0 <= it.percent <= 100:
        return Problem("BAD_PERCENT", f"percent must be 1 to 100, found {it.percent}")
    if not 0 <= it.amount_minor <= MAX_AMOUNT:
        return Problem("BAD_AMOUNT", f"amount_minor must be 1 to {MAX_AMOUNT}, found {it.amount_minor}")
    if (it.amount_minor or it.currency) and not is_token(it.currency):
        return Problem("BAD_CURRENCY", f"an amount needs a currency of {NAME_RULE}, found {ascii(it.currency)[:80]}")
    if not (0 <= it.per_player <= MAX_COUNT and 0 <= it.in_total <= MAX_COUNT):
        return Problem("BAD_LIMIT", f"limits must be 0 to {MAX_COUNT}, found {it.per_player} per player and {it.in_total} in total")
    if it.expires_world_ms < 0:
        return Problem("BAD_EXPIRY", f"expires_world_ms must be 0 or more, found {it.expires_world_ms}")
    if len(it.skus) > MAX_SKUS or not all(map(is_sku, it.skus)):
        return Problem("BAD_SKUS", f"wanted at most {MAX_SKUS} items, each {SKU_RULE}")
    return None


def _withdraw(event: Event, it: said.CouponWithdrawalRequested, coupon: Coupon) -> Said:
    if not coupon.defined:
        return _refused(event, Problem("NOT_DEFINED", f"there is no coupon {event.entity} to withdraw"))
    if coupon.ended:
        return ()
    withdrawn = said.CouponWithdrawn(reason=it.reason[:MAX_REASON])
    return (withdrawn, WakeCancelRequested(name=EXPIRY)) if coupon.expires_ms else (withdrawn,)


def _refused(event: Event, problem: Problem) -> Said:
    return (said.CouponDefinitionRefused(code=problem.code, reason=problem.reason, request_event_id=event.id),)


def evolve(coupon: Coupon, event: Event) -> Coupon:
    """The coupon after the handler said `event`."""
    match event.data:
        case said.CouponHonoured() as it:
            return _counted(coupon, it.player, 1, it.used)
        case said.CouponRestored() as it:
            return _counted(coupon, it.player, -1, it.used)
        case said.CouponDefined() as it:
            return replace(
                coupon,
                defined=True,
                percent=it.percent,
                amount=it.amount_minor,
                currency=it.currency,
                expires_ms=it.expires_world_ms,
                per_player=it.per_player,
                in_total=it.in_total,
                skus=tuple(it.skus),
            )
        case said.CouponExpired():
            return replace(coupon, ended="expired")
        case said.CouponWithdrawn():
            return replace(coupon, ended="withdrawn")
        case _:
            return coupon


def _counted(coupon: Coupon, player: str, by: int, used: int) -> Coupon:
    count = (find(coupon.by_player, player) or 0) + by
    return replace(coupon, used=used, by_player=put(coupon.by_player, player, count))


def entities(event: Event) -> Sequence[str]:
    """Payment's claims concern the coupon they name, a wake the one it was asked for, everything else the one it is said about."""
    match event.data:
        case said.CouponClaimed() | said.CouponReturned() as it:
            return (it.coupon,) if event.subsystem == "payment" and is_token(it.coupon) else ()
        case WakeFired() as it:
            return (it.entity,) if it.subsystem == "coupon" and event.subsystem == "time" else ()
        case _:
            return (event.entity,)


coupon: Final[ByWorld[Content]] = ByWorld(
    name="coupon",
    listens_to=(said.CouponClaimed, said.CouponReturned, said.CouponDefinitionRequested, said.CouponWithdrawalRequested, WakeFired),
    emits=(
        said.CouponHonoured,
        said.CouponDenied,
        said.CouponRestored,
        said.CouponDefined,
        said.CouponDefinitionRefused,
        said.CouponWithdrawn,
        said.CouponExpired,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: coupons(content.bounds),
)


def coupons(bounds: Bounds = UNBOUNDED) -> Handler[Coupon]:
    """The handler; reports are believed within `bounds`."""
    handler = coupon.with_rules(
        initial=lambda entity: Coupon(),
        decide=decide,
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
