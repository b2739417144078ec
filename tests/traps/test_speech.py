"""Traps 5, 6, 7 and 14 of the peers: words that are said twice, late, or to nobody."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bus.connection import Connection
from bus.log import Log
from bus.publisher import Publisher
from bus.signals import signal
from inference.delivery import STREAM, hear
from inference.engines.timed import Pace
from inference.grammar import Grammar
from inference.speech import TOO_LATE_S, Chunker
from tests.engines import TimedEngine
from tests.integration.inference.conftest import WORLD, Game, Run, Until


async def test_trap_5_over_fetch_ack_wait_redelivery_duplicate_speech(game: Game, run: Run, connection: Connection, until: Until) -> None:
    """faststream#2563: what was fetched ahead is redelivered while it is in work, and said twice. Here the first worker is alive, its
    heartbeats are lost, and the second one finds what was said and is silent."""
    first_engine = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1)  # no free slot: it comes to the other worker
    async with run(first_engine, name="first") as first:
        first.queue.working = lambda reply: None
        request = await game.ask(max_tokens=40, budget_ms=20_000)
        await until(lambda: any(work.tale.delivered for work in first.running))
        async with run(TimedEngine(Pace(first=0.001, per_token=0.001)), name="second") as second:
            await until(lambda: second.metrics.counts["offered"] > 0)
            await game.ends(1)
            await asyncio.sleep(0.1)
            chunks = [chunk async for chunk in hear(connection, WORLD, request.request_id)]
            end = cast(Any, (await game.ends(1))[request.request_id].data)

    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert sum(chunk.last for chunk in chunks) == 1
    assert end.text == "".join(chunk.text for chunk in chunks)


def test_trap_6_slow_drip_stream_with_no_sentence_end() -> None:
    """pipecat#5842: who waits for the end of a sentence waits for ever. Here words are spoken half a second late at most."""
    chunker, words = Chunker(), ["word "] * 40
    said = [chunker.feed(word, number * TOO_LATE_S / 5) for number, word in enumerate(words)]
    longest = max(len(part) for part in " ".join("x" if chunk else "-" for chunk in said).replace(" ", "").split("x"))

    assert longest <= 6, "steps of a fifth of the limit in a row without a word"
    assert "".join(said) + chunker.finish() == "".join(words)


async def test_trap_6_slow_drip_stream_is_heard_before_its_end(game: Game, run: Run, connection: Connection) -> None:
    """The same through the worker: the first words are heard while the engine still drips."""
    endless = Grammar.of("npc_line", {"origin": ["and then the tide came in and then it went out again and then"]})
    engine = TimedEngine(Pace(first=0.001, per_token=0.1), grammars={"npc_line": endless})
    async with run(engine):
        request = await game.ask(max_tokens=200, budget_ms=60_000)
        first = await anext(hear(connection, WORLD, request.request_id))
        tokens = engine.tokens
        signal(connection, f"sig.{WORLD}.cancel.{request.request_id}")
        end = cast(Any, (await game.ends(1))[request.request_id].data)

    assert first.text
    assert tokens < 200
    assert end.spoken.startswith(first.text)


async def test_trap_7_retry_after_audio_already_played(
    game: Game, run: Run, connection: Connection, log: Log, publisher: Publisher, until: Until
) -> None:
    """livekit#6434: the retry says anew what was heard. Here a worker dies behind its first words, and the next one ends there."""
    async with run(TimedEngine(Pace(first=0.001, per_token=0.03)), name="first", drain_s=0.0) as first:
        request = await game.ask(max_tokens=60, budget_ms=20_000)
        await until(lambda: any(work.tale.delivered for work in first.running))
        for task in (*first.holding.tasks, *first._services):
            task.cancel()
        await first.queue.stop()
        engine = TimedEngine()
        async with run(engine, name="second"):
            end = cast(Any, (await game.ends(1))[request.request_id].data)
            chunks = [chunk async for chunk in hear(connection, WORLD, request.request_id)]

    assert engine.calls == 0
    assert (end.DESCRIPTOR.name, end.rung, end.code) == ("InferenceDegraded", "shorter", "engine_failed")
    assert end.text == "".join(chunk.text for chunk in chunks) != ""
    assert chunks[-1].attempt > chunks[0].attempt


async def test_trap_14_parked_streaming_requests_eat_slots_for_ever(game: Game, run: Run, connection: Connection, until: Until) -> None:
    """vllm#53130: a reader that stopped reading keeps its slot. Here speaking waits for nobody: who never reads pays for it alone."""
    async with run(TimedEngine(Pace(first=0.001, per_token=0.002), slots=1)) as worker:
        parked = [hear(connection, WORLD, f"r{number}") for number in range(1, 6)]
        for _ in parked:
            await game.ask(max_tokens=30, budget_ms=20_000)
        first = [await anext(reader) for reader in parked]  # and never again
        ends = await game.ends(5)
        await until(lambda: not worker.running)

        assert {event.name for event in ends.values()} == {"InferenceCompleted"}
        assert all(chunk.text for chunk in first)
        for reader in parked:
            await cast(Any, reader).aclose()


async def test_trap_14_a_stream_of_words_that_is_gone_holds_no_slot(game: Game, run: Run, connection: Connection, until: Until) -> None:
    """The same trap one level deeper: the words themselves can go nowhere. The engine goes on, and the answer is in the log."""
    async with run(TimedEngine(Pace(first=0.001, per_token=0.01), slots=1)) as worker:
        request = await game.ask(max_tokens=60, budget_ms=20_000)
        await until(lambda: any(work.tale.delivered for work in worker.running))
        await connection.api(f"STREAM.DELETE.{STREAM}")
        await until(lambda: not worker.running)
        end = cast(Any, (await game.ends(1))[request.request_id].data)

    assert end.text
