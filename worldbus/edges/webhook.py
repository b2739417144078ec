"""The contents of a payment provider's webhook, read from the objects that Stripe documents.

The type of a webhook names what happened; which event it becomes follows from the state of the object in it, so that all of a refund's or
a dispute's webhooks are read alike, whichever of them an endpoint is subscribed to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bus.errors import Rejected
from bus.event import Draft
from schemas.gen.worldbus.payment.v1 import provider_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import ProviderRefund

if TYPE_CHECKING:
    from google.protobuf.message import Message

EDGE: Final = "payments-provider"
MAX_AMOUNT: Final = 10**12  # minor units
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
REFUND_STATES: Final = frozenset({"pending", "requires_action", "succeeded", "failed", "canceled"})
INQUIRIES: Final = "warning_"
"""Beginning of the states of a dispute while it is none yet."""


class BadWebhook(Rejected):
    """Signed, but not what the provider documents."""

    code = "BAD_WEBHOOK"


class Owner(NamedTuple):
    """The world and the player that a payment belongs to."""

    world: str
    player: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """The contents of a webhook. `owner` is what its metadata name; without one, the payment tells whose it is, if `of_known`."""

    event_id: str
    created_s: int
    payment_id: str
    news: Message
    owner: Owner | None
    of_known: bool
    """True if it is about a payment that was heard of before; a receipt without our metadata is somebody else's."""

    def draft(self, owner: Owner) -> Draft:
        """The event about `owner`; the same webhook always makes the same one."""
        return Draft(
            data=self.news,
            world=owner.world,
            entity=owner.player,
            subsystem=EDGE,
            id=f"provider-{self.event_id}",
            time_ns=self.created_s * 10**9,
        )


Thing = dict[str, Any]


