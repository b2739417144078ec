"""The guardian: what a lost worker can no longer answer is answered in time, once, by the ladder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from bus.connection import Connection
from bus.errors import Conflict
from bus.event import Draft
from bus.log import Log
from bus.publisher import Publisher
from inference import guardian as guardian_
from inference.deadlines import MS
from inference.delivery import Delivery, hear
from inference.engine import Engine
from inference.engines.timed import Pace
from inference.guardian import Guardian, run_guardian
from inference.settings import WorkerSettings
from inference.vain_cancels import GRACE_S
from inference.vitals import Vitals
from inference.worker import Worker, run_worker
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCancelRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from tests.engines import GrammarEngine, TimedEngine
from tests.integration.inference.conftest import LADDERS, WORLD, Game, Until

TIER = "bronze"  # its queue notices a death after five seconds: whoever answers earlier is the guardian


class Site:
    """A log with one ladder and its guardian, whose own queue is closed: it answers only as guardian."""

    def __init__(self, connection: Connection, log: Log, publisher: Publisher) -> None:
        self.parts = connection, log, publisher

    @asynccontextmanager
    async def worker(self, engine: Engine | None, name: str, **more: Any) -> AsyncIterator[Worker]:
        grammar = GrammarEngine()
        settings = WorkerSettings(tier=TIER, name=name, drain_s=0.0)
        async with grammar.open(), run_worker(*self.parts, LADDERS, settings, engine=engine, grammar=grammar, **more) as worker:
            while engine is not None and not worker.up:
                await asyncio.sleep(0.002)
            yield worker

    @asynccontextmanager
    async def guardian(self) -> AsyncIterator[tuple[Guardian, Worker, Vitals]]:
        connection, log, _ = self.parts
        vitals = Vitals(connection)
        await vitals.open()
        async with self.worker(None, "ladder", vitals=vitals) as ladder:
            await ladder.queue.stop()
            async with run_guardian(connection, log, LADDERS, {TIER: ladder}, vitals) as guardian:
                yield guardian, ladder, vitals
        await vitals.aclose()


@pytest.fixture
def site(connection: Connection, log: Log, publisher: Publisher) -> Site:
    return Site(connection, log, publisher)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guardian's moments lie seconds before the deadline, not milliseconds: a busy machine reaches them in time as well."""
    moments = {"LOST_NS": 4_000 * MS, "UNBEGUN_NS": 3_000 * MS, "LAST_NS": 2_000 * MS}
    for name, moment in moments.items():
        monkeypatch.setattr(guardian_, name, moment)
    monkeypatch.setattr(guardian_, "STAGES", tuple(moments.values()))


async def _kill(worker: Worker) -> None:
    """As SIGKILL: nothing is said, settled or handed back any more."""
    for task in (*worker.holding.tasks, *worker._services):
        task.cancel()
    await worker.queue.stop()


async def test_what_a_lost_worker_was_saying_ends_in_time_with_what_was_heard(
    site: Site, game: Game, connection: Connection, until: Until, early: None
) -> None:
    async with site.guardian() as (_, ladder, vitals), site.worker(TimedEngine(Pace(first=0.001, per_token=0.05)), "lost") as lost:
        await until(lambda: vitals.alive(TIER, "lost"))
        request = await game.ask(tier=TIER, max_tokens=100, budget_ms=8000)
        await until(lambda: any(work.tale.delivered for work in lost.running))
        await _kill(lost)
        event = (await game.ends(1))[request.request_id]
        chunks = [chunk async for chunk in hear(connection, WORLD, request.request_id)]

    end = cast(Any, event.data)
    assert (event.name, end.rung, end.code) == ("InferenceDegraded", "shorter", "engine_failed")
    assert end.text == "".join(chunk.text for chunk in chunks) != ""
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert ladder.metrics.counts["guarded"] == 1


async def test_what_nobody_begins_gets_a_line(site: Site, game: Game, until: Until, early: None) -> None:
    async with site.guardian() as (guardian, ladder, _):
        requests = [await game.ask(tier=TIER, budget_ms=5000, entity=f"n{number % 3}") for number in range(6)]
        await until(lambda: len(guardian) == 6)
        ends = await game.ends(6)
        assert len(guardian) == 0

    assert {ends[one.request_id].name for one in requests} == {"InferenceDegraded"}
    assert {cast(Any, event.data).rung for event in ends.values()} == {"grammar"}
    assert {cast(Any, event.data).code for event in ends.values()} == {"no_slot"}
    assert ladder.metrics.counts["guarded"] == 6


async def test_a_guardian_that_begins_later_knows_what_was_asked_before(site: Site, game: Game, early: None) -> None:
    async with site.guardian():  # makes the queue, so that nothing depends on who was first
        pass
    request = await game.ask(tier=TIER, budget_ms=8000)
    async with site.guardian():
        assert (await game.ends(1))[request.request_id].name == "InferenceDegraded"


async def test_a_living_worker_is_left_alone(site: Site, game: Game, until: Until) -> None:
    async with site.guardian() as (guardian, ladder, _), site.worker(TimedEngine(Pace(first=0.001, per_token=0.001)), "well"):
        for _ in range(10):
            await game.ask(tier=TIER, budget_ms=20_000)
        ends = await game.ends(10)
        await until(lambda: len(guardian) == 0)

    assert {event.name for event in ends.values()} == {"InferenceCompleted"}
    assert ladder.metrics.counts["guarded"] == 0


