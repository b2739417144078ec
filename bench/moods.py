"""`moods`: a world kept up by `worldbus up`, under load, while its Postgres is in one bad mood after the other.

The handlers need no Postgres: their 99th percentile in each mood stands beside that of the quiet moments between the moods. Both are
measured by the log's own clock, from the record of a move to the record of its answer. What was acknowledged, and what the tables say once
they have caught up, is for whoever calls `lived`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.chaos.disk import NoDisk
from bench.harness import Result, folder, main
from bench.postgres_moods import MOODS, Mood, Tables
from bench.small_disk import small_disk
from bus.connection import connect
from bus.errors import Transient
from bus.event import Draft
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerJoined, PlayerMoved
from worldbus.embedded.folder import Folder

SECONDS: Final = 5.0
RATE: Final = 25  # moves per second
PLAYERS: Final = 40
DISK_MB: Final = 400  # of Postgres alone; the log lies on another disk
QUIET: Final = "quiet"
TABLES_S: Final = 180.0  # until the tables have to be there again
UNSAID: Final = frozenset({"hanging"})  # an open transaction waits as it would behind a lock


@dataclass(slots=True)
class Lived:
    """The course of a world."""

    said: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    """The log of `up`: Unix time, name, facts."""
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The span of each mood, Unix time."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """By id of a move, the position that its publisher was told."""
    refused: int = 0
    recorded: dict[str, int] = field(default_factory=dict)
    """By id, the position at which the log has it."""
    answered_at: list[float] = field(default_factory=list)
    """The recording of each answer, Unix time."""
    answers: dict[str, int] = field(default_factory=dict)
    """By id of a move, how often it was answered."""
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    """By player, the zone that the handlers said last."""
    shown: dict[str, str] = field(default_factory=dict)
    """By player, the zone that the tables say at the end."""
    status: int | None = None
    """The end of `up` on request."""

    def waited(self, mood: str) -> list[str]:
        """The reasons that the projector gave for waiting in a mood."""
        begin, end = self.spans[mood]
        return [reason for at, reason in waits(self.said) if begin <= at <= end]

    def answered_in(self, mood: str) -> int:
        """The number of moves answered while it lasted."""
        begin, end = self.spans[mood]
        return sum(begin <= at <= end for at in self.answered_at)

    def p99_s(self, phase: str) -> float:
        """The 99th percentile from a move's record to its answer's."""
        values = sorted(self.latencies_s[phase])
        return values[int(len(values) * 0.99)]


@contextmanager
def world_on(data: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`worldbus up` on a new data folder, whose Postgres has a small disk of its own where that can be mounted."""
    Folder(data)
    place = data / "postgres"
    place.mkdir()
    with ExitStack() as stack:
        with suppress(NoDisk):
            stack.enter_context(small_disk(place, DISK_MB))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
        env = kept | {"WORLDBUS_DATA": str(data), "WORLDBUS_DURABILITY": "relaxed", "WORLDBUS_LOG": "json"}
        log = data / "up.log"
        command = [sys.executable, "-c", "from worldbus.cli import main; main()", "up"]
        with log.open("w") as said:
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=said, stdout=subprocess.DEVNULL, text=True)
        try:
            while "Stop it with Ctrl-C" not in log.read_text():
                if process.poll() is not None:
                    raise RuntimeError(log.read_text()[-4000:])
                time.sleep(0.05)
            yield process, log
        finally:
            process.terminate()
            process.wait(60)


class _Load:
    """Moves at a steady rate, each a publish of its own."""

    def __init__(self, publisher: Publisher, lived: Lived) -> None:
        self._publisher, self._lived = publisher, lived
        self.phase = "warm"

    async def join(self) -> None:
        drafts = [Draft(data=PlayerJoined(display_name=f"P {n}", zone="quay"), world="main", entity=f"p{n}") for n in range(PLAYERS)]
        await self._publisher.publish_many(drafts)

    async def run(self) -> None:
        """Move players until cancelled."""
        number, began, waiting = 0, time.perf_counter(), set[asyncio.Task[None]]()
        try:
            while True:
                task = asyncio.create_task(self._move(number, self.phase))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
                number += 1
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        finally:
            await asyncio.gather(*waiting)

    async def _move(self, number: int, phase: str) -> None:
        name = f"{phase}.{number}"
        draft = Draft(data=PlayerMoved(zone=f"zone-{number}", x=number), world="main", entity=f"p{number % PLAYERS}", id=name)
        try:
            self._lived.acknowledged[name] = await self._publisher.publish(draft)
        except Transient:
            self._lived.refused += 1


