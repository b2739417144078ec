"""Requests that mean no good, over raw sockets: each is answered as documented, and the next caller notices nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

import aiohttp
import pytest
import pytest_asyncio

from bus.log import Log
from tests.integration.gateway.conftest import QUICK, TOKEN, Caller, Open, joined, recorded
from worldbus.embedded import NatsServer
from worldbus.gateway import guard

HEAD = f"POST /v1/events HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/cloudevents+json\r\n"
BODY = json.dumps(joined("e1"))


@pytest_asyncio.fixture
async def hasty(open_caller: Open, nats_server: NatsServer, log: Log) -> AsyncIterator[Caller]:
    """A gateway that waits for nobody. Not for those who need two steps: on a busy machine they may lie further apart."""
    async with open_caller(nats_server.url, limits=replace(QUICK, head_s=0.3, body_s=0.3)) as opened:
        yield opened


class Raw:
    """A socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, caller: Caller) -> AsyncIterator[Raw]:
        """Open for the block."""
        raw = cls(*await asyncio.open_connection("127.0.0.1", caller.gateway.port))
        try:
            yield raw
        finally:
            await raw.close()

    def send(self, text: str) -> None:
        self.writer.write(text.encode("latin-1"))

    async def status(self) -> int:
        """The next answer's status; what follows it is left to be read."""
        return int((await self.reader.readline()).split()[1])

    async def rest(self) -> bytes:
        """Everything until the gateway closes the connection. It speaks HTTP/1.0 with those whose request it cannot read."""
        return (await self.reader.read()).replace(b"HTTP/1.0 ", b"HTTP/1.1 ")

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def still_well(caller: Caller, log: Log, *, there: int = 0) -> None:
    """Nothing was recorded, and others are served."""
    assert len(await recorded(log)) == there
    assert (await caller.publish(joined("well"))).status == 201


@pytest.mark.parametrize("pieces", [["P"], ["POST /v1/events HTTP/1.1\r\n", "Host: g\r\n", "X: y\r\n"]], ids=["one byte", "line by line"])
async def test_headers_that_do_not_end_are_not_waited_for(hasty: Caller, log: Log, pieces: list[str]) -> None:
    async with Raw.to(hasty) as raw:
        for piece in pieces:
            raw.send(piece)
            await asyncio.sleep(0.02)

        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"HEAD_TOO_SLOW" in answer
    await still_well(hasty, log)


