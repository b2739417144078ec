"""The kill test: load, faults, healing, and then every checker over what is on record."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos import collect, evidence
from bench.chaos.checks import handlers as handler_checks
from bench.chaos.checks import log as log_checks
from bench.chaos.checks import money as money_checks
from bench.chaos.checks import poison as poison_checks
from bench.chaos.checks import projections as projection_checks
from bench.chaos.checks import sums as sum_checks
from bench.chaos.checks.log import Sight
from bench.chaos.checks.projections import Sample
from bench.chaos.cluster import Cluster
from bench.chaos.history import History, Violation, digest, id_of
from bench.chaos.load import HEX, Mix
from bench.chaos.nemesis import Nemesis
from bench.duskmarket import ALL
from bus.connection import connect
from bus.durability import Durability
from bus.errors import WorldbusError
from bus.log import Log, open_log
from projections.store import TROUBLE, connected
from worldbus.lag import consumers

WARM_S = 1.0
SAMPLE_S = 0.1
DRAIN_S = 300.0
EVIDENCE = "violations.txt"
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The findings of one run."""

    seed: int
    seconds: float
    kills: int
    faults: dict[str, int]
    events: int
    acked: int
    unknown_resolved: int
    refused: int
    longest_gap_s: float
    samples: int
    unexpected_ends: list[str]
    violations: list[Violation]

    @property
    def clean(self) -> bool:
        return not self.violations and not self.unexpected_ends

    def count(self, *rules: str) -> int:
        """Violations of these rules."""
        return sum(violation.rule in rules for violation in self.violations)


@dataclass(slots=True)
class Watcher:
    """Looks at log and tables from outside while the run goes on; what it saw must stay true."""

    cluster: Cluster
    sights: list[Sight] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    async def run(self) -> None:
        """Look until cancelled."""
        await asyncio.gather(self._tables(), self._log())

    async def _tables(self) -> None:
        while True:
            with suppress(WorldbusError, *TROUBLE):
                async with connected(self.cluster.postgres.dsn) as connection:
                    while True:
                        async with connection.transaction(isolation="repeatable_read", readonly=True):
                            self.samples.append(await collect.sample(connection))
                        await asyncio.sleep(SAMPLE_S)
            await asyncio.sleep(SAMPLE_S)

    async def _log(self) -> None:
        async with connect(self.cluster.nats.url, name="watcher") as connection:
            log = await open_log(connection)
            while True:
                with suppress(WorldbusError):
                    event = await log.get((await log.state(timeout=1.0)).last, timeout=1.0)
                    self.sights.append(Sight(event.position, digest(event.raw)))
                await asyncio.sleep(SAMPLE_S)


@asynccontextmanager
async def folder(keep: Path | None = None) -> AsyncIterator[Path]:
    """A folder for one run, passable for the user that Postgres runs as. `keep`: where to leave the workers' logs, journals and evidence; a
    run that broke a promise leaves them in a folder of its own.
    """
    path = await asyncio.to_thread(_make_folder)
    try:
        yield path
    finally:
        await asyncio.to_thread(_remove_folder, path, keep)


def _make_folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="wb-chaos-"))
    path.chmod(0o711)
    return path


def _remove_folder(path: Path, keep: Path | None) -> None:
    if keep is None and (path / EVIDENCE).exists():
        keep = Path(tempfile.mkdtemp(prefix="wb-chaos-evidence-"))
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for file in (*path.glob("*/*.log"), *path.glob("*.journal"), *path.glob(EVIDENCE)):
            shutil.copy(file, keep)
        sys.stderr.write(f"chaos: logs, journals and evidence are in {keep}\n")
    shutil.rmtree(path, ignore_errors=True)


async def run(
    kills: int,
    seed: int,
    *,
    durability: Durability = "strict",
    mix: Mix | None = None,
    keep: Path | None = None,
    tell: Tell = lambda _: None,
) -> Outcome:
    """Kill so many processes under load, heal, and check every invariant."""
    async with folder(keep) as path:
        cluster = Cluster(path, seed, durability, mix=mix or Mix())
        nemesis = Nemesis(cluster, seed)
        watcher = Watcher(cluster)
        begun = time.monotonic()
        try:
            await cluster.open()
            await asyncio.sleep(WARM_S)
            watching = asyncio.create_task(watcher.run(), name="watcher")
            tell(f"seed {seed}: {kills} kills under load, {durability}")
            await nemesis.run(kills)
            tell(f"{nemesis.kills} kills done; healing")
            ended = time.monotonic()
            last = await settle(cluster)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            tell(f"{last} events in the log; checking")
            return await judge(cluster, nemesis, watcher, begun, ended)
        finally:
            await cluster.aclose()


