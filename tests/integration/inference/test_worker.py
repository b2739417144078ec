"""One worker with the timed engine: every request ends once, in time, with what was heard."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bus.connection import Connection
from bus.event import Draft
from bus.signals import signal
from inference.delivery import Tale, hear
from inference.engines.timed import Pace
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCancelRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Knowledge
from tests.engines import TimedEngine
from tests.integration.inference.conftest import PATIENT, WORLD, Game, Run, Until

SCHEMA = (
    '{"type":"object","properties":{"say":{"type":"string"},"emotion":{"enum":["neutral","warm"]},"action":{"enum":["none","nod"]}},'
    '"required":["say","emotion","action"],"additionalProperties":false}'
)


async def test_a_request_is_answered_in_full_and_spoken_chunk_by_chunk(game: Game, run: Run, connection: Connection) -> None:
    async with run(TimedEngine(Pace(first=0.01, per_token=0.002))):
        request = await game.ask(max_tokens=30)
        chunks = [chunk async for chunk in hear(connection, WORLD, request.request_id)]
        end = cast(Any, (await game.ends(1))[request.request_id].data)

    assert end.DESCRIPTOR.name == "InferenceCompleted"
    assert "".join(chunk.text for chunk in chunks) == end.text
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(chunks) > 2
    assert end.measured.completion_tokens == 30
    assert len(end.measured.prompt_hash) == 32


async def test_a_late_joiner_hears_the_recorded_chunks(game: Game, run: Run, connection: Connection) -> None:
    async with run(TimedEngine(Pace(first=0.001, per_token=0.001))):
        request = await game.ask(max_tokens=30)
        end = cast(Any, (await game.ends(1))[request.request_id].data)
        late = [chunk.text async for chunk in hear(connection, WORLD, request.request_id)]

    assert "".join(late) == end.text


async def test_only_what_is_said_is_spoken_of_a_structured_turn(game: Game, run: Run, connection: Connection) -> None:
    async with run(TimedEngine(Pace(first=0.001, per_token=0.001))):
        request = await game.ask(json_schema=SCHEMA, max_tokens=64)
        chunks = [chunk.text async for chunk in hear(connection, WORLD, request.request_id)]
        end = cast(Any, (await game.ends(1))[request.request_id].data)

    assert "".join(chunks)
    assert f'"say":"{"".join(chunks)}"' in end.text


async def test_an_answer_that_would_be_late_ends_with_what_was_heard(game: Game, run: Run, connection: Connection) -> None:
    """The engine becomes ten times slower than it was: the guard at the end of the deadline cuts, and nothing heard is taken back."""
    engine = TimedEngine(Pace(first=0.001, per_token=0.002))
    async with run(engine, ladders=PATIENT):
        await game.ask(max_tokens=20, budget_ms=20_000)
        await game.ends(1)
        engine.pace = Pace(first=0.001, per_token=0.06)
        request = await game.ask(max_tokens=60, budget_ms=3000)
        chunks = [chunk.text async for chunk in hear(connection, WORLD, request.request_id)]
        end = cast(Any, (await game.ends(2))[request.request_id].data)

    assert end.DESCRIPTOR.name == "InferenceDegraded"
    assert (end.rung, end.code) == ("shorter", "too_late")
    assert end.text == "".join(chunks) != ""


async def test_an_answer_that_is_whole_behind_its_deadline_is_not_called_complete(
    game: Game, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine was quick enough, and the way to the player was not."""
    flush = Tale.flush

    async def slowly(tale: Tale) -> bool:
        heard = await flush(tale)
        await asyncio.sleep(2.1)  # longer than the whole budget
        return heard

    monkeypatch.setattr(Tale, "flush", slowly)
    async with run(TimedEngine(Pace(first=0.001, per_token=0.001))):
        request = await game.ask(max_tokens=8, budget_ms=2000)
        end = cast(Any, (await game.ends(1))[request.request_id].data)

    assert end.DESCRIPTOR.name in ("InferenceDegraded", "InferenceExpired")


async def test_a_cancel_ends_with_exactly_what_was_heard(game: Game, run: Run, connection: Connection, until: Until) -> None:
    engine = TimedEngine(Pace(first=0.001, per_token=0.005))
    async with run(engine) as worker:
        request = await game.ask(max_tokens=500, budget_ms=20_000, cancel_key="talk")
        chunks = hear(connection, WORLD, request.request_id)
        texts = [(await anext(chunks)).text]
        signal(connection, f"sig.{WORLD}.cancel.talk", b"interrupted")
        texts += [chunk.text async for chunk in chunks]
        end = cast(Any, (await game.ends(1))[request.request_id].data)
        after = engine.tokens
        await asyncio.sleep(0.05)

        assert end.DESCRIPTOR.name == "InferenceCancelled"
        assert (end.spoken, end.reason) == ("".join(texts), "interrupted")
        assert engine.tokens == after
        assert not worker.held


