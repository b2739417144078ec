"""Webhooks over HTTP into a real log: recorded once, for ever, whoever repeats or forges them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from bus.connection import Connection, connect
from bus.event import Event
from bus.log import Log, open_log
from bus.publisher import open_publisher
from tests.streams import delete_streams
from worldbus.edges.payments import MAX_BODY, Owner, PaymentsEdge, sign, web_app
from worldbus.embedded import NatsServer

SECRET, NOW = "whsec_test", 1_700_000_000
PATH = "/webhooks/payments"


@pytest_asyncio.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    async with connect(nats_server.url, name="test") as opened:
        await delete_streams(opened, nats_server)
        yield opened


@pytest_asyncio.fixture
async def log(connection: Connection) -> AsyncIterator[Log]:
    opened = await open_log(connection)
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture
async def edge(connection: Connection, log: Log) -> AsyncIterator[PaymentsEdge]:
    async def find_owner(payment_id: str) -> Owner | None:
        return Owner("paytest", "mira") if payment_id == "pi_known" else None

    async with open_publisher(connection, log, "relaxed") as publisher:
        yield PaymentsEdge(publisher, [SECRET], "paytest", find_owner=find_owner, clock=lambda: NOW)


@pytest_asyncio.fixture
async def client(edge: PaymentsEdge) -> AsyncIterator[Any]:
    async with TestClient(TestServer(web_app(edge))) as opened:
        yield opened


def paid(event_id: str = "evt_1", **more: Any) -> bytes:
    thing = {"id": "pi_1", "amount_received": 499, "currency": "eur", "metadata": {"player": "mira", "pack": "purse"}, **more}
    return json.dumps({"id": event_id, "type": "payment_intent.succeeded", "created": NOW - 5, "data": {"object": thing}}).encode()


async def post(client: Any, body: bytes, header: str | None = None) -> int:
    async with client.post(
        PATH, data=body, headers={"Stripe-Signature": sign(body, SECRET, NOW) if header is None else header}
    ) as response:
        return int(response.status)


async def recorded(log: Log) -> list[Event]:
    lanes = [await log.read_lane(f"evt.{number}.paytest.payments-provider.mira.*") for number in range(log.partitions)]
    return [event for lane in lanes for event in lane]


async def test_a_webhook_is_recorded_once_however_often_it_comes(client: Any, log: Log) -> None:
    statuses = await asyncio.gather(*(post(client, paid()) for _ in range(8)))
    statuses += [await post(client, paid()) for _ in range(3)]

    assert set(statuses) == {200}
    (event,) = await recorded(log)
    assert (event.id, event.name, event.time_ns) == ("provider-evt_1", "PaymentReceived", (NOW - 5) * 10**9)


async def test_the_same_event_id_with_another_body_is_not_recorded(client: Any, log: Log) -> None:
    assert await post(client, paid()) == 200
    assert await post(client, paid(amount_received=999)) == 409
    assert len(await recorded(log)) == 1


@pytest.mark.parametrize(
    "header", ["", "t=1,v1=2", sign(b"other", SECRET, NOW), sign(paid(), "whsec_other", NOW), sign(paid(), SECRET, NOW - 301)]
)
async def test_a_forged_or_stale_webhook_leaves_no_trace(client: Any, log: Log, header: str) -> None:
    assert await post(client, paid(), header) == 400
    assert await recorded(log) == []


async def test_signed_nonsense_is_refused_and_other_news_are_of_no_concern(client: Any, log: Log) -> None:
    assert await post(client, b"not json") == 400
    assert await post(client, b'{"id":"evt_2","type":"customer.created"}') == 200
    assert await post(client, b" " * (MAX_BODY + 1)) == 413
    assert await recorded(log) == []


async def test_a_dispute_without_metadata_finds_its_owner_or_comes_again(client: Any, log: Log) -> None:
    def disputed(payment_id: str) -> bytes:
        thing = {"id": "dp_1", "payment_intent": payment_id, "reason": "fraudulent"}
        return json.dumps({"id": f"evt_{payment_id}", "type": "charge.dispute.created", "created": NOW, "data": {"object": thing}}).encode()

    assert await post(client, disputed("pi_unknown")) == 503
    assert await post(client, disputed("pi_known")) == 200
    assert [event.name for event in await recorded(log)] == ["PaymentDisputed"]
