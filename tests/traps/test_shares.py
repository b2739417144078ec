"""Traps 8, 12 and 13 of the peers: who matters is behind who does not."""

from __future__ import annotations

import asyncio
import os
import signal as signals
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bus.connection import Connection, connect
from bus.errors import PermissionDenied
from bus.event import Draft
from bus.log import open_log
from bus.publisher import open_publisher
from bus.signals import signal
from inference.engines.timed import Pace
from inference.settings import WorkerSettings
from inference.worker import run_worker
from tests.engines import TimedEngine
from tests.integration.inference.conftest import LADDERS, WORLD, Game, Run, Until
from worldbus.embedded.nats import binary, free_ports
from worldbus.embedded.process import Process


async def test_trap_8_priority_lost_inside_engine_or_inverted_sign(game: Game, run: Run, connection: Connection, until: Until) -> None:
    """aibrix#2286: who matters stands behind a full batch of others, each of which would take seconds."""
    engine = TimedEngine(Pace(first=0.001, per_token=0.02), slots=4)
    async with run(engine) as worker:
        for _ in range(4):
            await game.ask(max_tokens=400, budget_ms=60_000, salience=0.1, entity=f"n{_}")
        await until(lambda: len(worker.running) == 4)
        urgent = await game.ask(max_tokens=4, budget_ms=5000, salience=1.0, player="p2", entity="other")
        while not (done := await game.said("InferenceCompleted", "InferenceDegraded")):
            await asyncio.sleep(0.01)

        assert [(event.name, cast(Any, event.data).request_id) for event in done] == [("InferenceCompleted", urgent.request_id)]
        for number in range(1, 5):
            signal(connection, f"sig.{WORLD}.cancel.r{number}")
        await game.ends(5)


CONFIG = """
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: "{store}" }}
authorization {{ users: [
  {{ user: world, password: p }}
  {{ user: client, password: p, permissions: {{
      publish: {{ allow: ["evt.*.game.>", "$JS.API.>"] }}, subscribe: {{ allow: ["_INBOX.>"] }} }} }}
] }}
"""


@pytest.fixture
def guarded_server() -> Iterator[str]:
    """The address of a server on which a client may speak as `game` and as nobody else, with a place for the user's name."""
    with tempfile.TemporaryDirectory(prefix="wb-trap-") as name:
        folder, (port, monitor) = Path(name), free_ports()
        (folder / "nats.conf").write_text(CONFIG.format(port=port, monitor=monitor, store=folder / "store"))
        process = Process("nats-server", folder, stop_signal=signals.SIGTERM)

        def ready() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        arguments = [str(binary()), "-c", str(folder / "nats.conf")]
        process.start(arguments, cwd=folder, env={"PATH": os.defpath}, ready=ready, within_s=20)
        yield f"nats://{{}}:p@127.0.0.1:{port}"
        process.stop()


async def test_trap_12_client_set_priority_unauthenticated(guarded_server: str, until: Until) -> None:
    """models-as-a-service#1453: whoever writes the header is served first. Here who asks is in the subject, which the server
    guards, and the kind's ladder says whose word on importance counts."""
    async with connect(guarded_server.format("world"), name="world") as trusted:
        log = await open_log(trusted)
        engine = TimedEngine(Pace(first=0.001, per_token=0.01), slots=1)
        settings = WorkerSettings(tier="gold", name="w1")
        async with (
            connect(guarded_server.format("client"), name="client") as outside,
            open_publisher(trusted, log, "relaxed") as world,
            open_publisher(outside, await open_log(outside), "relaxed") as client,
            run_worker(trusted, log, world, LADDERS, settings, engine=engine) as worker,
        ):
            game = Game(log, world)
            await until(lambda: worker.up)
            with pytest.raises(PermissionDenied):
                await client.publish(Draft(data=game.request(salience=1.0), world=WORLD, entity="mira", subsystem="npc"))

            running = await game.ask(max_tokens=150, budget_ms=30_000, salience=0.6)
            await until(lambda: any(work.kept > 2 for work in worker.running))
            pushy = game.request(max_tokens=4, budget_ms=20_000, salience=1.0, player="cheater")
            await client.publish(Draft(data=pushy, world=WORLD, entity="cheater", subsystem="game"))
            await until(lambda: len(worker.waiting) == 1)
            asked = await game.ask(max_tokens=4, budget_ms=20_000, salience=1.0, player="p2")
            ends = await game.ends(3)

    order = sorted(ends, key=lambda name: ends[name].position)
    assert order[0] == asked.request_id, "the world's own word counts: it takes the slot"
    assert {event.name for event in ends.values()} == {"InferenceCompleted"}
    assert worker.metrics.counts["preempted"] == 1, "the client's does not"
    assert order.index(running.request_id) < order.index(pushy.request_id) or pushy.salience > 0.5


async def test_trap_12_a_claimed_player_does_not_eat_the_share_of_the_real_one(game: Game, run: Run, until: Until) -> None:
    """The same trap with a name: a client that asks a hundred times as `p1` leaves p1's own request its turn."""
    async with run(TimedEngine(Pace(first=0.001, per_token=0.05), slots=1)) as worker:
        for number in range(50):
            forged = game.request(max_tokens=20, budget_ms=60_000, player="p1", salience=1.0)
            await game.publisher.publish(Draft(data=forged, world=WORLD, entity=f"e{number}", subsystem="game"))
        await until(lambda: len(worker.waiting) >= 40)
        own = await game.ask(max_tokens=4, budget_ms=60_000, player="p1", salience=0.5)
        assert await _ended(game, own.request_id) == "InferenceCompleted"
        assert {work.flow.player for work in worker.waiting} == {"game/p1"}
        assert len(worker.waiting) > 20, "it did not wait for the others to end"
        for number in range(1, 51):
            signal(worker.queue._connection, f"sig.{WORLD}.cancel.r{number}")
        await game.ends(51)


def test_trap_12_importance_of_a_kind_is_the_word_of_its_askers() -> None:
    """The same rule as data: every kind of the world that is for players names who may say how much it matters."""
    for kind, asker in (("npc_line", "npc"), ("story_beat", "storyteller")):
        ladder = LADDERS.of(kind)
        assert ladder is not None
        assert (ladder.most_salience(asker), ladder.most_salience("game")) == (1.0, 0.5)


async def test_trap_13_high_priority_tenant_shed_by_anothers_burst(game: Game, run: Run, until: Until) -> None:
    """confidential-model-router#421: a burst fills the queue, and whoever comes then is refused. Here whoever has most waiting is."""
    async with run(TimedEngine(Pace(first=0.001, per_token=0.01), slots=1)) as worker:
        burst = [await game.ask(max_tokens=20, budget_ms=20_000, player="loud", salience=1.0, entity=f"n{n % 9}") for n in range(120)]
        await until(lambda: len(worker.waiting) >= worker.settings.promise.look_ahead)
        quiet = await game.ask(max_tokens=4, budget_ms=20_000, player="quiet", salience=0.5, entity="other")
        ends = await _ended(game, quiet.request_id)
        for one in burst:
            signal(worker.queue._connection, f"sig.{WORLD}.cancel.{one.request_id}")
        await game.ends(121)

    assert ends == "InferenceCompleted"


async def _ended(game: Game, request_id: str) -> str:
    while True:
        for event in await game.said("InferenceCompleted", "InferenceDegraded", "InferenceExpired"):
            if cast(Any, event.data).request_id == request_id:
                return event.name
        await asyncio.sleep(0.02)
