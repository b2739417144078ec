"""Edge `payments-provider`: a payment provider's signed webhooks become events about the player who paid.

The provider repeats a webhook until it is answered with 2xx, for days, and in any order. An event's id derives from the provider's event
id, and it is published with `once`: it is recorded once, for ever. What order means is decided by the handler `payment`.

An account at a provider may serve other shops too. A receipt without our metadata is not ours and is answered with 200. A refund or a
dispute names only its payment: if that is not known, the provider is asked to come again, until `WAIT_S` after it happened; by then our
own receipts are known, so it is not ours either.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import structlog
from aiohttp import web

from bus.errors import BadSettings, IdReused, Rejected, StoreUnavailable, Transient
from projections.store import TROUBLE
from worldbus.edges.signature import TOLERANCE_S, BadSignature, sign, verify
from worldbus.edges.webhook import EDGE, BadWebhook, Owner, Webhook, read

if TYPE_CHECKING:
    from bus.publisher import Publisher

__all__ = [
    "EDGE",
    "TOLERANCE_S",
    "Answer",
    "BadSignature",
    "BadWebhook",
    "Owner",
    "OwnerUnknown",
    "PaymentsEdge",
    "owners_in",
    "read",
    "sign",
    "verify",
    "web_app",
]

MAX_BODY: Final = 256 * 1024  # bytes
WAIT_S: Final = 6 * 3600
"""Seconds after a refund or a dispute for which the payment that it names may still become known. Stripe comes again some five times."""
OUTCOMES: Final = ("recorded", "no_concern", "not_ours", "put_off", "refused", "changed")
"""Outcomes of a webhook. changed: its id was recorded with another body."""

log = structlog.get_logger(__name__)


class OwnerUnknown(Transient):
    """The webhook names a payment of which nobody knows yet whose it is; the provider will send it again."""

    code = "OWNER_UNKNOWN"


Secrets = Sequence[str] | Callable[[], Sequence[str]]
FindOwner = Callable[[str], Awaitable[Owner | None]]


class Answer(NamedTuple):
    """The answer to the provider: an HTTP status, and a word for its log. On anything but 200 it sends the webhook again."""

    status: int
    text: str


def _function(secrets: Secrets) -> Callable[[], Sequence[str]]:
    return secrets if callable(secrets) else lambda: secrets


class PaymentsEdge:
    """Takes webhooks in. Safe to run in several processes: the same webhook is recorded as the same event, once.

    secrets     signing secrets in force, or a function that gives them: while a secret is rolled there are two
    find_owner  whose a payment is, for webhooks that do not say (refunds, disputes): `owners_in(pool)`, say. Without one those that name no
                player are put off for as long as the provider sends them, since nobody can tell whether they are ours.
    wait_s      after which a refund or a dispute of a payment that nobody knows is taken for somebody else's
    outcomes    counts webhooks by one of `OUTCOMES`
    """

    def __init__(
        self,
        publisher: Publisher,
        secrets: Secrets,
        world: str,
        *,
        find_owner: FindOwner | None = None,
        clock: Callable[[], float] = time.time,
        wait_s: float = WAIT_S,
        outcomes: Counter[str] | None = None,
    ) -> None:
        self._secrets = _function(secrets)
        if not self._secrets() or not all(self._secrets()):
            raise BadSettings("wanted at least one signing secret of the provider's endpoint, found none: anybody could make money")
        self._publisher = publisher
        self._world = world
        self._find_owner = find_owner
        self._clock = clock
        self._wait_s = wait_s
        self._outcomes: Counter[str] = Counter() if outcomes is None else outcomes

    async def receive(self, body: bytes, signature: str) -> Answer:
        """Record what a webhook says; answers 200 when it is in the log or none of ours, and never raises for what the sender did."""
        outcome, answer = await self._receive(body, signature)
        self._outcomes[outcome] += 1
        return answer

    async def _receive(self, body: bytes, signature: str) -> tuple[str, Answer]:
        if len(body) > MAX_BODY:
            return "refused", Answer(413, f"a webhook may have {MAX_BODY} bytes")
        try:
            verify(body, signature, self._secrets(), self._clock())
            webhook = read(body, self._world)
            if webhook is None:
                return "no_concern", Answer(200, "of no concern")
            owner = webhook.owner or await self._owner(webhook)
            if owner is None:
                log.info("webhook_not_ours", event_id=webhook.event_id, payment_id=webhook.payment_id)
                return "not_ours", Answer(200, "not ours")
            position = await self._publisher.publish(webhook.draft(owner), once=True)
        except IdReused as error:
            log.error("webhook_changed", reason=str(error))
            return "changed", Answer(409, "this event id was recorded with another body")
        except Rejected as error:
            log.warning("webhook_refused", code=error.code, reason=str(error))
            return "refused", Answer(400, error.code)
        except Transient as error:
            log.warning("webhook_put_off", code=error.code, reason=str(error))
            return "put_off", Answer(503, error.code)
        log.info("webhook_recorded", event_id=webhook.event_id, position=position)
        return "recorded", Answer(200, "recorded")

    async def _owner(self, webhook: Webhook) -> Owner | None:
        """The owner of the payment that a webhook names; None if it is none of ours. Raises `OwnerUnknown` while it may become known."""
        if not webhook.of_known:
            return None
        owner = await self._find_owner(webhook.payment_id) if self._find_owner else None
        age_s = self._clock() - webhook.created_s
        if owner is None and (self._find_owner is None or age_s < self._wait_s):
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
