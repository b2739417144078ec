"""Power cuts under load, with the shipped durability: what was acknowledged is there when the power comes back.

The log, and in every other life of the cluster Postgres too, lies on a disk whose power is cut at random moments; the workers live on and
continue as soon as the servers are back. Each life begins with an empty disk, and its first cut comes early: a log that was just made must
not vanish. After its last cut everything settles, and every checker of the kill test runs over the whole history.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.chaos.cluster import ROOT, Cluster, in_thread
from bench.chaos.disk import Disk, NoDisk, own_mounts
from bench.chaos.history import Violation
from bench.chaos.kills import Watcher, folder, judge, settle
from bench.chaos.load import Mix
from bench.chaos.nemesis import Nemesis
from worldbus.logging import configure

CUTS_PER_LIFE = 5
DARK_S = (0.0, 0.5)  # how long the power is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """The outcome of all cuts of a run. `skipped`: why there were none."""

    seed: int
    cuts: int = 0
    whole_node: int = 0  # cuts that hit Postgres too
    acked: int = 0
    events: int = 0
    unknown_resolved: int = 0
    skipped: str = ""
    violations: tuple[Violation, ...] = ()


async def run(cuts: int, seed: int, *, tell: Callable[[str], None] = lambda _: None) -> Cuts:
    """Cut the power so many times, in a process with mounts of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.chaos.powercuts", str(cuts), str(seed), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode != 0 or not said:
        return Cuts(seed=seed, violations=(Violation("run", f"the power-cut process ended with status {process.returncode}"),))
    found = json.loads(said)
    found["violations"] = tuple(Violation(*one) for one in found["violations"])
    result = Cuts(**found)
    tell(result.skipped or f"{result.cuts} power cuts, {result.acked} acknowledged events")
    return result


async def _lives(cuts: int, seed: int) -> Cuts:
    dice = random.Random(f"power/{seed}")
    total = Cuts(seed=seed)
    life = 0
    while total.cuts < cuts:
        total = await _live(min(CUTS_PER_LIFE, cuts - total.cuts), seed + life, dice, total, whole_node=life % 2 == 1)
        life += 1
    return total


async def _live(cuts: int, seed: int, dice: random.Random, before: Cuts, *, whole_node: bool) -> Cuts:
    async with folder() as path:
        disk = await in_thread(lambda: Disk(path))
        tables = disk.path / "postgres" if whole_node else None
        cluster = Cluster(path, seed, "strict", mix=Mix(pause_s=0.2), nats_folder=disk.path / "nats", postgres_folder=tables)
        await in_thread(disk.sync)  # the folders were there before the game
        watcher = Watcher(cluster)
        try:
            await cluster.open()
            watching = asyncio.create_task(watcher.run(), name="watcher")
            for number in range(cuts):
                await asyncio.sleep(dice.uniform(0.2, 1.0) if number == 0 else dice.uniform(1.0, 3.0))
                await in_thread(lambda: _cut(cluster, disk, whole_node=whole_node))
                await asyncio.sleep(dice.uniform(*DARK_S))
                await in_thread(lambda: _power_on(cluster, whole_node=whole_node))
            await asyncio.sleep(1.0)
            await settle(cluster)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            outcome = await judge(cluster, Nemesis(cluster, seed), watcher, 0.0, 0.0)
        finally:
            await cluster.aclose()
            await in_thread(disk.close)
    ends = tuple(Violation("run", words) for words in outcome.unexpected_ends)
    return Cuts(
        seed=before.seed,
        cuts=before.cuts + cuts,
        whole_node=before.whole_node + cuts * whole_node,
        acked=before.acked + outcome.acked,
        events=before.events + outcome.events,
        unknown_resolved=before.unknown_resolved + outcome.unknown_resolved,
        violations=(*before.violations, *outcome.violations, *ends),
    )


def _cut(cluster: Cluster, disk: Disk, *, whole_node: bool) -> None:
    """The processes die and the disk forgets what was not synced, at one moment as far as the workers can tell."""
    cluster.nats.kill()
    if whole_node:
        cluster.postgres.kill()
        cluster.wait_for_backends()
    disk.cut()
    disk.restore()


def _power_on(cluster: Cluster, *, whole_node: bool) -> None:
    if whole_node:
        cluster.postgres.start()
    cluster.nats.start()


def main(arguments: list[str]) -> None:
    """`python -m bench.chaos.powercuts CUTS SEED`: one JSON object."""
    cuts, seed = map(int, arguments)
    configure("json", "error")
    try:
        own_mounts()
        with_disk = asyncio.run(_lives(cuts, seed))
    except NoDisk as error:
        with_disk = Cuts(seed=seed, skipped=f"power cuts were left out: {error}")
    facts = {field: getattr(with_disk, field) for field in Cuts.__slots__}
    sys.stdout.write(json.dumps(facts | {"violations": [[one.rule, one.what] for one in with_disk.violations]}))


if __name__ == "__main__":
    main(sys.argv[1:])
