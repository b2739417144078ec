"""Single bit flips in the log's files: each must be noticed before anybody is served wrong data, and mended from the archive.

One log is filled, handled in part, projected and archived; then for every trial a copy of its files gets one flipped bit, a server is
started on the copy, and the start check holds the log against the archive. What it lets pass must be the whole log, byte by byte; what it
refuses is restored and must then be the whole log.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.checks import handlers as handler_checks
from bench.chaos.cluster import PASSWORD, in_thread
from bench.chaos.history import History, Violation, digest
from bench.chaos.kills import folder
from bench.duskmarket import PROJECTIONS, player
from bus.connection import connect
from bus.errors import LogDamaged, ServerFailed, WorldbusError
from bus.event import Draft
from bus.log import Log, LogConfig, open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers
from migrations import migrate
from projections.archive import check
from projections.projector import Projector
from projections.store import connected
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined, PlayerMoved
from worldbus.embedded import NatsServer, PostgresServer
from worldbus.lag import consumers
from worldbus.repair import repair

WORLD = "flips"
PLAYERS = 40
RESUME_S = 20.0
READY_S = 4.0  # a server that cannot recover a stream runs on and is not healthy
KINDS = ("message", "message", "message", "consumer", "index", "meta")
"""The parts that are hit, in turn: the messages (.blk) most often, a consumer's state, the server's index, the stream's definition."""

OFFLINE = re.compile(r'unsupported consumer "([^"]*)"')

Fingerprint = Sequence[tuple[int, str]]  # position and digest of every event


