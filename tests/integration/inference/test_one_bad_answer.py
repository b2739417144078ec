"""One bad answer of an endpoint costs one request: others who are spoken to meanwhile hear their whole lines, and nobody is asked anew."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import pytest
from aiohttp import web

from inference.engines.openai import OpenAiEngine, OpenAiSettings
from inference.keeper import SUSPECT_AFTER
from schemas.gen.worldbus.inference.v1.types_pb2 import PromptPart
from tests.conformance.dialects import event, sse
from tests.conformance.openai_server import Server, serving
from tests.engines import TimedEngine
from tests.integration.inference.conftest import Game, Run, Until

LESS_THAN_A_RETRY_MS = 15_000
"""Shorter than the pauses that the endpoint asks for, and so long that a busy machine calls it in time."""
LINE = [f"word{number} " for number in range(24)]
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
POLICY = {"error": {"code": "content_filter", "message": "The response was filtered due to the prompt triggering a content policy."}}


class Endpoint:
    """Answers slowly, and one request badly."""

    def __init__(self, bad: str) -> None:
        self.bad = bad
        self.calls: Counter[str] = Counter()
        self.broken = asyncio.Event()

    async def reply(self, request: web.Request) -> web.StreamResponse:
        words = (await request.json())["messages"][-1]["content"]
        self.calls[words] += 1
        if words != "bad":
            return await self._slowly(request)
        self.broken.set()
        return await self._badly(request)

    async def _slowly(self, request: web.Request) -> web.StreamResponse:
        response = await _begin(request)
        for number, word in enumerate(LINE):
            if number == 3:
                await self.broken.wait()  # the bad one comes while these are heard
            await response.write(sse(event(word), done=False))
            await asyncio.sleep(0.02)
        await response.write(sse(event(finish="stop")))
        return response

    async def _badly(self, request: web.Request) -> web.StreamResponse:
        match self.bad:
            case "refused":
                return web.json_response(POLICY, status=400)
            case "unknown field":
                return web.json_response({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}, status=422)
            case "html":
                return web.Response(text=HTML, content_type="text/html", status=502)
            case "html, called well":
                return web.Response(text=HTML, content_type="text/html")
            case "500":
                return web.Response(status=500)
            case "429":
                return web.Response(status=429, headers={"Retry-After": "20"})
            case "503 by date":
                return web.Response(
                    status=503, headers={"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)}
                )
        response = await _begin(request)
        match self.bad:
            case "filtered":
                await response.write(sse(event(finish="content_filter")))
            case "dropped":
                assert request.transport is not None
                request.transport.close()
            case "dropped on the way":
                await response.write(sse(event("Well"), done=False))
                assert request.transport is not None
                request.transport.close()
            case "garbled":
                await response.write(b'data: {"choices": [{"delta": {"cont\xff\xfe\n\n')
            case "empty":
                await response.write(sse(event(finish="stop")))
            case "an error on the way":
                await response.write(sse('{"error": {"message": "CUDA out of memory"}}'))
        return response


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(TimedEngine()) as server:
        yield server


def says(words: str) -> dict[str, Any]:
    return {"prompt": [PromptPart(role="user", name="words", text=words)], "max_tokens": 200, "kind": "npc_line"}


KINDS = ["filtered", "dropped", "dropped on the way", "garbled", "refused", "unknown field", "html", "html, called well", "500"]
KINDS += ["429", "503 by date", "empty", "an error on the way"]


@pytest.mark.parametrize("kind", KINDS)
async def test_four_hear_their_whole_lines_and_one_a_lower_rung(game: Game, run: Run, server: Server, kind: str) -> None:
    endpoint = Endpoint(kind)
    server.reply = endpoint.reply
    async with run(OpenAiEngine(OpenAiSettings(url=server.url, model="m"))) as worker:
        four = [
            await game.ask(entity=f"npc-{number}", player=f"p{number}", budget_ms=60_000, **says(f"good {number}")) for number in range(4)
        ]
        while sum(endpoint.calls.values()) < len(four):
            await asyncio.sleep(0.005)
        bad = await game.ask(entity="npc-bad", player="eve", budget_ms=LESS_THAN_A_RETRY_MS, **says("bad"))
        ends = await game.ends(5)
        assert worker.up

    for request in four:
        end = ends[request.request_id]
        assert (end.name, cast(Any, end.data).text.split()) == ("InferenceCompleted", "".join(LINE).split())
    end = ends[bad.request_id]
    assert end.name == "InferenceDegraded"
    assert cast(Any, end.data).text.strip()
    if kind in ("filtered", "refused"):
        assert cast(Any, end.data).code == "refused_by_model"
    assert sum(endpoint.calls.values()) == 5, endpoint.calls


async def test_a_player_who_is_always_filtered_takes_nothing_from_others(game: Game, run: Run, server: Server) -> None:
    endpoint = Endpoint("filtered")
    server.reply = endpoint.reply
    endpoint.broken.set()
    async with run(OpenAiEngine(OpenAiSettings(url=server.url, model="m"))) as worker:
        for number in range(2 * SUSPECT_AFTER):
            await game.ask(entity="npc-bad", player="eve", budget_ms=10_000, **says("bad"))
            await game.ends(number + 1)
        good = await game.ask(entity="npc-good", budget_ms=60_000, **says("good"))
        ends = await game.ends(2 * SUSPECT_AFTER + 1)
        assert worker.up

    assert ends[good.request_id].name == "InferenceCompleted"


async def test_several_failures_in_a_row_take_an_engine_down_until_it_is_well(game: Game, run: Run, server: Server, until: Until) -> None:
    endpoint = Endpoint("500")
    server.reply = endpoint.reply
    async with run(OpenAiEngine(OpenAiSettings(url=server.url, model="m")), reopen_s=0.3) as worker, run(None, name="w2", tier="gold"):
        for number in range(SUSPECT_AFTER):
            await game.ask(entity=f"npc-{number}", budget_ms=30_000, **says("bad"))
        await until(lambda: not worker.up)
        assert endpoint.calls["bad"] == SUSPECT_AFTER
        await until(lambda: worker.up)
        good = await game.ask(entity="npc-good", budget_ms=60_000, **says("good"))
        ends = await game.ends(SUSPECT_AFTER + 1)

    assert ends[good.request_id].name == "InferenceCompleted"
    assert endpoint.calls["bad"] == SUSPECT_AFTER


async def test_nobody_calls_before_the_time_that_an_endpoint_named(game: Game, run: Run, server: Server) -> None:
    """Also not for another player, who has a line in time all the same."""
    endpoint = Endpoint("429")
    server.reply = endpoint.reply
    endpoint.broken.set()
    async with run(OpenAiEngine(OpenAiSettings(url=server.url, model="m"))):
        first = await game.ask(budget_ms=LESS_THAN_A_RETRY_MS, **says("bad"))
        await game.ends(1)
        second = await game.ask(entity="npc-2", player="tam", budget_ms=LESS_THAN_A_RETRY_MS, **says("good"))
        ends = await game.ends(2)

    assert {ends[one.request_id].name for one in (first, second)} == {"InferenceDegraded"}
    assert endpoint.calls == {"bad": 1}


async def test_an_idle_world_asks_a_remote_engine_for_nothing(run: Run, server: Server) -> None:
    async with run(OpenAiEngine(OpenAiSettings(url=server.url, model="m"))) as worker:
        await asyncio.sleep(2.5)  # more than two looks of the keeper
        assert worker.up

    assert server.bodies == []


async def test_an_endpoint_that_refuses_all_warm_ups_is_not_up_and_says_so(run: Run, server: Server, logged: list[Any]) -> None:
    from inference.engine import Part, Prompt
    from inference.keeper import Keeper

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "unknown parameter: seed"}}, status=400)

    server.reply = reply
    engine = OpenAiEngine(OpenAiSettings(url=server.url, model="m"))
    warm = [Prompt(parts=(Part("user", word),)) for word in "abc"]
    keeper = Keeper(engine, warm=warm, reopen_s=60.0, keep_warm_s=0.0, changed=lambda: None)
    running = asyncio.create_task(keeper.run())
    try:
        while not keeper.failures:
            await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert not keeper.up
    assert [line["event"] for line in logged].count("engine_refuses_everything") == 1


def test_the_body_of_the_policy_is_what_vendors_send() -> None:
    assert "content_filter" in json.dumps(POLICY)