async def test_a_cancel_by_event_reaches_a_request_that_waits(game: Game, run: Run, until: Until) -> None:
    async with run(TimedEngine(Pace(first=0.001, per_token=0.05), slots=1)) as worker:
        await game.ask(max_tokens=200, budget_ms=30_000)
        await until(lambda: len(worker.running) == 1)
        waits = await game.ask(max_tokens=8, budget_ms=30_000)
        await until(lambda: len(worker.waiting) == 1)
        cancel = InferenceCancelRequested(request_id=waits.request_id, reason="left")
        await game.publisher.publish(Draft(data=cancel, world=WORLD, entity="mira", subsystem="npc"))
        end = cast(Any, (await game.ends(1))[waits.request_id].data)

        assert (end.DESCRIPTOR.name, end.spoken, end.reason) == ("InferenceCancelled", "", "left")
        assert end.measured.completion_tokens == 0
        await worker.drain()


async def test_a_cancel_that_overtakes_its_request_ends_it_on_arrival(game: Game, run: Run, connection: Connection) -> None:
    engine = TimedEngine()
    async with run(engine):
        signal(connection, f"sig.{WORLD}.cancel.r1", b"")
        await connection.api("INFO")
        request = await game.ask()
        end = (await game.ends(1))[request.request_id]

    assert end.name == "InferenceCancelled"
    assert engine.calls == 0


async def test_a_salient_request_takes_the_slot_of_a_background_one_which_goes_on_behind_what_it_had(
    game: Game, run: Run, connection: Connection, until: Until
) -> None:
    engine = TimedEngine(Pace(first=0.001, per_token=0.01), slots=1)
    async with run(engine) as worker:
        background = await game.ask(max_tokens=60, budget_ms=30_000, salience=0.1)
        await until(lambda: any(work.kept > 15 for work in worker.running))
        urgent = await game.ask(max_tokens=8, budget_ms=2000, salience=1.0, player="p2")
        ends = await game.ends(2)
        chunks = [chunk async for chunk in hear(connection, WORLD, background.request_id)]

    assert ends[urgent.request_id].position < ends[background.request_id].position
    answer = cast(Any, ends[background.request_id].data)
    assert answer.DESCRIPTOR.name == "InferenceCompleted"
    assert answer.text == "".join(chunk.text for chunk in chunks)
    assert answer.measured.completion_tokens == 60
    assert worker.metrics.counts["preempted"] == 1
    assert engine.tokens <= 60 + 8 + 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tier": "platinum"}, "UNKNOWN_TIER"),
        ({"kind": "no such kind"}, "UNKNOWN_KIND"),
        ({"request_id": "a b"}, "BAD_ID"),
        ({"budget_ms": 0}, "BAD_DEADLINE"),
        ({"deadline_ms": 9_000_000_000_000_000}, "BAD_DEADLINE"),
        ({"prompt": []}, "BAD_PROMPT"),
        ({"json_schema": "{"}, "BAD_SCHEMA"),
        ({"json_schema": "[" * 400 + "]" * 400}, "BAD_SCHEMA"),
        ({"choices": ["a", "a"]}, "BAD_CHOICES"),
        ({"max_tokens": 0}, "BAD_SETTING"),
        ({"salience": 7.0}, "BAD_SETTING"),
    ],
)
async def test_a_wrong_request_is_rejected_with_the_rule(game: Game, run: Run, changes: dict[str, Any], code: str) -> None:
    engine = TimedEngine()
    async with run(engine):
        request = await game.ask(**changes)
        end = (await game.ends(1))[request.request_id]

    assert (end.name, cast(Any, end.data).code) == ("InferenceRejected", code)
    assert engine.calls == 0


async def test_control_characters_of_a_player_reach_no_ear(game: Game, run: Run, connection: Connection) -> None:
    from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, Slot

    async with run(None):
        fallback = Fallback(slots=[Slot(name="player", text="\x1b[31mEve\u202e\x07")], lines=["x\x07y."])
        request = await game.ask(fallback=fallback, kind="story_beat", budget_ms=3000)
        chunks = [chunk.text async for chunk in hear(connection, WORLD, request.request_id)]
        await game.ends(1)

    assert chunks == ["xy."]


async def test_without_any_engine_every_request_is_answered_by_the_ladder(game: Game, run: Run) -> None:
    async with run(None):
        for number in range(20):
            await game.ask(entity=f"n{number % 5}", json_schema=SCHEMA if number % 2 else "", budget_ms=3000)
        ends = await game.ends(20)

    assert {event.name for event in ends.values()} == {"InferenceDegraded"}
    assert {cast(Any, event.data).code for event in ends.values()} == {"no_engine"}
    assert {cast(Any, event.data).rung for event in ends.values()} == {"grammar"}
    assert all(cast(Any, event.data).text for event in ends.values())