async def test_what_was_said_but_not_recorded_is_not_answered(site: Site, game: Game, until: Until, early: None) -> None:
    """Core subscribers hear a publication before the log takes or refuses it."""
    async with site.guardian() as (guardian, ladder, _):
        draft = Draft(data=game.request(tier=TIER, budget_ms=5000), world=WORLD, entity="mira", subsystem="npc")
        with pytest.raises(Conflict):
            await game.publisher.publish(draft, expected=77)
        await until(lambda: len(guardian) == 1)
        await until(lambda: len(guardian) == 0)
        await guardian.aclose()

    assert await game.said() == []
    assert ladder.metrics.counts["guarded"] == 0


async def test_what_was_spoken_at_the_last_moment_is_never_recorded_as_expired(site: Site, game: Game, connection: Connection) -> None:
    """Somebody spoke a line and is about to record it; a worker that is given the request too late must not say that nobody did."""
    request = await game.ask(tier=TIER, budget_ms=1)
    speaker = Delivery(connection)
    await speaker.open()
    await speaker.speak(WORLD, TokensDelivered(request_id=request.request_id, attempt=1, text="Not now.", last=True, rung="authored"), 0)
    async with site.worker(None, "late") as late:
        while not late.metrics.counts["lost"]:
            await asyncio.sleep(0.005)
        assert await game.said("InferenceExpired") == []
    await speaker.aclose()


async def test_nobody_speaks_behind_an_expiry(site: Site, game: Game, connection: Connection) -> None:
    request = await game.ask(tier=TIER, budget_ms=1)
    async with site.worker(None, "late"):
        assert (await game.ends(1))[request.request_id].name == "InferenceExpired"
    speaker = Delivery(connection)
    await speaker.open()
    with pytest.raises(Conflict):
        await speaker.speak(WORLD, TokensDelivered(request_id=request.request_id, text="Too late."), 0)
    await speaker.aclose()
    assert [chunk.text async for chunk in hear(connection, WORLD, request.request_id)] == [""]


async def _cancel(publisher: Publisher, **names: str) -> str:
    draft = Draft(data=InferenceCancelRequested(reason="left", **names), world=WORLD, entity="mira", subsystem="npc")
    await publisher.publish(draft)
    return draft.id


async def test_a_cancel_of_nothing_open_is_answered_once_and_one_of_something_by_its_end(
    site: Site, game: Game, publisher: Publisher, until: Until
) -> None:
    cancel = partial(_cancel, publisher)
    async with site.guardian() as (guardian, _, _), site.guardian():
        early = await cancel(request_id="r2")  # overtakes its request
        answered, overtaken = await game.ask(tier=TIER, budget_ms=100), await game.ask(tier=TIER, budget_ms=20_000)
        open_ = await game.ask(tier=TIER, budget_ms=20_000, cancel_key="scene-1")
        await until(lambda: len(guardian) >= 2)
        useful = await cancel(cancel_key="scene-1")
        await game.ends(1)
        vain = {
            await cancel(request_id="nobody's"): "is not known",
            await cancel(cancel_key="no-scene"): "no open request has the cancel key 'no-scene'",
            await cancel(): "it names neither",
            await cancel(request_id=answered.request_id): "is not known as an open one",  # of no worker: nobody marked its end
        }
        while len(found := await game.said("InferenceCancelFoundNothing")) < len(vain):
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.5 * GRACE_S)  # a second guardian would have answered by now
        found = await game.said("InferenceCancelFoundNothing")

    said = {event.cause: cast(Any, event.data) for event in found}
    assert len(found) == len(vain)
    assert set(said) == set(vain)
    assert not {early, useful} & set(said)
    assert all(words in said[own].reason and said[own].request_event_id == own for own, words in vain.items())
    assert {overtaken.request_id, open_.request_id} == {"r2", "r3"}


async def test_a_cancel_that_ended_something_is_not_called_vain_by_a_guardian_that_begins_later(
    site: Site, game: Game, publisher: Publisher, until: Until
) -> None:
    async with site.worker(TimedEngine(Pace(first=0.001, per_token=1.0)), "well") as worker:
        named = await game.ask(tier=TIER, budget_ms=20_000)
        keyed = await game.ask(tier=TIER, budget_ms=20_000, cancel_key="scene-1")
        await until(lambda: len(worker.running) == 2)
        await _cancel(publisher, request_id=named.request_id)
        await _cancel(publisher, cancel_key="scene-1")
        ends = await game.ends(2)
        vain = await _cancel(publisher, request_id=keyed.request_id)  # a second one, behind the end
        async with site.guardian() as (guardian, _, _):
            while not (found := await game.said("InferenceCancelFoundNothing")):
                await asyncio.sleep(0.02)
            assert len(guardian) == 0  # nor does it watch what has its end

    assert {event.name for event in ends.values()} == {"InferenceCancelled"}
    assert [(event.cause, cast(Any, event.data).reason) for event in found] == [
        (vain, f"nothing is ended: the request {keyed.request_id!r} had its end before")
    ]


async def test_a_cancel_of_a_request_that_the_guardian_does_not_know_is_answered_by_its_end(
    site: Site, game: Game, publisher: Publisher, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that began long ago, or of a tier that somebody else watches."""
    monkeypatch.setattr(guardian_, "LOOK_BACK", timedelta(0))
    async with site.worker(TimedEngine(Pace(first=0.001, per_token=1.0)), "well") as worker:
        old = await game.ask(tier=TIER, budget_ms=20_000)
        await until(lambda: len(worker.running) == 1)
        async with site.guardian() as (guardian, _, _):
            assert len(guardian) == 0
            await _cancel(publisher, request_id=old.request_id)
            vain = await _cancel(publisher, request_id="nobody's")
            while not (found := await game.said("InferenceCancelFoundNothing")):
                await asyncio.sleep(0.02)
        assert (await game.ends(1))[old.request_id].name == "InferenceCancelled"

    assert [event.cause for event in found] == [vain]
