"""Decisions that never return, in real processes: one input stands still, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from bus.connection import connect
from bus.event import Draft, Event
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerHeartbeat, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested
from worldbus.embedded import NatsServer

ROOT = Path(__file__).parents[3]
SOON = {"WORLDBUS_HANG_REPORT_S": "0.2", "WORLDBUS_HANG_INTERRUPT_S": "0.6", "WORLDBUS_HANG_EXIT_S": "1.5"}
LATE = {"WORLDBUS_HANG_REPORT_S": "0.2", "WORLDBUS_HANG_INTERRUPT_S": "600", "WORLDBUS_HANG_EXIT_S": "1200"}
OTHERS = [f"e{number}" for number in range(24)]  # entities in every partition


@dataclass
class Members:
    """Processes that run the handlers of `tests.hanging`. `ended` are the exit codes of those that ended by themselves."""

    url: str
    folder: Path
    budgets: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
        with (self.folder / f"member-{len(self.processes)}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.hanging", "run", "--only", "hanger,rest", "--nats", self.url, "--durability", "relaxed"],
                    cwd=ROOT,
                    env={**environment, **self.budgets, "WORLDBUS_DATA": str(self.folder / "data"), "WORLDBUS_LOG": "json"},
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            )

    def said(self) -> str:
        return "".join(log.read_text() for log in sorted(self.folder.glob("member-*.log")))

    async def until_said(self, word: str, times: int = 1) -> None:
        while self.said().count(word) < times:
            await asyncio.sleep(0.05)

    async def keep(self) -> None:
        """Start again whoever ends, as an orchestrator would."""
        while True:
            for process in list(self.processes):
                if process.poll() is not None:
                    self.processes.remove(process)
                    self.ended.append(process.returncode)
                    self.start()
            await asyncio.sleep(0.05)

    async def until_ended(self, times: int = 1) -> None:
        """What a process leaves in the log is heard before it has ended: wait for that, too."""
        while len(self.ended) < times:
            await asyncio.sleep(0.05)

    def stop(self) -> list[int]:
        """SIGTERM to all, and their exit codes."""
        for process in self.processes:
            process.terminate()
        return [process.wait(60) for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@dataclass
class World:
    """The log, and what a test does with it."""

    log: Log
    publisher: Publisher
    members: Members

    async def publish(self, data: Message, entity: str, subsystem: str = "game", lane: str = "") -> int:
        return await self.publisher.publish(Draft(data=data, world="w", entity=entity, subsystem=subsystem, lane=lane))

    async def move(self, zone: str, entity: str = "a") -> int:
        return await self.publish(PlayerMoved(zone=zone), entity)

    async def emitted(self, name: str, entity: str = "a", times: int = 1) -> list[Event]:
        """The hanger's events under a name about an entity, once it did so often enough."""
        return await self._until(lambda event: (event.subsystem, event.entity, event.name) == ("hanger", entity, name), times)

    async def rest_goes_on(self) -> None:
        """Return once all other entities were answered that speak now."""
        asked = {await self.publish(PlayerHeartbeat(), entity) for entity in OTHERS}
        await self._until(lambda event: event.subsystem == "rest" and event.lane is not None and event.lane.position in asked, len(asked))

    async def names(self, entity: str = "a") -> list[str]:
        found = await self._until(lambda event: event.subsystem == "hanger" and event.entity == entity, 0)
        return [event.name for event in found]

    async def _until(self, wanted: Callable[[Event], Any], times: int) -> list[Event]:
        found: list[Event] = []
        seen = 0
        while True:
            async for events in self.log.read(after=seen):
                found += [event for event in events if wanted(event)]
                seen = events[-1].position
            if len(found) >= times:
                return found
            await asyncio.sleep(0.05)