async def test_the_second_request_of_a_connection_may_not_be_slow_either(hasty: Caller, log: Log) -> None:
    async with Raw.to(hasty) as raw:
        raw.send(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n{BODY}")
        assert await raw.status() == 201
        raw.send("POST /v1/ev")
        assert b"HTTP/1.1 408 " in await raw.rest()
    await still_well(hasty, log, there=1)


async def test_a_body_that_does_not_end_is_not_waited_for(hasty: Caller, log: Log) -> None:
    async with Raw.to(hasty) as raw:
        raw.send(f"{HEAD}Content-Length: 500\r\n\r\n{BODY[:10]}")
        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"BODY_TOO_SLOW" in answer
    await still_well(hasty, log)


@pytest.mark.parametrize("framing", [f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"])
async def test_a_caller_that_hangs_up_in_the_middle_leaves_no_trace(caller: Caller, log: Log, framing: str) -> None:
    async with Raw.to(caller) as raw:
        raw.send(f"{HEAD}{framing}\r\n\r\n" + (f"5\r\n{BODY[:5]}\r\n" if "chunked" in framing else BODY[:20]))
        await asyncio.sleep(0.02)
    await still_well(caller, log)


async def test_a_caller_that_hangs_up_before_the_answer_finds_its_event_recorded_once(caller: Caller, log: Log) -> None:
    async with Raw.to(caller) as raw:
        raw.send(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n{BODY}")
        await raw.writer.drain()
    answer = await caller.publish(joined("e1"))

    assert (answer.status in (200, 201), answer.body["position"]) == (True, 1)
    assert len(await recorded(log)) == 1


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length : 5\r\n",
        "X: a\x00b\r\n",
        " folded: x\r\n",
    ],
)
async def test_two_lengths_or_an_odd_one_are_nobodys_request(hasty: Caller, log: Log, head: str) -> None:
    async with Raw.to(hasty) as raw:
        raw.send(f"{HEAD}{head}\r\n0\r\n\r\nGET /v1/events/1 HTTP/1.1\r\nHost: g\r\n\r\n")
        answer = await raw.rest()
        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 501"), answer
        assert answer.count(b"Content-Length: ") == 1  # nothing behind it was taken for a request
    await still_well(hasty, log)


@pytest.mark.parametrize("head", ["X: " + "y" * 20_000, "\r\n".join(f"X{number}: y" for number in range(500))], ids=["long", "many"])
async def test_headers_without_measure_are_refused(caller: Caller, log: Log, head: str) -> None:
    async with Raw.to(caller) as raw:
        raw.send(f"{HEAD}{head}\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}")
        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"application/problem+json" in answer
    await still_well(caller, log)


@pytest.mark.parametrize("nonsense", ["\x16\x03\x01\x02", "GARBAGE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\nGET\r\n\r\n"])
async def test_what_is_no_http_is_told_so(hasty: Caller, log: Log, nonsense: str) -> None:
    async with Raw.to(hasty) as raw:
        raw.send(nonsense)
        assert (await raw.rest()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
    await still_well(hasty, log)


async def test_a_large_body_is_refused_before_it_comes(caller: Caller, log: Log) -> None:
    async with Raw.to(caller) as raw:
        raw.send(f"{HEAD}Content-Length: 99999999\r\n\r\n")
        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 413 ")
    await still_well(caller, log)


async def test_a_large_body_in_chunks_is_refused_while_it_comes(caller: Caller, log: Log) -> None:
    async with Raw.to(caller) as raw:
        raw.send(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n")

        async def flood() -> None:
            for _ in range(1000):
                raw.send("10000\r\n" + "x" * 0x10000 + "\r\n")
                await raw.writer.drain()

        flooding = asyncio.create_task(flood())
        assert await raw.status() == 413
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
    await still_well(caller, log)


async def test_nobody_without_a_token_gets_to_send_a_body(caller: Caller, log: Log) -> None:
    async with Raw.to(caller) as raw:
        raw.send("POST /v1/events HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\n")
        answer = await raw.rest()  # it does not wait for the body
        assert answer.startswith(b"HTTP/1.1 401 ")
    await still_well(caller, log)


async def test_a_caller_may_ask_before_it_sends(caller: Caller, log: Log) -> None:
    async with Raw.to(caller) as raw:
        raw.send(f"{HEAD}Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n")
        assert await raw.status() == 100
        await raw.reader.readline()
        raw.send(BODY)
        assert await raw.status() == 201
    await still_well(caller, log, there=1)


async def test_pipelined_requests_are_answered_in_order(caller: Caller, log: Log) -> None:
    async with Raw.to(caller) as raw:
        request = f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n{BODY}"
        raw.send(request * 5 + request.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n"))
        answer = await raw.rest()
        assert [piece[:3] for piece in answer.split(b"HTTP/1.1 ")[1:]] == [b"201", *[b"200"] * 5]
    await still_well(caller, log, there=1)


async def test_one_connection_too_many_is_told_to_come_again(open_caller: Open, nats_server: NatsServer, log: Log) -> None:
    async with open_caller(nats_server.url, limits=replace(QUICK, connections=3)) as caller:
        async with Raw.to(caller) as first, Raw.to(caller) as second:  # the caller's own is the third
            for reader in (first, second):
                reader.send(f"GET /v1/subscribe HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
                assert await reader.status() == 200
            assert (await caller.publish(joined("e0"))).status == 201  # all three are at work, or were a moment ago
            async with Raw.to(caller) as refused:
                answer = await refused.rest()
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"Retry-After" in answer
        while (await caller.publish(joined("e1"))).status not in (200, 201):
            await asyncio.sleep(0.01)
    assert len(await recorded(log)) == 2


async def test_who_holds_every_connection_and_says_nothing_keeps_nobody_out(
    open_caller: Open, nats_server: NatsServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "SPARE_S", 0.0)
    async with open_caller(nats_server.url, limits=replace(QUICK, connections=5, head_s=60)) as caller, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(Raw.to(caller)) for _ in range(20)]
        for number, raw in enumerate(held):
            raw.send("GET /v1/ev" if number % 2 else "")  # some begin, and never end
        await caller.session.close()
        for number in range(5):
            async with aiohttp.ClientSession() as session:
                fresh = replace(caller, session=session)
                assert (await fresh.publish(joined(f"e{number}"))).status == 201
        assert caller.gateway.metrics.gave_way >= 15
        assert caller.gateway.metrics.refused_connections == 0
    assert len(await recorded(log)) == 5


async def test_a_connection_that_says_nothing_from_the_start_is_closed(hasty: Caller, log: Log) -> None:
    async with Raw.to(hasty) as raw:
        assert await raw.rest() == b""
    await still_well(hasty, log)


@pytest.mark.parametrize("ending", ["", "Connection: close\r\n"], ids=["kept alive", "the last one"])
async def test_who_asks_and_never_reads_the_answers_is_dropped(open_caller: Open, nats_server: NatsServer, log: Log, ending: str) -> None:
    async with open_caller(nats_server.url, limits=replace(QUICK, stall_s=0.1)) as caller:
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.connect(("127.0.0.1", caller.gateway.port))
            greedy.setblocking(False)
            request = b"GET /openapi.json HTTP/1.1\r\nHost: g\r\n"
            with suppress(BlockingIOError):
                greedy.send((request + b"\r\n") * 500 + request + ending.encode() + b"\r\n")
            while not caller.gateway.metrics.unread_answers:
                await asyncio.sleep(0.05)
        await still_well(caller, log)