async def test_a_broken_engine_stops_taking_and_recovers_without_a_restart(game: Game, run: Run, until: Until) -> None:
    engine = TimedEngine(Pace(first=0.001, per_token=0.002))
    async with run(engine, ladders=PATIENT, reopen_s=2.0) as worker:  # longer than what was on its way takes to come again
        await game.ask(max_tokens=4, budget_ms=20_000)
        await game.ends(1)
        engine.break_down()
        during = [await game.ask(max_tokens=4, budget_ms=1500) for _ in range(5)]
        ends = await game.ends(6)
        assert {ends[one.request_id].name for one in during} == {"InferenceDegraded"}

        await until(lambda: worker.up)
        after = await game.ask(max_tokens=4, budget_ms=20_000)
        ends = await game.ends(7)

    assert ends[after.request_id].name == "InferenceCompleted"


async def test_a_worker_that_stops_hands_back_what_waits_and_ends_what_runs(game: Game, run: Run, until: Until) -> None:
    async with run(TimedEngine(Pace(first=0.001, per_token=0.01), slots=1)) as first:
        running = await game.ask(max_tokens=30, budget_ms=20_000)
        await until(lambda: len(first.running) == 1)
        waiting = await game.ask(max_tokens=4, budget_ms=20_000)
        await until(lambda: len(first.waiting) == 1)
    assert set(await game.ends(1)) == {running.request_id}

    async with run(TimedEngine(Pace(first=0.001, per_token=0.001)), name="w2"):
        ends = await game.ends(2)

    assert cast(Any, ends[waiting.request_id].data).measured.worker == "w2"
    assert {event.name for event in ends.values()} == {"InferenceCompleted"}


async def test_a_free_worker_is_asked_before_one_that_only_looks_ahead(game: Game, run: Run, until: Until) -> None:
    slow = TimedEngine(Pace(first=0.001, per_token=0.05), slots=1)
    quick = TimedEngine(Pace(first=0.001, per_token=0.001), slots=8)
    async with run(slow, name="slow") as busy:
        await game.ask(max_tokens=100, budget_ms=30_000, entity="long")
        await until(lambda: len(busy.running) == 1)
        async with run(quick, name="quick"):
            later = [await game.ask(max_tokens=4, budget_ms=30_000) for _ in range(8)]
            while len(done := await game.said("InferenceCompleted")) < 8:
                await asyncio.sleep(0.01)

    assert {cast(Any, event.data).request_id for event in done} == {one.request_id for one in later}
    assert {cast(Any, event.data).measured.worker for event in done} == {"quick"}


async def test_one_player_who_asks_without_end_waits_for_themselves(game: Game, run: Run) -> None:
    async with run(TimedEngine(Pace(first=0.05, per_token=0.02), slots=2)):
        for number in range(60):
            await game.ask(max_tokens=10, budget_ms=5000, player="spammer", entity=f"s{number % 7}")
        others = [await game.ask(max_tokens=10, budget_ms=5000, player=f"p{number}", entity=f"o{number}") for number in range(6)]
        ends = await game.ends(66)

    assert {ends[one.request_id].name for one in others} == {"InferenceCompleted"}
    assert {event.name for event in ends.values()} <= {"InferenceCompleted", "InferenceDegraded"}


async def test_who_cannot_be_served_in_full_hears_so_at_once(game: Game, run: Run) -> None:
    """Not at the last moment at which anything could still be said: the refusals are in the log before the first answer is."""
    for number in range(20):
        await game.ask(max_tokens=12, budget_ms=8000, player=f"p{number}", entity=f"n{number}")
    async with run(TimedEngine(Pace(first=0.1, per_token=0.1), slots=1), ladders=PATIENT) as worker:
        ends = await game.ends(20)

    refused = [event for event in ends.values() if event.name == "InferenceDegraded" and cast(Any, event.data).code == "no_slot"]
    answered = [event for event in ends.values() if event.name == "InferenceCompleted"]
    assert len(refused) >= 14, "one slot does six of them in eight seconds"
    assert len(answered) >= 2
    assert max(event.position for event in refused) < min(event.position for event in answered)
    assert worker.admission.used.samples


async def test_an_error_that_nobody_foresaw_costs_no_request(game: Game, run: Run) -> None:
    """Whatever is added to requests fails in a way that it must not: the queue gives the request again, and it is answered."""
    failed = []

    async with run(TimedEngine(Pace(first=0.001, per_token=0.001))) as worker:

        async def prepare(work: Any) -> None:
            failed.append(work.ask.id)
            raise RuntimeError("a mistake")

        worker.intake._prepare = prepare
        request = await game.ask(max_tokens=4, budget_ms=20_000, knowledge=Knowledge(query="the bell", most=3, token_budget=200))
        while not failed:
            await asyncio.sleep(0.002)
        worker.intake._prepare = None
        end = (await game.ends(1))[request.request_id]

    assert end.name == "InferenceCompleted"
    assert failed == [request.request_id]
