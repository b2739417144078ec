"""Edge `payments-provider`: a payment provider's signed webhooks become events about the player who paid.

The signature is Stripe's documented scheme: `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…]`, each v1 the HMAC-SHA256 of
`<t>.<body>` under a signing secret. Other schemes in the header are passed over, so none of them can weaken it. Several secrets may be in
force while they are rolled.

The provider repeats a webhook until it is answered with 200, for days, and in any order. An event's id derives from the provider's event
id, and it is published with `once`: it is recorded once, for ever. What order means is decided by the handler `payment`.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
import structlog
from aiohttp import web

from bus.errors import BadSettings, IdReused, Rejected, StoreUnavailable, Transient
from bus.event import Draft
from projections.store import TROUBLE
from schemas.gen.worldbus.payment.v1 import provider_pb2 as said

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.publisher import Publisher

log = structlog.get_logger(__name__)

EDGE: Final = "payments-provider"
TOLERANCE_S: Final = 300  # seconds that a signature stays good, either way
MAX_BODY: Final = 256 * 1024  # bytes
MAX_HEADER: Final = 4096  # characters
MAX_AMOUNT: Final = 10**12  # minor units
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_MOMENT: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadSignature(Rejected):
    """The webhook was not signed by the provider, or not lately. Nothing of it was read."""

    code = "BAD_SIGNATURE"


class BadWebhook(Rejected):
    """Signed, but not what the provider documents."""

    code = "BAD_WEBHOOK"


class OwnerUnknown(Transient):
    """The webhook names a payment of which nobody knows yet whose it is; the provider will send it again."""

    code = "OWNER_UNKNOWN"


class Owner(NamedTuple):
    """Whose a payment is."""

    world: str
    player: str


FindOwner = Callable[[str], Awaitable[Owner | None]]


def sign(body: bytes, secret: str, at_s: int) -> str:
    """The signature header of `body`, as the provider makes it; for tests and for tools that replay webhooks."""
    return f"t={at_s},v1={_mac(body, secret, str(at_s))}"


def _mac(body: bytes, secret: str, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, sha256).hexdigest()


def verify(body: bytes, header: str, secrets: Sequence[str], now_s: float, *, tolerance_s: int = TOLERANCE_S) -> None:
    """Return if one of the header's signatures is right for `body` and was made within `tolerance_s` of now.

    Raises `BadSignature`. Compares in constant time, and every pair of signature and secret, so time tells nothing.
    """
    moment, found = _parse(header)
    good = [hmac.compare_digest(_mac(body, secret, moment), one) for secret in secrets for one in found]
    if not any(good):
        raise BadSignature(
            f"none of {len(found)} v1 signatures fits the body: is this endpoint's signing secret set, and the body passed on unchanged?"
        )
    age = now_s - int(moment)
    if abs(age) > tolerance_s:
        raise BadSignature(f"signed {age:.0f} s ago, wanted at most {tolerance_s} s either way: a replay, or a clock that is wrong")


def _parse(header: str) -> tuple[str, list[str]]:
    """The moment and the v1 signatures of a header; raises `BadSignature`."""
    if len(header) > MAX_HEADER:
        raise BadSignature(f"the signature header may have {MAX_HEADER} characters, found {len(header)}")
    pairs = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for key, _, value in pairs if key == "t"]
    found = [value for key, _, value in pairs if key == "v1" and _HEX.fullmatch(value)]
    if len(moments) != 1 or _MOMENT.fullmatch(moments[0]) is None or not found:
        raise BadSignature(f"wanted a header like t=1700000000,v1=<64 hex digits>, found {ascii(header)[:80]}")
    return moments[0], found


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What a webhook says, before it is known whose payment it is about. `owner` is what its metadata name."""

    event_id: str
    created_s: int
    payment_id: str
    news: Message
    owner: Owner | None

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


