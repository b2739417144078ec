"""One suite, every engine. The real vLLM needs its own environment: 'make vllm' makes it, 'make test-vllm' runs these tests in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from inference.engine import Engine, answer
from inference.engines.openai import OpenAiEngine, OpenAiSettings
from inference.engines.timed import Pace
from inference.errors import EngineFailed
from tests.conformance.engine import PROMPT, EngineSuite
from tests.conformance.openai_server import serving
from tests.engines import GrammarEngine, TimedEngine

QUICK = Pace(first=0.002, per_token=0.002)


class TestGrammar(EngineSuite):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = GrammarEngine(slots=4)
        async with engine.open():
            yield engine


class TestTimed(EngineSuite):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[TimedEngine]:
        engine = TimedEngine(QUICK, slots=4)
        async with engine.open():
            yield engine

    async def test_a_stopped_answer_costs_no_further_step(self, engine: TimedEngine) -> None:
        async with aclosing(engine.generate(replace(PROMPT, max_tokens=1000))) as answering:
            async for _ in answering:
                break
        spent = engine.tokens
        await answer(engine, replace(PROMPT, max_tokens=4))

        assert engine.tokens == spent + 4

    async def test_it_is_as_slow_as_it_says(self, engine: TimedEngine) -> None:
        began = asyncio.get_running_loop().time()
        await answer(engine, replace(PROMPT, max_tokens=16))

        assert asyncio.get_running_loop().time() - began >= QUICK.first + 15 * QUICK.per_token

    async def test_a_breakdown_fails_what_runs_until_it_is_opened_again(self, engine: TimedEngine) -> None:
        async with aclosing(engine.generate(PROMPT)) as answering:
            await anext(answering)
            engine.break_down()
            with pytest.raises(EngineFailed):
                await anext(answering)

        assert not await engine.healthy()
        with pytest.raises(EngineFailed):
            await answer(engine, PROMPT)
        async with engine.open():
            assert (await answer(engine, PROMPT)).text


class TestOpenAi(EngineSuite):
    """Against an endpoint that speaks the documented protocol and no more."""

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with serving(TimedEngine(QUICK, slots=4)) as server:
            engine = OpenAiEngine(OpenAiSettings(url=server.url, model="timed", slots=4, seeds=True))
            async with engine.open():
                yield engine


class TestOpenAiOfVllm(EngineSuite):
    """The same endpoint with what vLLM's server adds."""

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with serving(TimedEngine(QUICK, slots=4)) as server:
            engine = OpenAiEngine(OpenAiSettings(url=server.url, model="timed", slots=4, seeds=True, dialect="vllm"))
            async with engine.open():
                yield engine


@pytest.mark.parametrize(
    "engine", [GrammarEngine(), TimedEngine(QUICK), OpenAiEngine(OpenAiSettings(url="http://127.0.0.1:9/v1", model="m"))]
)
async def test_a_closed_engine_says_so(engine: Engine) -> None:
    assert not await engine.healthy()
    with pytest.raises(EngineFailed):
        await answer(engine, PROMPT)