async def live(data: Path, moods: Mapping[str, Mood] = MOODS, *, seconds: float = SECONDS) -> Lived:
    """A world on `data` that goes through `moods`, each for `seconds` after as long a quiet time."""
    lived = Lived()
    with world_on(data) as (process, said):
        own = Folder(data, create=False)
        found = own.running()
        assert found is not None
        assert found.nats_url
        assert found.postgres_dsn
        host = found.postgres_dsn.partition("?")[2]
        tables = Tables(data, f"postgresql://worldbus_admin:{own.secret('worldbus_admin')}@/postgres?{host}")
        async with connect(found.nats_url, name="moods") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                load = _Load(publisher, lived)
                await load.join()
                moving = asyncio.create_task(load.run())
                await asyncio.sleep(min(2.0, seconds))
                for name, mood in moods.items():
                    await _one(lived, load, name, mood, tables, seconds, said)
                    assert process.poll() is None, said.read_text()[-4000:]
                    await _caught_up(tables, (await log.state()).last)
                moving.cancel()
                await asyncio.gather(moving, return_exceptions=True)
            await _settled(lived, log)
            await _caught_up(tables, (await log.state()).last)
            await log.aclose()
        await _shown(lived, tables)
        assert process.poll() is None, said.read_text()[-4000:]
        process.terminate()
        lived.status = await asyncio.to_thread(process.wait, 60)
        lived.said = list(_lines(said))
    return lived


async def _one(lived: Lived, load: _Load, name: str, mood: Mood, tables: Tables, seconds: float, said: Path) -> None:
    load.phase = QUIET
    await asyncio.sleep(seconds)
    load.phase = "turn"
    async with mood(tables):
        begin, load.phase = time.time(), name
        await asyncio.sleep(seconds)
        async with asyncio.timeout(TABLES_S):  # a busy machine may take longer to notice
            while name not in UNSAID and not any(at >= begin for at, _ in waits(_lines(said))):
                await asyncio.sleep(0.2)
        lived.spans[name] = (begin, time.time())
        load.phase = "turn"


async def _caught_up(tables: Tables, position: int) -> None:
    async with asyncio.timeout(TABLES_S):
        while await tables.ask("SELECT position FROM worldbus.checkpoint") < [(position,)]:
            await asyncio.sleep(0.2)


async def _settled(lived: Lived, log: Log) -> None:
    """Read the log until every move in it has its answer."""
    moves: dict[str, int] = {}
    async with asyncio.timeout(TABLES_S):
        async for events in log.read(follow=True):
            for event in events:
                match event.data:
                    case PlayerMoved():
                        moves[event.id] = event.recorded_ns
                        lived.recorded[event.id] = event.position
                    case PlayerEnteredZone(zone=zone):
                        lived.zones[event.entity] = zone
                        if event.cause in moves:
                            lived.answers[event.cause] = lived.answers.get(event.cause, 0) + 1
                            lived.answered_at.append(event.recorded_ns / 1e9)
                            spent = (event.recorded_ns - moves[event.cause]) / 1e9
                            lived.latencies_s.setdefault(event.cause.partition(".")[0], []).append(spent)
            if lived.answers.keys() >= lived.acknowledged.keys() | moves.keys():
                return


async def _shown(lived: Lived, tables: Tables) -> None:
    lived.shown = dict(await tables.ask("SELECT player, zone FROM world.players WHERE world = 'main'"))  # type: ignore[arg-type]


def waits(said: Iterable[tuple[float, str, dict[str, Any]]]) -> Iterator[tuple[float, str]]:
    """The moments at which the projector said that it waits, and why."""
    return ((at, str(facts.get("reason"))) for at, name, facts in said if name in ("projector_waits", "store_unavailable"))


def _lines(said: Path) -> Iterator[tuple[float, str, dict[str, Any]]]:
    for line in said.read_text().splitlines():
        with suppress(ValueError, KeyError, TypeError):
            facts = json.loads(line)
            yield datetime.fromisoformat(facts["timestamp"]).timestamp(), facts["event"], facts


async def run(scale: float = 1.0) -> Sequence[Result]:
    """The 99th percentile of handlers in every mood, beside the quiet one."""
    with folder() as data:
        moods = {name: mood for name, mood in MOODS.items() if name != "disk-full" or os.geteuid() == 0}
        lived = await live(data / "d", moods, seconds=SECONDS * scale)
    assert lived.answers.keys() >= lived.acknowledged.keys()
    quiet = lived.p99_s(QUIET)
    assert lived.status == 0
    against = f"quiet: {quiet * 1000:.1f} ms; wanted at least 0.5x"
    return [
        Result(name=f"handle {name}"[:18], value=lived.p99_s(name) * 1000, unit="ms p99", against=against, ratio=quiet / lived.p99_s(name))
        for name in moods
    ]


if __name__ == "__main__":
    main(run)