def read(body: bytes, default_world: str) -> Webhook | None:
    """The contents of a webhook; None for one that is of no concern here. Raises `BadWebhook` if it is not what the provider documents."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadWebhook(f"the body is not JSON: {type(error).__name__}") from error
    if not isinstance(event, dict):
        raise BadWebhook("the body is not a JSON object")
    found = event.get("type")
    kind = found if isinstance(found, str) else ""
    reader = READERS.get(kind)
    if reader is None:
        return None
    thing = _dict(_dict(event, "data"), "object")
    event_id, created = _text(event, "id", _ID), _number(event, "created")
    news: Any = reader(thing, kind)
    if news is None:
        return None
    news.provider_event_id = event_id
    receipt = isinstance(news, said.PaymentReceived | said.PaymentFailed)
    return Webhook(
        event_id=event_id,
        created_s=created,
        payment_id=news.payment_id,
        news=news,
        owner=_owner(thing.get("metadata"), default_world) if news.payment_id else None,
        of_known=bool(news.payment_id) and not receipt,
    )


def _owner(metadata: Any, default_world: str) -> Owner | None:
    """The owner by the metadata; None if they are none of ours."""
    if not isinstance(metadata, dict) or "player" not in metadata:
        return None
    world = metadata.get("world", default_world)
    if all(isinstance(one, str) and _TOKEN.fullmatch(one) for one in (metadata["player"], world)):
        return Owner(world, metadata["player"])
    if "pack" in metadata:  # ours, and wrong; without a pack it is another product's
        raise BadWebhook(f"metadata must name player and world by 1 to 64 of A-Z a-z 0-9 _ -, found {ascii(metadata)[:120]}")
    return None


def _dict(thing: Thing, key: str) -> Thing:
    found = thing.get(key)
    if not isinstance(found, dict):
        raise BadWebhook(f"wanted an object {key}, found {type(found).__name__}")
    return found


def _text(thing: Thing, key: str, pattern: re.Pattern[str]) -> str:
    found = thing.get(key)
    if not isinstance(found, str) or pattern.fullmatch(found) is None:
        raise BadWebhook(f"wanted {key} like {pattern.pattern}, found {ascii(found)[:80]}")
    return found


def _number(thing: Thing, key: str) -> int:
    found = thing.get(key)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= MAX_AMOUNT:
        raise BadWebhook(f"wanted {key} 0 to {MAX_AMOUNT}, found {ascii(found)[:80]}")
    return found


def _number_if_said(thing: Thing, key: str) -> int:
    return 0 if thing.get(key) is None else _number(thing, key)


def _word(found: Any) -> str:
    return found if isinstance(found, str) and _ID.fullmatch(found) else ""


def _payment(thing: Thing) -> str:
    """The payment that a charge, a refund or a dispute belongs to; empty for what was taken without one, which is never ours."""
    return "" if thing.get("payment_intent") is None else _text(thing, "payment_intent", _ID)


def _pack(thing: Thing) -> str:
    metadata = thing.get("metadata")
    return _word(metadata.get("pack")) if isinstance(metadata, dict) else ""


def _succeeded(thing: Thing, kind: str) -> Message:
    return said.PaymentReceived(
        payment_id=_text(thing, "id", _ID),
        pack=_pack(thing),
        paid_currency=_word(thing.get("currency")),
        paid_minor=_number(thing, "amount_received"),
    )


def _failed(thing: Thing, kind: str) -> Message:
    error = thing.get("last_payment_error")
    failure = _word(error.get("code")) if isinstance(error, dict) else ""
    return said.PaymentFailed(payment_id=_text(thing, "id", _ID), failure=failure)


def _checked_out(thing: Thing, kind: str) -> Message | None:
    """A checkout session, whose metadata may be the only ones. Nothing before it is paid, or if there was nothing to pay."""
    if kind == "checkout.session.async_payment_failed":
        return said.PaymentFailed(payment_id=_payment(thing))
    if thing.get("payment_status") != "paid" or not _payment(thing):
        return None
    totals = thing.get("total_details")
    return said.PaymentReceived(
        payment_id=_payment(thing),
        pack=_pack(thing),
        paid_currency=_word(thing.get("currency")),
        paid_minor=_number(thing, "amount_total"),
        subtotal_minor=_number_if_said(thing, "amount_subtotal"),
        tax_minor=_number_if_said(totals, "amount_tax") if isinstance(totals, dict) else 0,
    )


def _charge_refunded(thing: Thing, kind: str) -> Message:
    refunds = thing.get("refunds")
    named = refunds.get("data") if isinstance(refunds, dict) else None
    return said.PaymentRefunded(
        payment_id=_payment(thing),
        refunded_minor=_number(thing, "amount_refunded"),
        refunds=[_refund(one) for one in named if isinstance(one, dict)] if isinstance(named, list) else (),
    )


def _refund_changed(thing: Thing, kind: str) -> Message:
    return said.PaymentRefunded(payment_id=_payment(thing), refunds=[_refund(thing)])


def _refund(thing: Thing) -> ProviderRefund:
    """One refund. A state that we do not know counts as the weakest: any other that comes for it is believed instead."""
    status = thing.get("status")
    state = status if isinstance(status, str) and status in REFUND_STATES else "pending"
    return ProviderRefund(refund_id=_text(thing, "id", _ID), amount_minor=_number(thing, "amount"), state=state)


def _disputed(thing: Thing, kind: str) -> Message:
    """A dispute by its state; without one that we know, by what is said to have happened."""
    status = thing.get("status")
    status = status if isinstance(status, str) else ""
    reason, payment, dispute = _word(thing.get("reason")), _payment(thing), _text(thing, "id", _ID)
    if status.startswith(INQUIRIES):
        return said.PaymentInquired(
            payment_id=payment, inquiry_id=dispute, kind="inquiry", closed=status == "warning_closed", reason=reason
        )
    amount, currency = _number_if_said(thing, "amount"), _word(thing.get("currency"))
    if status in ("won", "lost", "prevented") or kind == "charge.dispute.closed":
        lost = _lost(thing, amount, currency, status in ("won", "prevented"))
        return said.DisputeSettled(payment_id=payment, dispute_id=dispute, won=lost == 0, lost_minor=lost or 0, currency=currency)
    return said.PaymentDisputed(payment_id=payment, dispute_id=dispute, reason=reason, amount_minor=amount, currency=currency)


def _lost(thing: Thing, amount: int, currency: str, won: bool) -> int | None:
    """The cost of a settled dispute: its amount less the share that came back, as far as it tells. None: all of it."""
    listed = thing.get("balance_transactions")
    moves = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if any(type(one.get("amount")) is not int or one.get("currency") != currency for one in moves):
        moves = []  # in the currency of our bank: rates have moved since
    taken: int = -sum(one["amount"] for one in moves if one["amount"] < 0)
    back: int = sum(one["amount"] for one in moves if one["amount"] > 0)
    if not amount or not taken or not back:
        return 0 if won else amount or None
    return -(-amount * max(0, taken - back) // taken)


def _warned(thing: Thing, kind: str) -> Message:
    return said.PaymentInquired(
        payment_id=_payment(thing), inquiry_id=_text(thing, "id", _ID), kind="early_fraud_warning", reason=_word(thing.get("fraud_type"))
    )


READERS: Final[dict[str, Callable[[Thing, str], Message | None]]] = {
    "payment_intent.succeeded": _succeeded,
    "payment_intent.payment_failed": _failed,
    "checkout.session.completed": _checked_out,
    "checkout.session.async_payment_succeeded": _checked_out,
    "checkout.session.async_payment_failed": _checked_out,
    "charge.refunded": _charge_refunded,
    "charge.refund.updated": _refund_changed,
    "refund.created": _refund_changed,
    "refund.updated": _refund_changed,
    "refund.failed": _refund_changed,
    "charge.dispute.created": _disputed,
    "charge.dispute.updated": _disputed,
    "charge.dispute.funds_withdrawn": _disputed,
    "charge.dispute.funds_reinstated": _disputed,
    "charge.dispute.closed": _disputed,
    "radar.early_fraud_warning.created": _warned,
    "radar.early_fraud_warning.updated": _warned,
}