async def settle(cluster: Cluster) -> int:
    """Heal the lines, stop the load in good order and wait until everything is handled and projected; returns the log's last position."""
    cluster.heal_lines()
    for worker in cluster.of("writer"):
        await cluster.stop(worker)
    for worker in cluster.of("ticker"):
        await cluster.stop(worker)
    async with connect(cluster.nats.url, name="settle") as connection:
        return await _quiet(cluster, await open_log(connection))


async def _quiet(cluster: Cluster, log: Log) -> int:
    until = time.monotonic() + DRAIN_S
    while True:
        last = (await log.state()).last
        behind = [f"{one.name} by {one.behind if one.exists else 'all'}" for one in await consumers(log, ALL) if not one.done]
        projected = await collect.checkpoint(cluster.postgres.dsn)
        await asyncio.sleep(0.3)
        if not behind and projected == last == (await log.state()).last:
            return last
        if time.monotonic() > until:
            words = f"log at {last}, tables at {projected}, behind: {', '.join(behind) or 'nobody'}"
            cluster.unexpected.append(f"not quiet within {DRAIN_S:.0f} s: {words}")
            return last


async def judge(cluster: Cluster, nemesis: Nemesis, watcher: Watcher, begun: float, ended: float) -> Outcome:
    """Read everything on record and let every checker look at it."""
    async with connect(cluster.nats.url, name="judge") as connection:
        log = await open_log(connection)
        history = await collect.history(log, cluster.journals)
        violations = log_checks.check(history, watcher.sights)
        violations += log_checks.readers_agree(await collect.readings(log, history.events))
        violations += await _check_tables(cluster, history, watcher)
        cluster.unexpected += [f"after everybody had nothing left to do: {words}" for words in await collect.said_since(log, history)]
    violations += handler_checks.check(history, ALL)
    violations += money_checks.check(event for event in history.events if id_of(event))
    poisoned = {claim.lane for claim in history.claims.values() if claim.lane.startswith(HEX)}
    violations += poison_checks.check(history, ALL, poisoned)
    violations += nemesis.problems
    if violations or cluster.unexpected:
        report = evidence.report(violations, history, nemesis.diary)
        (cluster.folder / EVIDENCE).write_text("\n\n".join([report, *cluster.unexpected]) + "\n")
    return Outcome(
        seed=nemesis.seed,
        seconds=ended - begun,
        kills=nemesis.kills,
        faults=dict(nemesis.done) | {"frames lost or doubled": nemesis.frames},
        events=len(history.events),
        acked=sum(claim.last.kind == "ok" for claim in history.claims.values()),
        unknown_resolved=sum(
            claim.last.kind != "maybe" and any(outcome.kind == "maybe" for outcome in claim.outcomes) for claim in history.claims.values()
        ),
        refused=sum(claim.last.kind == "no" for claim in history.claims.values()),
        longest_gap_s=longest_gap(history),
        samples=len(watcher.samples),
        unexpected_ends=cluster.unexpected,
        violations=violations,
    )


async def _check_tables(cluster: Cluster, history: History, watcher: Watcher) -> list[Violation]:
    dsn = cluster.postgres.dsn
    last, position = len(history.events), await collect.checkpoint(dsn)
    violations = projection_checks.archive_is_the_log(history, await collect.archive(dsn))
    violations += projection_checks.checkpoint_moves_with_the_rows(history, watcher.samples)
    violations += projection_checks.checkpoint_within_the_log(last, position)
    violations += projection_checks.caught_up(last, position)
    if position == last:
        violations += sum_checks.tables_add_up(sum_checks.of_the_log(history.events), await collect.sums(dsn))
    folds = {f"in batches of {batch}": await collect.fold(cluster.postgres, history.events, batch=batch) for batch in (2000, 97)}
    different = projection_checks.tables_are_the_fold(await collect.dumps(dsn), folds)
    if different and position == last:
        different += await collect.differences(dsn, history.events)
    return violations + different


def longest_gap(history: History) -> float:
    """The longest time in seconds in which no writer got an acknowledgement."""
    times = sorted(outcome.at_s for claim in history.claims.values() for outcome in claim.outcomes if outcome.kind == "ok")
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0)
