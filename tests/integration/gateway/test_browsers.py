"""The needs of a page of another origin: CORS on every answer, and tickets for streams that cannot send a header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from bus.log import Log
from tests.integration.gateway.conftest import DEAF, MUTE, QUICK, SLOW, Caller, Open, joined, recorded
from tests.integration.gateway.test_streams import Reader
from worldbus.embedded import NatsServer
from worldbus.gateway import tickets

PAGE, OTHER_PAGE, STRANGER = "https://play.example.com", "http://localhost:8000", "https://evil.example.com"
EVERYWHERE = [
    ("POST", "/v1/events", "{", 400),
    ("GET", "/v1/events/99", None, 404),
    ("GET", "/v1/subscribe?world=elsewhere", None, 403),
    ("GET", "/v1/signals?topic=a..b", None, 400),
    ("POST", "/v1/tickets", "[]", 400),
    ("GET", "/v1/clock", None, 404),
    ("GET", "/v1/search?mode=odd", None, 400),
    ("POST", "/v1/webhooks/payments", "{}", 404),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/healthz", None, 200),
    ("HEAD", "/healthz", None, 200),
    ("GET", "/nowhere", None, 404),
    ("DELETE", "/v1/events", None, 405),
    ("POST", "/v1/tickets", " " * 70_000, 413),
]


@pytest_asyncio.fixture
async def web(open_caller: Open, nats_server: NatsServer, log: Log) -> AsyncIterator[Caller]:
    """A gateway for the pages of two origins."""
    async with open_caller(nats_server.url, cors=(PAGE, OTHER_PAGE)) as opened:
        yield opened


@pytest.mark.parametrize(("method", "path", "body", "status"), EVERYWHERE)
async def test_every_answer_may_be_read_by_a_named_origin_and_by_no_other(
    web: Caller, method: str, path: str, body: str | None, status: int
) -> None:
    for origin, allowed in ((PAGE, PAGE), (OTHER_PAGE, OTHER_PAGE), (STRANGER, None), ("null", None)):
        found = await web.ask(method, path, body, Origin=origin, Content_Type="application/cloudevents+json")
        assert found.status == status
        assert found.headers.get("Access-Control-Allow-Origin") == allowed
        assert "Origin" in found.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in found.headers
    unnamed = await web.ask(method, path, body, Content_Type="application/cloudevents+json")
    assert (unnamed.status, unnamed.headers["Vary"]) == (status, "Origin")


async def test_refusals_without_a_token_may_be_read_too(web: Caller) -> None:
    for token in (None, "wbt_wrong"):
        found = await web.ask("POST", "/v1/events", "{}", token=token, Origin=PAGE)
        assert (found.status, found.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
        assert "Retry-After" in found.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/subscribe", "/v1/tickets", "/v1/events/7", "/nowhere"])
async def test_a_preflight_is_answered_for_every_path_and_method(web: Caller, path: str) -> None:
    asked = {"Access_Control_Request_Method": "DELETE", "Access_Control_Request_Headers": "authorization, ce-id,bad header"}
    found = await web.ask("OPTIONS", path, token=None, Origin=PAGE, **asked)

    assert found.status == 204
    assert found.headers["Access-Control-Allow-Origin"] == PAGE
    assert found.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE"
    assert found.headers["Access-Control-Allow-Headers"] == "authorization, ce-id"
    assert int(found.headers["Access-Control-Max-Age"]) > 0
    plain = await web.ask("OPTIONS", path, token=None, Origin=PAGE)
    assert (plain.status, "Authorization" in plain.headers["Access-Control-Allow-Headers"]) == (204, True)


async def test_a_preflight_of_another_origin_is_refused(web: Caller) -> None:
    for origin in (STRANGER, "null", "*", PAGE + ".evil.com", PAGE.upper(), PAGE + ":8443", "http://play.example.com"):
        found = await web.ask("OPTIONS", "/v1/events", token=None, Origin=origin, Access_Control_Request_Method="POST")
        assert (found.status, found.code) == (403, "ORIGIN_NOT_ALLOWED")
        assert "Access-Control-Allow-Origin" not in found.headers


async def test_without_named_origins_nothing_is_said(caller: Caller) -> None:
    preflight = await caller.ask("OPTIONS", "/v1/events", token=None, Origin=PAGE, Access_Control_Request_Method="POST")
    answered = await caller.ask("GET", "/healthz", Origin=PAGE)

    assert (preflight.status, answered.status) == (405, 200)
    assert not any("access-control" in name.lower() or name == "Vary" for one in (preflight, answered) for name in one.headers)


async def raw(caller: Caller, sent: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", caller.gateway.port)
    writer.write(sent)
    found = (await reader.read(2000)).decode()
    writer.close()
    return found


async def test_what_cannot_be_parsed_is_readable_where_one_origin_is_named(open_caller: Open, nats_server: NatsServer, log: Log) -> None:
    async with open_caller(nats_server.url, cors=(PAGE,), limits=replace(QUICK, head_s=0.2)) as one:
        for sent in (b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nOrigin: https://play", b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n"):
            assert f"Access-Control-Allow-Origin: {PAGE}" in await raw(one, sent)


async def ticket(caller: Caller, path: str, token: str | None = "") -> Any:
    return await caller.ask("POST", "/v1/tickets", json.dumps({"path": path}), token=token, Origin=PAGE)


async def test_a_ticket_opens_one_stream_without_a_header(web: Caller) -> None:
    await web.publish(joined("e1"))
    made = await ticket(web, "/v1/subscribe?event=PlayerJoined&after=0")
    assert (made.status, made.headers["Cache-Control"], made.body["expires_in_s"]) == (201, "no-store", 30)

    async with web.session.get(web.base + made.body["url"], headers={"Origin": PAGE}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
        assert await Reader(response).events(1) == ["e1"]
    again = await web.ask("GET", made.body["url"], token=None, Origin=PAGE, Last_Event_ID="1")
    assert (again.status, again.code, again.headers["Access-Control-Allow-Origin"]) == (401, "BAD_TICKET", PAGE)


async def test_a_ticket_for_signals(web: Caller) -> None:
    made = await ticket(web, "/v1/signals")

    async with web.session.get(web.base + made.body["url"]) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "presented",
    [
        "/v1/subscribe?event=PlayerJoined&after=0&ticket={}",  # all players instead of one
        "/v1/subscribe?event=PlayerJoined&entity=mira&entity=tam&after=0&ticket={}",
        "/v1/subscribe?event=PlayerJoined&entity=tam&after=0&ticket={}",
        "/v1/subscribe?event=PlayerJoined&entity=mira&after=5&ticket={}",
        "/v1/signals?ticket={}",
        "/v1/subscribe?event=PlayerJoined&entity=mira&after=0&ticket={}x",
        "/v1/subscribe?event=PlayerJoined&entity=mira&after=0&ticket=",
        "/v1/subscribe?event=PlayerJoined&entity=mira&after=0&ticket=wbk_0123456789abcdef_" + "a" * 43,
    ],
)
async def test_a_ticket_is_good_for_its_own_address_only(web: Caller, presented: str) -> None:
    made = await ticket(web, "/v1/subscribe?event=PlayerJoined&entity=mira&after=0")
    found = await web.ask("GET", presented.format(made.body["ticket"]), token=None)

    assert (found.status, found.code) == (401, "BAD_TICKET")


async def test_the_order_of_filters_and_their_spelling_do_not_matter(web: Caller) -> None:
    made = await ticket(web, "/v1/subscribe?event=PlayerJoined&entity=mira")
    path = f"/v1/subscribe?ticket={made.body['ticket']}&entity=mir%61&event=PlayerJoined"

    async with web.session.get(web.base + path) as response:
        assert response.status == 200


async def test_a_ticket_with_a_token_beside_it_or_on_another_path_is_no_way_in(web: Caller, log: Log) -> None:
    made = await ticket(web, "/v1/subscribe")
    both = await web.ask("GET", made.body["url"])
    two = await web.ask("GET", made.body["url"] + "&ticket=x", token=None)
    assert [(one.status, one.code) for one in (both, two)] == [(400, "TICKET_AND_TOKEN")] * 2
    for method, path in (("POST", "/v1/events"), ("GET", "/v1/events/1"), ("GET", "/v1/search"), ("GET", "/v1/clock")):
        found = await web.ask(method, f"{path}?ticket={made.body['ticket']}", json.dumps(joined()), token=None)
        assert (found.status, found.code) == (401, "NO_TOKEN")
    assert await recorded(log) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"path": "/v1/events"}', "BAD_TICKET_REQUEST"),
        ('{"path": "https://a.example/v1/subscribe"}', "BAD_TICKET_REQUEST"),
        ('{"path": "//a.example/v1/subscribe"}', "BAD_TICKET_REQUEST"),
        ('{"path": "/v1/subscribe#x"}', "BAD_TICKET_REQUEST"),
        ('{"path": "/v1/subscribe?entity=\\n"}', "BAD_TICKET_REQUEST"),
        ('{"path": "/v1/subscribe?entity=' + "a" * 4000 + '"}', "BAD_TICKET_REQUEST"),
        ('{"path": "/v1/subscribe?ticket=x"}', "UNKNOWN_PARAMETER"),
        ('{"path": "/v1/subscribe?odd=1"}', "UNKNOWN_PARAMETER"),
        ('{"path": "/v1/subscribe?world=elsewhere"}', "WORLD_NOT_ALLOWED"),
        ('{"path": "/v1/signals?topic=a..b"}', "BAD_TOKEN"),
        ('{"path": 5}', "BAD_TICKET_REQUEST"),
        ('{"path": "/v1/subscribe", "more": 1}', "BAD_TICKET_REQUEST"),
        ("", "BAD_TICKET_REQUEST"),
        ("\udcff", "BAD_TICKET_REQUEST"),
        ("[" * 50_000, "BAD_TICKET_REQUEST"),
    ],
)
async def test_a_ticket_is_made_only_for_what_its_token_may_read(web: Caller, body: str, code: str) -> None:
    found = await web.ask("POST", "/v1/tickets", body.encode(errors="surrogateescape"))

    assert found.status in (400, 403)
    if code != "BAD_TOKEN":
        assert found.code == code


async def test_tickets_need_a_token_that_listens_and_count_as_requests(web: Caller) -> None:
    statuses = [(await ticket(web, "/v1/subscribe?world=main", token)).status for token in (None, DEAF, MUTE, SLOW, SLOW, SLOW)]

    assert statuses == [401, 403, 201, 201, 201, 429]


async def test_a_ticket_goes_with_its_time_and_its_token(web: Caller, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "GOOD_FOR_S", 0.0)
    late = await ticket(web, "/v1/subscribe")
    assert (await web.ask("GET", late.body["url"], token=None)).status == 401
    monkeypatch.undo()

    made = await ticket(web, "/v1/subscribe")
    (tmp_path / "tokens.toml").write_text("")
    web.gateway._tokens.reload()
    assert (await web.ask("GET", made.body["url"], token=None)).status == 401


async def test_no_token_has_too_many_unused_tickets(web: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MOST_OF_ONE", 2)
    made = [await ticket(web, "/v1/subscribe") for _ in range(3)]
    assert [one.status for one in made] == [201, 201, 429]
    await web.ask("GET", made[0].body["url"] + "&world=main", token=None)  # used up, if in vain
    assert (await ticket(web, "/v1/subscribe")).status == 201


async def test_another_gateway_lets_a_ticket_in_once(open_caller: Open, nats_server: NatsServer, log: Log) -> None:
    async with open_caller(nats_server.url) as one, open_caller(nats_server.url) as other:
        made = await ticket(one, "/v1/subscribe?after=0")
        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(opens(caller, made.body["url"])) for caller in (one, other, other, one)]
        assert sorted(one.result() for one in tries) == [200, 401, 401, 401]
        assert await opens(other, (await ticket(one, "/v1/subscribe")).body["url"]) == 200
    async with open_caller(nats_server.url) as later:
        gone = f"/v1/subscribe?ticket={made.body['ticket']}"
        assert await opens(later, gone) == 401


async def opens(caller: Caller, url: str) -> int:
    async with caller.session.get(caller.base + url) as response:
        return int(response.status)