def read(body: bytes, default_world: str) -> Webhook | None:
    """What a webhook says; None for one that is of no concern here. Raises `BadWebhook` if it is not what the provider documents."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadWebhook(f"the body is not JSON: {type(error).__name__}") from error
    if not isinstance(event, dict):
        raise BadWebhook("the body is not a JSON object")
    reader = _READERS.get(event.get("type")) if isinstance(event.get("type"), str) else None
    if reader is None:
        return None
    thing = _dict(_dict(event, "data"), "object")
    event_id, created = _text(event, "id", _ID), _number(event, "created")
    news = reader(thing, event_id)
    return Webhook(
        event_id=event_id, created_s=created, payment_id=news.payment_id, news=news, owner=_owner(thing.get("metadata"), default_world)
    )


def _owner(metadata: Any, default_world: str) -> Owner | None:
    if not isinstance(metadata, dict) or "player" not in metadata:
        return None
    world = metadata.get("world", default_world)
    if not all(isinstance(one, str) and _TOKEN.fullmatch(one) for one in (metadata["player"], world)):
        raise BadWebhook(f"metadata must name player and world by 1 to 64 of A-Z a-z 0-9 _ -, found {ascii(metadata)[:120]}")
    return Owner(world, metadata["player"])


def _dict(thing: dict[str, Any], key: str) -> dict[str, Any]:
    found = thing.get(key)
    if not isinstance(found, dict):
        raise BadWebhook(f"wanted an object {key}, found {type(found).__name__}")
    return found


def _text(thing: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    found = thing.get(key)
    if not isinstance(found, str) or pattern.fullmatch(found) is None:
        raise BadWebhook(f"wanted {key} like {pattern.pattern}, found {ascii(found)[:80]}")
    return found


def _number(thing: dict[str, Any], key: str) -> int:
    found = thing.get(key)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= MAX_AMOUNT:
        raise BadWebhook(f"wanted {key} 0 to {MAX_AMOUNT}, found {ascii(found)[:80]}")
    return found


def _word(found: Any) -> str:
    return found if isinstance(found, str) and _ID.fullmatch(found) else ""


def _succeeded(thing: dict[str, Any], event_id: str) -> Any:
    metadata = thing.get("metadata")
    return said.PaymentReceived(
        payment_id=_text(thing, "id", _ID),
        pack=_word(metadata.get("pack")) if isinstance(metadata, dict) else "",
        paid_currency=_word(thing.get("currency")),
        paid_minor=_number(thing, "amount_received"),
        provider_event_id=event_id,
    )


def _failed(thing: dict[str, Any], event_id: str) -> Any:
    error = thing.get("last_payment_error")
    failure = _word(error.get("code")) if isinstance(error, dict) else ""
    return said.PaymentFailed(payment_id=_text(thing, "id", _ID), failure=failure, provider_event_id=event_id)


def _refunded(thing: dict[str, Any], event_id: str) -> Any:
    return said.PaymentRefunded(
        payment_id=_text(thing, "payment_intent", _ID), refunded_minor=_number(thing, "amount_refunded"), provider_event_id=event_id
    )


def _disputed(thing: dict[str, Any], event_id: str) -> Any:
    return said.PaymentDisputed(
        payment_id=_text(thing, "payment_intent", _ID),
        dispute_id=_text(thing, "id", _ID),
        reason=_word(thing.get("reason")),
        provider_event_id=event_id,
    )


def _settled(thing: dict[str, Any], event_id: str) -> Any:
    return said.DisputeSettled(
        payment_id=_text(thing, "payment_intent", _ID),
        dispute_id=_text(thing, "id", _ID),
        won=thing.get("status") in ("won", "warning_closed"),
        provider_event_id=event_id,
    )


_READERS: Final[dict[Any, Callable[[dict[str, Any], str], Any]]] = {
    "payment_intent.succeeded": _succeeded,
    "payment_intent.payment_failed": _failed,
    "charge.refunded": _refunded,
    "charge.dispute.created": _disputed,
    "charge.dispute.closed": _settled,
}


class Answer(NamedTuple):
    """What to answer the provider: an HTTP status, and a word for its log. On anything but 200 it sends the webhook again."""

    status: int
    text: str


class PaymentsEdge:
    """Takes webhooks in. Safe to run in several processes: whoever gets the same webhook records the same event, once.

    find_owner  whose a payment is, for webhooks that do not say (disputes): `owners_in(pool)`, say
    """

    def __init__(
        self,
        publisher: Publisher,
        secrets: Sequence[str],
        world: str,
        *,
        find_owner: FindOwner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not secrets or not all(secrets):
            raise BadSettings("wanted at least one signing secret of the provider's endpoint, found none: anybody could make money")
        self._publisher = publisher
        self._secrets = tuple(secrets)
        self._world = world
        self._find_owner = find_owner
        self._clock = clock

    async def receive(self, body: bytes, signature: str) -> Answer:
        """Record what a webhook says; answers 200 when it is in the log or of no concern, and never raises for what the sender did."""
        if len(body) > MAX_BODY:
            return Answer(413, f"a webhook may have {MAX_BODY} bytes")
        try:
            verify(body, signature, self._secrets, self._clock())
            webhook = read(body, self._world)
            if webhook is None:
                return Answer(200, "of no concern")
            owner = webhook.owner or await self._owner(webhook)
            position = await self._publisher.publish(webhook.draft(owner), once=True)
        except IdReused as error:
            log.error("webhook_changed", reason=str(error))
            return Answer(409, "this event id was recorded with another body")
        except Rejected as error:
            log.warning("webhook_refused", code=error.code, reason=str(error))
            return Answer(400, error.code)
        except Transient as error:
            log.warning("webhook_put_off", code=error.code, reason=str(error))
            return Answer(503, error.code)
        log.info("webhook_recorded", event_id=webhook.event_id, position=position)
        return Answer(200, "recorded")

    async def _owner(self, webhook: Webhook) -> Owner:
        owner = await self._find_owner(webhook.payment_id) if self._find_owner else None
        if owner is None:
            raise OwnerUnknown(f"payment {webhook.payment_id} names no player, and none is known yet: the provider will send it again")
        return owner


OWNER = "SELECT world, player FROM world.real_payments WHERE payment_id = $1"


def owners_in(pool: asyncpg.Pool) -> FindOwner:
    """Owners as the tables know them: of every payment that was heard of with its metadata. Raises `StoreUnavailable`: come again."""

    async def find(payment_id: str) -> Owner | None:
        try:
            row = await pool.fetchrow(OWNER, payment_id)
        except TROUBLE as error:
            raise StoreUnavailable(f"the owner of payment {payment_id} cannot be looked up: {error}") from error
        return Owner(*row) if row else None

    return find


def web_app(edge: PaymentsEdge, path: str = "/webhooks/payments") -> web.Application:
    """The edge behind HTTP: `POST` the provider's webhook to `path`. TLS is for whatever stands in front of it."""

    async def receive(request: web.Request) -> web.Response:
        answer = await edge.receive(await request.read(), request.headers.get("Stripe-Signature", ""))
        return web.Response(status=answer.status, text=answer.text)

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post(path, receive)
    return app
