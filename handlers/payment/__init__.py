"""The money of players as a handler, `payment`, and coupons as another, `coupon`.

    PurchaseRequested ──▶ TransferPosted, PurchaseCompleted │ PurchaseDeclined │ CouponClaimed ──▶ (coupon) ──▶ the same
    RefundRequested ──▶ RefundBegun, ItemReserveRequested ──▶ (inventory) ──▶ TransferPosted, RefundCompleted │ RefundDeclined
    HoldRequested ──▶ TransferPosted, HoldPlaced … HoldCaptured │ HoldReleased (asked for, or its time is over)
    QuestRewarded, SceneRewarded, BargainStruck ──▶ TransferPosted, CreditGranted        ChargeRequested ──▶ TransferPosted, ChargeCompleted
    PaymentReceived, PaymentRefunded … ──▶ ProviderPaymentNoted, TransferPosted, PackDelivered │ PackReversed │ PackRestored

The lane is the player: whatever touches a player's money is decided there, one after the other, so the balance it is decided on is the
balance. Other accounts (`house`, `mint`, `market`, `provider`, `loss`) are system accounts without a floor; their balance is what the
ledger sums up to. The rules are data: `payments(prices)` makes the handler under given ones; a game gives `payment` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.payment.coupon import coupon
from handlers.payment.credits import MARKET, MINT, charge, credit, earned, line, opening
from handlers.payment.holds import capture, place, release, woken
from handlers.payment.ledger import Answer, Said, once
from handlers.payment.provider import heard
from handlers.payment.purchases import denied, goods_back, goods_gone, honoured, purchase, refund
from handlers.payment.state import Account, evolve
from handlers.payment.tables import PriceList
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as coupons
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemReserveRefused, ItemReserveRequested, ItemsReserved
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneRewarded
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content

__all__ = ["coupon", "payment", "payments"]

REQUESTS: Final[dict[type[Message], Answer]] = {
    said.PurchaseRequested: purchase,
    said.RefundRequested: refund,
    said.ChargeRequested: charge,
    said.CreditRequested: credit,
    said.CreditLineRequested: line,
    said.HoldRequested: place,
    said.HoldCaptureRequested: capture,
    said.HoldReleaseRequested: release,
}
PROVIDER_NEWS: Final = (
    provider.PaymentReceived,
    provider.PaymentFailed,
    provider.PaymentRefunded,
    provider.PaymentDisputed,
    provider.PaymentInquired,
    provider.DisputeSettled,
)
EDGE_OF_PROVIDER: Final = "payments-provider"

# Whose word counts for events that are not requests.
_SPEAKERS: Final[dict[type[Message], str]] = {
    WakeFired: "time",
    PlayerArrived: "player",
    coupons.CouponHonoured: "coupon",
    coupons.CouponDenied: "coupon",
    QuestRewarded: "quest",
    SceneRewarded: "narrative",
    BargainStruck: "broker",
    ItemsReserved: "inventory",
    ItemReserveRefused: "inventory",
    **dict.fromkeys(PROVIDER_NEWS, EDGE_OF_PROVIDER),
}


def entities(event: Event) -> Sequence[str]:
    """A request concerns the player it is said about; other events the player they name, if whoever may say them said them."""
    speaker = _SPEAKERS.get(type(event.data), event.subsystem)
    if event.subsystem != speaker:
        return ()
    if isinstance(event.data, ItemsReserved | ItemReserveRefused):
        return (event.data.holder_entity,) if event.data.holder == "payment" else ()
    return (_player(event),) if event.kind != "WakeFired" or event.data.subsystem == "payment" else ()  # type: ignore[attr-defined]


def _player(event: Event) -> str:
    match event.data:
        case WakeFired() as it:
            return it.entity
        case coupons.CouponHonoured() | coupons.CouponDenied() | QuestRewarded() | SceneRewarded() as it:
            return it.player
        case _:
            return event.entity


def decide(prices: PriceList, event: Event, account: Account) -> Said:
    """The answer to `event`; an account that is not open yet is opened first."""
    if account.opened:
        return _decide(prices, event, account)
    begun, account = opening(prices, event, _player(event), account)
    answer = _decide(prices, event, account)
    return (*begun, *answer) if answer or isinstance(event.data, PlayerArrived) else ()


def _decide(prices: PriceList, event: Event, account: Account) -> Said:
    answer = REQUESTS.get(type(event.data))
    if answer is not None:
        return once(answer, prices, event, account)
    match event.data:
        case WakeFired() as it:
            return woken(it, event, account)
        case coupons.CouponHonoured() as it:
            return honoured(prices, event, it, account)
        case coupons.CouponDenied() as it:
            return denied(event, it, account)
        case ItemsReserved() as it:
            return goods_back(event, it, account)
        case ItemReserveRefused() as it:
            return goods_gone(event, it, account)
        case PlayerArrived():
            return ()
        case QuestRewarded() as it:
            return earned(prices, event, it.player, it.currency, it.amount_minor, (MINT, "reward", it.quest), account)
        case SceneRewarded() as it:
            return earned(prices, event, it.player, it.currency, it.amount_minor, (MINT, "reward", it.scene), account)
        case BargainStruck() as it:
            return earned(prices, event, event.entity, it.currency, it.price_minor, (MARKET, "sale", it.good), account)
        case it:
            return heard(prices, event, it, account)  # type: ignore[arg-type]


payment: Final[ByWorld[Content]] = ByWorld(
    name="payment",
    listens_to=(*REQUESTS, *_SPEAKERS),
    emits=(
        said.AccountOpened,
        said.TransferPosted,
        said.PurchaseCompleted,
        said.PurchaseDeclined,
        said.RefundBegun,
        said.RefundCompleted,
        said.RefundDeclined,
        said.ChargeCompleted,
        said.ChargeDeclined,
        said.CreditGranted,
        said.CreditDeclined,
        said.CreditLineChanged,
        said.CreditLineRefused,
        said.HoldPlaced,
        said.HoldDeclined,
        said.HoldCaptured,
        said.HoldReleased,
        said.PaymentRequestRepeated,
        said.PaymentRequestConflicted,
        coupons.CouponClaimed,
        coupons.CouponReturned,
        ItemReserveRequested,
        provider.ProviderPaymentNoted,
        provider.PackDelivered,
        provider.PackReversed,
        provider.PackRestored,
        provider.PackRefused,
        provider.PackPriceDiffered,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: payments(content.prices, content.bounds),
)


def payments(prices: PriceList, bounds: Bounds = UNBOUNDED) -> Handler[Account]:
    """The handler under the given price list."""
    handler = payment.with_rules(
        initial=lambda entity: Account(),
        decide=partial(decide, prices),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
