"""The same engine three ways in one run: called over HTTP directly, through LiteLLM's proxy, and over the bus.

The engine is a timed one behind OpenAI's protocol, in a process of its own, so all three pay for the same last hop. What is compared is the
time until the whole answer was there, because the bus speaks in sentences and the others in tokens. The ways take turns.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp

from bench.harness import Result
from bench.load.account import percentile, result
from bench.load.litellm import proxy
from bench.load.script import Script
from bench.load.stage import Stage, stage
from inference.engines.openai import OpenAiEngine, OpenAiSettings

MODEL: Final = "timed"
SLOTS: Final = 64
FIRST, PER_TOKEN = 0.005, 0.001
AT_ONCE: Final = (1, 8)
Way = Callable[[int], Awaitable[float]]
"""Asks once; seconds until the whole answer was there."""


async def compare(scale: float) -> list[Result]:
    """See the module."""
    turns, count = max(2, round(5 * scale)), max(16, round(60 * scale))
    took: dict[tuple[str, int], list[float]] = {}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(_endpoint())
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        ways: dict[str, Way] = {"direct": _http(session, upstream, "")}
        for label, strict in (("bus", False), ("bus_strict", True)):
            on = await stack.enter_async_context(stage(strict=strict))
            engine = OpenAiEngine(OpenAiSettings(url=upstream, model=MODEL, slots=SLOTS, seeds=True))
            await stack.enter_async_context(on.worker(engine, name=label))
            ways[label] = _bus(on)
        peer = await stack.enter_async_context(proxy(upstream, MODEL))
        if peer is not None:
            ways["litellm"] = _http(session, peer.url, peer.key)
        for name, way in ways.items():
            await _many(way, 20, 4, [])  # warm
            for at_once in AT_ONCE:
                took[name, at_once] = []
        for _ in range(turns):
            for at_once in AT_ONCE:
                for name, way in ways.items():
                    await _many(way, count, at_once, took[name, at_once])
    return [figure for at_once in AT_ONCE for figure in _figures(took, list(ways), at_once)]


def _figures(took: dict[tuple[str, int], list[float]], names: list[str], at_once: int) -> list[Result]:
    figures = []
    for share in (0.5, 0.99):
        label = f"{at_once}_p{round(share * 100)}"
        base = percentile(took["direct", at_once], share)
        figures.append(result(f"compare_direct_{label}", base * 1000, "ms", f"whole answers of the engine over HTTP, {at_once} at once"))
        added = {name: percentile(took[name, at_once], share) - base for name in names if name != "direct"}
        peer = added.get("litellm")
        for name, seconds in added.items():
            against = (
                "added to the direct call"
                if name == "litellm" or peer is None
                else f"added to the direct call; LiteLLM adds {peer * 1000:.1f} ms"
            )
            ratio = peer / seconds if peer is not None and name != "litellm" and seconds > 0 else None
            figures.append(result(f"compare_{name}_added_{label}", seconds * 1000, "ms", against, ratio))
    return figures


async def _many(way: Way, count: int, at_once: int, took: list[float]) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with gate:
            took.append(await way(number))

    await asyncio.gather(*(one(number) for number in range(count)))


def _http(session: aiohttp.ClientSession, url: str, key: str) -> Way:
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def ask(number: int) -> float:
        request = Script().request("x", "p", number, "npc")
        body = {
            "model": MODEL,
            "messages": [{"role": part.role, "content": part.text} for part in request.prompt],
            "max_tokens": request.max_tokens,
            "seed": number,
            "stream": True,
        }
        began = time.perf_counter()
        async with session.post(f"{url}/chat/completions", json=body, headers=headers) as answer:
            if answer.status != 200:
                raise RuntimeError(f"wanted an answer of {url}, found {answer.status}: {(await answer.text())[:200]}")
            async for _ in answer.content:
                pass
        return time.perf_counter() - began

    return ask


def _bus(on: Stage) -> Way:
    async def ask(number: int) -> float:
        name = on.players.ask("compare", f"p{number % 20}", Script(budget_ms=20_000))
        one = on.players.asked[name]
        await on.players.end_of(name)
        if not one.full:
            raise RuntimeError(f"wanted a whole answer over the bus, found {one.kind or 'none'}")
        return one.ended - one.at

    return ask


@asynccontextmanager
async def _endpoint() -> AsyncIterator[str]:
    arguments = ("-m", "bench.load.endpoint", str(FIRST), str(PER_TOKEN), str(SLOTS))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()
