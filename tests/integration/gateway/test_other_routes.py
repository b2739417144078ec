"""The payment provider's webhooks over the gateway, its OpenAPI document, and the command itself."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from bus.log import Log
from tests.integration.gateway.conftest import Caller, Open, recorded
from worldbus.edges.payments import sign
from worldbus.embedded import NatsServer
from worldbus.gateway.openapi import document, to_yaml

ROOT = Path(__file__).parents[3]
PAID = json.dumps(
    {
        "id": "evt_1",
        "type": "payment_intent.succeeded",
        "created": 1_700_000_000,
        "data": {"object": {"id": "pi_1", "amount_received": 499, "currency": "eur", "metadata": {"player": "mira"}}},
    }
)


@pytest_asyncio.fixture
async def shop(open_caller: Open, nats_server: NatsServer, log: Log) -> AsyncIterator[Caller]:
    async with open_caller(nats_server.url, webhook_secrets=("whsec",)) as opened:
        yield opened


async def test_a_signed_webhook_is_recorded_once(shop: Caller, log: Log) -> None:
    signature = sign(PAID.encode(), "whsec", int(time.time()))
    answers = [await shop.ask("POST", "/v1/webhooks/payments", PAID, token=None, Stripe_Signature=signature) for _ in range(2)]

    (event,) = await recorded(log)
    assert [answer.status for answer in answers] == [200, 200]
    assert (event.id, event.subsystem, event.entity, event.world) == ("provider-evt_1", "payments-provider", "mira", "main")


async def test_a_forged_webhook_is_not(shop: Caller, log: Log) -> None:
    forged = await shop.ask(
        "POST", "/v1/webhooks/payments", PAID, token=None, Stripe_Signature=sign(PAID.encode(), "other", int(time.time()))
    )
    unsigned = await shop.ask("POST", "/v1/webhooks/payments", PAID)
    huge = await shop.ask("POST", "/v1/webhooks/payments", " " * 300_000, token=None)

    assert [one.status for one in (forged, unsigned, huge)] == [400, 400, 413]
    assert await recorded(log) == []


async def test_without_secrets_there_are_no_webhooks(caller: Caller) -> None:
    assert (await caller.ask("POST", "/v1/webhooks/payments", PAID, token=None)).status == 404


async def test_the_document_is_served_and_kept_as_it_is_made(caller: Caller) -> None:
    served = await caller.ask("GET", "/openapi.json", token=None)
    kept = (ROOT / "docs" / "reference" / "openapi.yaml").read_text(encoding="utf-8")

    assert served.body == document()
    assert kept == to_yaml(), "write it anew: worldbus gateway openapi -o docs/reference/openapi.yaml"


async def test_every_route_is_documented(caller: Caller) -> None:
    documented = {path: {method.upper() for method in item} for path, item in document()["paths"].items()}
    routes = {path: set(methods) for path, methods in caller.gateway._routes.items()}

    assert documented == {**routes, "/v1/events/{position}": {"GET"}}
