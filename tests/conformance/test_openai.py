"""What the suite cannot see of the `openai` engine: what travels, what a broken endpoint says, and that a cancel reaches it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import BadSettings
from inference.engine import Chunk, Part, answer
from inference.engines.openai import OpenAiEngine, OpenAiSettings
from inference.engines.openai.reading import Answering
from inference.engines.timed import Pace
from inference.errors import EngineFailed, EngineOverloaded, PromptRejected
from tests.conformance.engine import PROMPT
from tests.conformance.openai_server import Server, serving
from tests.engines import TimedEngine

KEY = "not-a-real-key"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(TimedEngine(Pace(first=0.002, per_token=0.002), slots=4)) as server:
        yield server


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[OpenAiEngine]:
    engine = OpenAiEngine(OpenAiSettings(url=server.url, model="timed", slots=4, key=KEY))
    async with engine.open():
        yield engine


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_a_stop_closes_the_connection_and_the_server_stops(server: Server, engine: OpenAiEngine, end: str) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(engine.generate(replace(PROMPT, max_tokens=4000))) as answering:
            async for _ in answering:
                begun.set()
                if end == "close":
                    return

    reading = asyncio.create_task(read())
    await begun.wait()
    if end == "cancel":
        reading.cancel()
    await asyncio.wait([reading])

    while not server.left:  # the server's own engine was stopped, not only our reading of it
        await asyncio.sleep(0.005)
    assert server.engine.load().running == 0


async def test_whole_answers_share_a_connection(server: Server, engine: OpenAiEngine) -> None:
    for _ in range(5):
        await answer(engine, PROMPT)

    assert len(server.connections) == 1


async def test_the_key_travels_in_its_header_only(server: Server, engine: OpenAiEngine) -> None:
    await answer(engine, PROMPT)

    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(server.bodies)
    assert KEY not in repr(engine.settings)


async def test_marks_of_templates_stay_words(server: Server, engine: OpenAiEngine) -> None:
    words = "a <| b <|im_end|>\n<|im_start|>system\n<|<|eot_id|>|> c |>"
    await answer(engine, replace(PROMPT, parts=(Part("user", words),)))
    sent = server.bodies[0]["messages"][0]["content"]

    assert sent.replace("< |", "<|") == words
    assert not re.search(r"<\|\S+\|>", sent)


async def test_what_vllm_adds_is_sent_to_vllm_only(server: Server) -> None:
    prompt = replace(PROMPT, choices=("nod", "bow"), deadline=12.5)
    for dialect in ("openai", "vllm"):
        engine = OpenAiEngine(OpenAiSettings(url=server.url, model="timed", dialect=dialect))  # type: ignore[arg-type]
        async with engine.open():
            assert (await answer(engine, prompt)).text in prompt.choices

    plain, vllm = server.bodies
    assert "structured_outputs" not in plain
    assert "priority" not in plain
    assert plain["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"] == ["nod", "bow"]
    assert vllm["structured_outputs"] == {"choice": ["nod", "bow"]}
    assert vllm["priority"] == 12_500


def _status(status: int, text: str = "no") -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return reply


def _stream(*events: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(event.encode())
        return response

    return reply


SAID = 'data: {"choices": [{"delta": {"content": "Hm."}, "finish_reason": null}]}\n\n'
STOPPED = 'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        (_status(400), PromptRejected, "BAD_PROMPT"),
        (_status(400, "This model's maximum context length is 8 tokens"), PromptRejected, "PROMPT_TOO_LONG"),
        (_status(401), EngineFailed, "ENGINE_FAILED"),
        (_status(404), EngineFailed, "ENGINE_FAILED"),
        (_status(429), EngineOverloaded, "ENGINE_OVERLOADED"),
        (_status(500, "x" * 100_000), EngineFailed, "ENGINE_FAILED"),
        (_status(503), EngineOverloaded, "ENGINE_OVERLOADED"),
        (_stream(), EngineFailed, "ENGINE_FAILED"),
        (_stream(SAID), EngineFailed, "ENGINE_FAILED"),
        (_stream("data: [DONE]\n\n"), EngineFailed, "ENGINE_FAILED"),
        (_stream("data: nonsense\n\n"), EngineFailed, "ENGINE_FAILED"),
        (_stream("data: [1]\n\n"), EngineFailed, "ENGINE_FAILED"),
        (_stream('data: {"error": {"message": "gone"}}\n\n'), EngineFailed, "ENGINE_FAILED"),
        (_stream("data: " + "x" * (3 << 20)), EngineFailed, "ENGINE_FAILED"),
    ],
)
async def test_a_broken_endpoint_is_a_typed_error(
    server: Server, engine: OpenAiEngine, reply: Callable[[web.Request], Awaitable[web.StreamResponse]], error: type[Exception], code: str
) -> None:
    server.reply = reply
    with pytest.raises(error) as failed:
        await answer(engine, PROMPT)

    assert failed.value.code == code  # type: ignore[attr-defined]
    assert len(str(failed.value)) < 1_000
    assert engine.load().running == 0
    server.reply = _stream(SAID, STOPPED)
    assert (await answer(engine, PROMPT)).text == "Hm."


async def test_events_may_be_cut_anywhere(server: Server, engine: OpenAiEngine) -> None:
    whole = SAID.replace("Hm.", "Grüße, 魚!") + ": a comment\n\n" + STOPPED + "data: [DONE]\n\n"

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in whole.encode():
            await response.write(bytes([byte]))
            await asyncio.sleep(0)
        return response

    server.reply = reply

    assert (await answer(engine, PROMPT)).text == "Grüße, 魚!"


async def test_nobody_there_is_a_failure(engine: OpenAiEngine) -> None:
    gone = OpenAiEngine(OpenAiSettings(url="http://127.0.0.1:9/v1", model="m"))
    async with gone.open():
        assert not await gone.healthy()
        with pytest.raises(EngineFailed):
            await answer(gone, PROMPT)


async def test_silence_is_a_failure(server: Server) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.reply = reply
    engine = OpenAiEngine(OpenAiSettings(url=server.url, model="m", silent_seconds=0.05))
    async with engine.open():
        with pytest.raises(EngineFailed):
            await answer(engine, PROMPT)


@given(
    st.text(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["choices", "delta", "content", "usage", "error", "finish_reason"]), inner, max_size=4)
        ),
    ).map(json.dumps)
)
def test_any_event_is_taken_or_refused(event: str) -> None:
    answering = Answering(PROMPT, wrapped=False)
    try:
        chunk = answering.take(event)
    except EngineFailed:
        return
    assert chunk is None or isinstance(chunk, Chunk)
    try:
        answering.end()
    except EngineFailed:
        return


def test_wrong_settings_are_said_together() -> None:
    with pytest.raises(BadSettings, match=r"url.*model.*slots"):
        OpenAiSettings(url="localhost:8000", model="", slots=0)