@asynccontextmanager
async def world(server: NatsServer, folder: Path, *, members: int, budgets: dict[str, str], kept: bool = False) -> AsyncIterator[World]:
    """A log, and members that run before the block begins; `kept`: they are started again when they end."""
    running = Members(server.url, folder, budgets)
    async with AsyncExitStack() as stack:
        stack.callback(running.kill)
        connection = await stack.enter_async_context(connect(server.url, name="test"))
        log = await open_log(connection)
        stack.push_async_callback(log.aclose)
        publisher = await stack.enter_async_context(open_publisher(connection, log, "relaxed"))
        for _ in range(members):
            running.start()
        found = World(log, publisher, running)
        if kept:
            keeping = asyncio.create_task(running.keep())
            stack.callback(keeping.cancel)
        await running.until_said("running hanger, rest", members)
        await found.rest_goes_on()
        yield found


@pytest.fixture
def server(data_folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


def _data(events: Sequence[Event]) -> Any:
    return events[0].data


@pytest.mark.parametrize(
    ("way", "line"), [("loop", "while True:"), ("regex", "HELL.match"), ("sleep", "time.sleep(3600)"), ("read", "ours.recv(1)")]
)
async def test_an_input_that_hangs_is_parked_with_its_stack_and_the_rest_goes_on(
    server: NatsServer, data_folder: Path, way: str, line: str
) -> None:
    async with world(server, data_folder, members=2, budgets=SOON) as it:
        position = await it.move(way)
        await it.move("quay")
        await it.rest_goes_on()
        parked = _data(await it.emitted("EventParked"))
        await it.emitted("EventDeferred")
        await it.publish(LaneDropRequested(handler="hanger", position=position), "a", "operator")
        entered = _data(await it.emitted("PlayerEnteredZone"))
        codes = it.members.stop()

        assert (parked.code, parked.position) == ("HANDLER_HUNG", position)
        assert line in parked.stack
        assert parked.frames[-1].startswith("tests/hanging.py:")
        assert (entered.zone, entered.session) == ("quay", 0)
        assert (await it.names()).count("EventParked") == 1
        assert it.members.said().count('"event": "decision_interrupted"') == 1
        assert codes == [0, 0]


async def test_an_input_that_cannot_be_interrupted_costs_one_process_and_is_quarantined_by_the_next(
    server: NatsServer, data_folder: Path
) -> None:
    async with world(server, data_folder, members=2, budgets=SOON, kept=True) as it:
        await it.move("swallow")
        await it.rest_goes_on()
        parked = _data(await it.emitted("EventParked"))

        assert parked.code == "HANDLER_HUNG"
        assert "could not be interrupted" in parked.reason
        assert "while True:" in parked.stack
        await it.members.until_ended()
        # One process. On a starved machine the record may not be written in the two seconds that it is given: then the next one goes too.
        assert it.members.ended in ([71], [71, 71])


@pytest.mark.parametrize(("way", "code"), [("exit", 9), ("segfault", -signal.SIGSEGV), ("stuck", 71)])
async def test_an_input_that_kills_without_a_word_is_found_and_quarantined(
    server: NatsServer, data_folder: Path, way: str, code: int
) -> None:
    async with world(server, data_folder, members=2, budgets=SOON, kept=True) as it:
        await it.move("quay", "innocent")
        await it.move(way)
        await it.move("quay", "b")
        parked = _data(await it.emitted("EventParked"))
        await it.rest_goes_on()

        assert parked.code == "HANDLER_HUNG"
        assert "ended without a word while they decided this input" in parked.reason
        await it.members.until_ended()
        assert set(it.members.ended) == {code}
        assert "EventParked" not in await it.names("b") + await it.names("innocent")
        if way == "stuck":
            assert "in stuck" in it.members.said()


async def test_a_process_that_was_stopped_in_the_midst_of_a_decision_was_not_hung(server: NatsServer, data_folder: Path) -> None:
    budgets = {"WORLDBUS_HANG_REPORT_S": "0.2", "WORLDBUS_HANG_INTERRUPT_S": "5", "WORLDBUS_HANG_EXIT_S": "7"}
    async with world(server, data_folder, members=1, budgets=budgets) as it:
        await it.move("slow")
        await it.members.until_said('"event": "decision_hangs"')
        it.members.processes[0].send_signal(signal.SIGSTOP)
        await asyncio.sleep(8)
        it.members.processes[0].send_signal(signal.SIGCONT)
        await it.emitted("PlayerEnteredZone")
        await it.rest_goes_on()

        assert await it.names() == ["PlayerEnteredZone"]
        assert it.members.stop() == [0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_decision_is_given_up_when_its_process_is_told_to_stop_and_made_by_the_next(
    server: NatsServer, data_folder: Path, number: signal.Signals
) -> None:
    async with world(server, data_folder, members=1, budgets=LATE) as it:
        await it.move("sleep")
        await it.members.until_said('"event": "decision_hangs"')
        it.members.processes[0].send_signal(number)

        assert it.members.processes[0].wait(60) == 0
        assert await it.names() == []


@pytest.mark.parametrize("way", ["swallow", "stuck"])
async def test_a_process_that_stands_still_ends_by_sigterm_whatever_it_does(server: NatsServer, data_folder: Path, way: str) -> None:
    budgets = LATE if way == "swallow" else SOON
    async with world(server, data_folder, members=1, budgets=budgets) as it:
        await it.move(way)
        await it.members.until_said(f"hangs by {way}")

        assert it.members.stop() == [71]


async def test_a_lane_whose_first_state_or_lanes_cannot_be_found_is_parked(server: NatsServer, data_folder: Path) -> None:
    async with world(server, data_folder, members=1, budgets=SOON) as it:
        await it.move("entities-loop", "astray")
        await it.move("quay", "initial-sleep")
        parked = [_data(await it.emitted("EventParked", entity)) for entity in ("astray", "initial-sleep")]
        await it.rest_goes_on()

        assert [one.code for one in parked] == ["HANDLER_HUNG", "HANDLER_HUNG"]
        assert ["_entities" in parked[0].stack, "_initial" in parked[1].stack] == [True, True]
        assert await it.names("astray") == ["EventParked"]


@pytest.mark.parametrize(("way", "ended"), [("loop", []), ("swallow", [71])])
async def test_a_lane_whose_own_history_hangs_is_quarantined(server: NatsServer, data_folder: Path, way: str, ended: list[int]) -> None:
    async with world(server, data_folder, members=1, budgets=SOON, kept=True) as it:
        first = await it.publish(PlayerHeartbeat(), "a")  # any position that its history may answer
        partition = (await it.log.get(first)).partition
        await it.publish(PlayerEnteredZone(zone=f"evolve-{way}"), "a", "hanger", f"{partition}:{first}:0:1")
        await it.move("quay")
        parked = _data(await it.emitted("EventParked"))
        await it.rest_goes_on()

        assert parked.code == "HANDLER_HUNG"
        assert "_evolve" in parked.stack
        await it.members.until_ended(len(ended))
        assert it.members.ended == ended


async def test_a_retry_that_hangs_is_told_as_a_failed_one(server: NatsServer, data_folder: Path) -> None:
    async with world(server, data_folder, members=1, budgets=SOON, kept=True) as it:
        await it.move("loop")
        await it.emitted("EventParked")
        await it.publish(LaneRetryRequested(handler="hanger"), "a", "operator")
        failed = _data(await it.emitted("LaneRetryFailed"))

        assert failed.code == "HANDLER_HUNG"
        assert "while True:" in failed.stack
        assert it.members.ended == []


async def test_an_input_is_dropped_by_a_member_that_does_not_hold_it(server: NatsServer, data_folder: Path) -> None:
    """The request and the input may lie with two members; whichever it is, the input is given up."""
    async with world(server, data_folder, members=2, budgets=SOON) as it:
        for number in range(4):
            entity = f"drop-{number}"
            position = await it.move("sleep", entity)
            await it.publish(LaneDropRequested(handler="hanger", position=position), entity, "operator")
            await it.move("quay", entity)
            entered = _data(await it.emitted("PlayerEnteredZone", entity))

            assert entered.zone == "quay"
            assert "LaneInputDropped" in await it.names(entity)