@dataclass(frozen=True, slots=True)
class Whole:
    """The content that must be there: every event, and how far each consumer had settled."""

    events: Fingerprint
    floors: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One flip and what came of it. `moved` is how far a consumer's ack floor went forward."""

    kind: str
    unclean: bool
    file: str
    noticed: str = ""  # what the start check said; empty: it let the log pass
    head_noticed: bool = False  # the quick check alone would have refused
    repaired: bool = False
    moved: dict[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """All trials of a run."""

    seed: int
    events: int
    trials: Sequence[Trial]

    @property
    def violations(self) -> list[Violation]:
        """Flips by which wrong data was served, or that could not be mended."""
        return [
            Violation("L6", f"flip in {one.file} ({'unclean' if one.unclean else 'clean'} stop): {one.problem}")
            for one in self.trials
            if one.problem
        ]

    @property
    def noticed(self) -> int:
        return sum(bool(one.noticed) for one in self.trials)

    @property
    def repaired(self) -> int:
        return sum(one.repaired for one in self.trials)

    @property
    def harmless(self) -> int:
        """Flips that the server mended by itself, or that hit nothing."""
        return sum(not one.noticed and not one.problem for one in self.trials)


async def run(flips: int, seed: int, *, events: int = 1500, tell: Callable[[str], None] = lambda _: None) -> Flips:
    """Flip so many bits, one at a time, each in a fresh copy."""
    dice = random.Random(f"flips/{seed}")
    async with folder() as path:
        postgres = PostgresServer(path / "postgres", secret=lambda role: f"{PASSWORD}-{role}", strict=False)
        await in_thread(postgres.start)
        try:
            await in_thread(lambda: migrate(postgres.dsn))
            whole = await _fill(path, postgres, events, seed)
            tell(f"seed {seed}: {len(whole.events)} events, {flips} flips")
            trials = []
            for number in range(flips):
                kind, unclean = KINDS[number % len(KINDS)], dice.random() < 0.5
                trials.append(await _trial(path, postgres, whole, kind, unclean, dice))
                shutil.rmtree(path / "trial")
            tell(", ".join(f"{kind}: {count}" for kind, count in Counter(one.kind for one in trials if one.noticed).items()) + " noticed")
            return Flips(seed=seed, events=len(whole.events), trials=trials)
        finally:
            await in_thread(postgres.stop)


async def _fill(path: Path, postgres: PostgresServer, events: int, seed: int) -> Whole:
    """Make the log, its consumers, its archive; keep its files as a clean and as an unclean stop leave them."""
    server = NatsServer(path / "nats", password=PASSWORD, strict=True)
    await in_thread(server.start)
    try:
        async with connect(server.url, name="fill") as connection:
            log = await open_log(connection)
            await _publish(log, server, events // 2, seed)
            async with run_handlers(connection, log, [player]):
                while not all(one.done for one in await consumers(log, [player])):
                    await asyncio.sleep(0.1)
            await _publish(log, server, events // 4, seed + 1)  # nobody has handled these: floors stand before the end
            await Projector(postgres.dsn, PROJECTIONS).run(log, follow=False)
            whole = Whole(await _fingerprint(log), await _floors(log))
        await in_thread(server.kill)
        await in_thread(lambda: shutil.copytree(server.store, path / "unclean"))
        await in_thread(server.start)
        await in_thread(server.stop)
        await in_thread(lambda: shutil.copytree(server.store, path / "clean"))
    finally:
        await in_thread(server.stop)
    return whole


async def _publish(log: Log, server: NatsServer, count: int, seed: int) -> None:
    dice = random.Random(seed)
    async with open_publisher(log.connection, log, "strict", monitors=[server.monitor_url]) as publisher:
        drafts = []
        for number in range(count):
            entity = f"p{number % PLAYERS}"
            message: PlayerJoined | PlayerMoved | PlayerHeartbeat
            if number < PLAYERS:
                message = PlayerJoined(display_name=entity, platform="linux", game_server="flips", zone="quay")
            elif dice.random() < 0.2:
                message = PlayerHeartbeat()
            else:
                message = PlayerMoved(zone=dice.choice(("quay", "moor", "pass")), x=number)
            drafts.append(Draft(data=message, world=WORLD, entity=entity))
        await publisher.publish_many(drafts)


async def _fingerprint(log: Log) -> Fingerprint:
    return [(event.position, digest(event.raw + ".".join(event.subject).encode())) async for batch in log.read() for event in batch]


def _files(store: Path, kind: str) -> list[Path]:
    stream = next(store.glob("jetstream/*/streams/LOG"))
    patterns = {
        "message": "msgs/*.blk",
        "consumer": "obs/player_[0-7]/*",
        "index": "msgs/index.db",
        "meta": "meta.*",
    }
    return [file for file in sorted(stream.glob(patterns[kind])) if file.stat().st_size]


def flip(file: Path, dice: random.Random) -> str:
    """Flip one random bit of a file; says which."""
    raw = bytearray(file.read_bytes())
    at, bit = dice.randrange(len(raw)), dice.randrange(8)
    raw[at] ^= 1 << bit
    file.write_bytes(raw)
    return f"{file.parent.name}/{file.name} byte {at} bit {bit}"


async def _trial(path: Path, postgres: PostgresServer, whole: Whole, kind: str, unclean: bool, dice: random.Random) -> Trial:
    source = path / ("unclean" if unclean else "clean")
    files = _files(source, kind)
    if not files:  # an unclean stop leaves no index
        files, kind = _files(source, "message"), "message"
    chosen = dice.choice(files)
    server = NatsServer(path / "trial", password=PASSWORD, strict=True, ready_s=READY_S)
    await in_thread(lambda: shutil.copytree(source, server.store))
    where = flip(server.store / chosen.relative_to(source), dice)
    trial = Trial(kind=kind, unclean=unclean, file=where)
    try:
        refused = await _start(server)
        return await _judge(server, postgres, whole, trial, refused)
    except Exception as error:  # whatever else went wrong is a finding too
        return Trial(kind=kind, unclean=unclean, file=where, problem=f"{type(error).__name__}: {error}")
    finally:
        await in_thread(server.stop)


async def _start(server: NatsServer) -> str:
    """Start the server; one that refuses its stream is started without it, as its operator would. Returns why it refused."""
    try:
        await in_thread(server.start)
    except ServerFailed as error:
        stream = next(server.store.glob("jetstream/*/streams/LOG"))
        await in_thread(lambda: shutil.move(stream, server.store / "set-aside"))
        await in_thread(server.start)
        return str(error)
    return ""


async def _judge(server: NatsServer, postgres: PostgresServer, whole: Whole, trial: Trial, refused: str) -> Trial:
    async with connect(server.url, name="flips") as connection:
        head, full = (refused, refused) if refused else await _start_check(server, postgres.dsn)
        facts = {"kind": trial.kind, "unclean": trial.unclean, "file": trial.file, "noticed": full, "head_noticed": bool(head)}
        if not full:
            log = await open_log(connection)
            served, moved = await _fingerprint(log), await _moved(log, whole)
            if served != whole.events:
                return Trial(**facts, problem=f"a log passed the start check that serves {len(served)} of {len(whole.events)} events")  # type: ignore[arg-type]
            if trial.kind == "consumer":
                return await _judge_consumer(server, log, facts | {"moved": moved})
            return Trial(**facts)  # type: ignore[arg-type]
        if named := OFFLINE.search(full):  # the log itself is whole; a consumer's definition keeps it off line
            return await _without_consumer(server, named[1] or _nameless(server), facts, whole)
        done = await repair(connection, postgres.dsn, LogConfig())
        log = await open_log(connection)
        served = await _fingerprint(log)
        _, again = await _start_check(server, postgres.dsn)
        problem = "" if served == whole.events and not again else f"repair ({done.restored} restored) left another log: {again}"
        return Trial(**facts, repaired=not problem, problem=problem)  # type: ignore[arg-type]


async def _start_check(server: NatsServer, dsn: str) -> tuple[str, str]:
    """The words of the quick and the full check of log against archive; empty: they agree."""
    said = []
    for full in (False, True):
        try:
            async with connect(server.url, name="check") as connection, connected(dsn) as database:
                log = await open_log(connection)
                said.append((await check(database, await log.state(), log, full=full)).problem)
        except WorldbusError as error:
            said.append(str(error))
    return said[0], said[1]


async def _floors(log: Log) -> dict[str, int]:
    return {one.name: one.settled for one in await consumers(log, [player]) if one.exists}


async def _moved(log: Log, whole: Whole) -> dict[str, int]:
    """By how many positions an ack floor stands beyond what was ever settled: inputs that nobody would answer."""
    return {name: floor - whole.floors[name] for name, floor in (await _floors(log)).items() if floor > whole.floors[name]}


async def _judge_consumer(server: NatsServer, log: Log, facts: dict[str, object]) -> Trial:
    """Judge what handlers make of a damaged consumer: they go on, or refuse and say what to remove."""
    try:
        return Trial(**facts, problem=await _resume(log))  # type: ignore[arg-type]
    except LogDamaged as error:
        return await _without_consumer(server, str(error.facts["consumer"]), facts | {"noticed": str(error)})


def _nameless(server: NatsServer) -> str:
    """The folder of the consumer whose definition has lost its name: the server cannot say which one it is."""
    for meta in server.store.glob("jetstream/*/streams/LOG/obs/*/meta.inf"):
        try:
            name = json.loads(meta.read_bytes()).get("Name")
        except ValueError:
            name = None
        if name != meta.parent.name:
            return meta.parent.name
    raise LookupError("every consumer's definition has its name")


async def _without_consumer(server: NatsServer, name: str, facts: dict[str, object], whole: Whole | None = None) -> Trial:
    """Remove what is left of a damaged consumer, as the message says, and go on: the log is whole and every input finds its answer."""
    await in_thread(server.stop)
    await in_thread(lambda: shutil.rmtree(next(server.store.glob(f"jetstream/*/streams/LOG/obs/{name}"))))
    await in_thread(server.start)
    async with connect(server.url, name="flips") as connection:
        log = await open_log(connection)
        same = whole is None or await _fingerprint(log) == whole.events
        problem = await _resume(log) if same else "without the consumer the log is another one"
    return Trial(**facts, repaired=not problem, problem=problem)  # type: ignore[arg-type]


async def _resume(log: Log) -> str:
    """Let the handler go on from what its consumers believe; every input must find its answer, once. Says what is wrong."""
    until = time.monotonic() + RESUME_S
    async with run_handlers(log.connection, log, [player]):
        while True:
            history = History([event async for batch in log.read() for event in batch])
            found = handler_checks.check(history, [player])
            if not found or time.monotonic() > until:
                return str(found[0]) if found else ""
            await asyncio.sleep(0.3)
