"""Webhooks over HTTP into a real log: recorded once, for ever, whoever repeats or forges them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from bus.connection import Connection, connect
from bus.event import Event
from bus.log import Log, open_log
from bus.publisher import open_publisher
from worldbus.edges.payments import MAX_BODY, WAIT_S, Owner, PaymentsEdge, sign, web_app
from worldbus.edges.signing_secrets import SigningSecrets
from worldbus.embedded import NatsServer
from worldbus.testing.servers import delete_streams

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


@pytest.fixture
def outcomes() -> Counter[str]:
    return Counter()


@pytest_asyncio.fixture
async def edge(connection: Connection, log: Log, outcomes: Counter[str]) -> AsyncIterator[PaymentsEdge]:
    async def find_owner(payment_id: str) -> Owner | None:
        return Owner("paytest", "mira") if payment_id == "pi_known" else None

    async with open_publisher(connection, log, "relaxed") as publisher:
        yield PaymentsEdge(publisher, [SECRET], "paytest", find_owner=find_owner, clock=lambda: NOW, outcomes=outcomes)


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


def news(kind: str, payment_id: str | None, event_id: str = "", created: int = NOW, **more: Any) -> bytes:
    thing = {"id": "dp_1", "payment_intent": payment_id, "amount": 50, "amount_refunded": 50, **more}
    event_id = event_id or f"evt_{payment_id}_{kind.replace('.', '_')}"
    return json.dumps({"id": event_id, "type": kind, "created": created, "data": {"object": thing}}).encode()


async def test_a_dispute_without_metadata_finds_its_owner_or_comes_again(client: Any, log: Log) -> None:
    assert await post(client, news("charge.dispute.created", "pi_unknown")) == 503
    assert await post(client, news("charge.dispute.created", "pi_known")) == 200
    assert [event.name for event in await recorded(log)] == ["PaymentDisputed"]


@pytest.mark.parametrize("kind", ["charge.refunded", "refund.updated", "charge.dispute.created", "radar.early_fraud_warning.created"])
async def test_news_of_a_payment_that_stays_unknown_wait_for_a_bounded_time(
    client: Any, edge: PaymentsEdge, log: Log, outcomes: Counter[str], kind: str
) -> None:
    assert await post(client, news(kind, "pi_foreign", created=NOW - WAIT_S + 5)) == 503
    assert await post(client, news(kind, "pi_foreign", created=NOW - WAIT_S)) == 200
    assert outcomes == {"put_off": 1, "not_ours": 1}
    assert await recorded(log) == []


async def test_receipts_of_other_shops_are_answered_and_counted(client: Any, log: Log, outcomes: Counter[str]) -> None:
    for number, metadata in enumerate(({}, None, {"order_id": "6-1"}, {"player": "Jean Dupont"})):
        assert await post(client, paid(f"evt_f{number}", metadata=metadata)) == 200
    assert await post(client, news("charge.refunded", None)) == 200
    assert outcomes == {"not_ours": 5}
    assert await recorded(log) == []


async def test_without_a_way_to_find_owners_nothing_is_given_up(connection: Connection, log: Log) -> None:
    async with open_publisher(connection, log, "relaxed") as publisher:
        edge = PaymentsEdge(publisher, [SECRET], "paytest", clock=lambda: NOW)
        body = news("charge.refunded", "pi_1", created=NOW - 2 * WAIT_S)
        assert (await edge.receive(body, sign(body, SECRET, NOW))).status == 503


async def test_two_secrets_are_in_force_while_one_is_rolled(connection: Connection, log: Log, tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text(f"{SECRET}\n")
    async with open_publisher(connection, log, "relaxed") as publisher:
        edge = PaymentsEdge(publisher, SigningSecrets(path), "paytest", clock=lambda: NOW)

        async def statuses(event_id: str) -> list[int]:
            body = paid(event_id)
            return [(await edge.receive(body, sign(body, secret, NOW))).status for secret in (SECRET, "whsec_new")]

        assert await statuses("evt_1") == [200, 400]
        path.write_text(f"{SECRET}\nwhsec_new\n")
        assert await statuses("evt_2") == [200, 200]
        path.write_text("whsec_new\n")
        assert await statuses("evt_3") == [400, 200]
