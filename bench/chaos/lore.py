"""Killing whoever ingests lore, at random moments: every document is in the log and in the tables as it was before, or as it is now.

Some documents, one of them longer than an atomic batch, get new versions again and again. A process brings them into the log and is killed
with SIGKILL meanwhile; sometimes another one works beside it and is not. A reader looks at the tables all the time.

    python -m bench.chaos.lore [kills]
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from bench.harness import nats, postgres
from bus.connection import connect
from bus.log import Log, open_log
from migrations import migrate
from projections.knowledge.knowledge import knowledge
from worldbus.standby import project

WORLD: Final = "chaos"
WORKER: Final = "bench.chaos.lore_worker"
SECTIONS: Final = {"quay": 3, "moor": 40, "marsh": 200, "registry": 1900}  # the last one needs several batches
LONGEST_S: Final = 0.4  # after `ready` a process is killed within that time
_VISIBLE: Final = """
    SELECT document, array_agg(body ORDER BY number) AS bodies FROM world.passages
     WHERE world = $1 AND added IS NOT NULL AND ended IS NULL GROUP BY document
"""

Shelf = dict[str, list[str]]  # document -> the texts of its passages, in order


@dataclass(slots=True)
class Found:
    """The outcome of a run. `violations` is empty when every promise was kept."""

    kills: int = 0
    kills_before_the_end: int = 0
    halves: int = 0
    """Kills after which some documents were new and others were not."""
    looks: int = 0
    events: int = 0
    violations: list[str] = field(default_factory=list)


def edition(version: int) -> Shelf:
    """The texts of one version: every third passage changes each time, the others stay."""
    return {
        name: [f"Stone {number} of {name}" + (f" in version {version}." if (number + version) % 3 == 0 else ".") for number in range(count)]
        for name, count in SECTIONS.items()
    }


def write(folder: Path, shelf: Shelf) -> None:
    """The documents of a version, as files."""
    for name, texts in shelf.items():
        sections = "".join(f"## Part {number}\n\n{text}\n\n" for number, text in enumerate(texts))
        (folder / f"{name}.md").write_text(f"---\naudience: public\n---\n\n# {name}\n\n{sections}")


def check(shown: Mapping[str, list[str]], editions: list[Shelf], when: str) -> list[str]:
    """Every document that is none of its editions, in words."""
    return [
        f"{when}: {name} has {len(texts)} passages that are no version of it"
        for name, texts in shown.items()
        if all(texts != shelf[name] for shelf in editions)
    ]


async def run(kills: int, seed: int) -> Found:
    """Kill so many times, then let one live, then check."""
    found, dice = Found(), random.Random(seed)
    async with nats(strict=False) as server, postgres() as store, connect(server.url, name="chaos-lore") as connection:
        await asyncio.to_thread(migrate, store.dsn)
        log = await open_log(connection)
        with tempfile.TemporaryDirectory(prefix="wb-lore-") as path:
            projector = asyncio.create_task(project(store.dsn, [knowledge], log))
            await _until_projected(store.dsn, log)
            await _rounds(server.url, store.dsn, log, Path(path), kills, dice, found)
            projector.cancel()
            await asyncio.gather(projector, return_exceptions=True)
        found.events = (await log.state()).last
        await log.aclose()
    return found


async def _rounds(url: str, dsn: str, log: Log, folder: Path, kills: int, dice: random.Random, found: Found) -> None:
    editions = [edition(0)]
    write(folder, editions[0])
    await _ingest(url, folder)
    watcher = asyncio.create_task(_watch(dsn, editions, found))
    for number in range(1, kills + 1):
        editions.append(edition(number))
        await asyncio.to_thread(write, folder, editions[-1])
        others = [asyncio.create_task(_ingest(url, folder))] if dice.random() < 0.2 else []
        finished = await _killed(url, folder, dice.uniform(0, LONGEST_S))
        found.kills += 1
        found.kills_before_the_end += not finished
        await asyncio.gather(*others)
        shown = await _shown(dsn, log)
        found.violations += check(shown, editions, f"after kill {number}")
        found.halves += len({shown.get(name) == texts for name, texts in editions[-1].items()}) > 1
    await _ingest(url, folder)
    if await _shown(dsn, log) != editions[-1]:
        found.violations.append("after the last ingest, which nobody killed: the tables do not show the last version")
    before = (await log.state()).last
    await _ingest(url, folder)
    if (after := (await log.state()).last) != before:
        found.violations.append(f"a second ingest said {after - before} events, wanted none")
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)


async def _watch(dsn: str, editions: list[Shelf], found: Found) -> None:
    """Look at the tables without a pause."""
    connection = await asyncpg.connect(dsn)
    try:
        while True:
            rows = await connection.fetch(_VISIBLE, WORLD)
            found.looks += 1
            found.violations += check({row["document"]: row["bodies"] for row in rows}, editions, f"look {found.looks}")
            await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def _start(url: str, folder: Path) -> asyncio.subprocess.Process:
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", WORKER, url, str(folder), WORLD),
        cwd=root, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    assert process.stdout is not None
    await process.stdout.readline()  # ready
    return process


async def _ingest(url: str, folder: Path) -> None:
    process = await _start(url, folder)
    if await process.wait():
        raise RuntimeError("a process that ingests lore failed: its words are above")


async def _killed(url: str, folder: Path, after_s: float) -> bool:
    """Return whether it was done before it was killed."""
    process = await _start(url, folder)
    await asyncio.sleep(after_s)
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    await process.wait()
    assert process.stdout is not None
    return b"done" in await process.stdout.read()


async def _until_projected(dsn: str, log: Log) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        while True:
            ready = await connection.fetchval("SELECT to_regclass('world.passages') IS NOT NULL")
            if ready and await connection.fetchval("SELECT position FROM worldbus.checkpoint") >= (await log.state()).last:
                return
            await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def _shown(dsn: str, log: Log) -> Shelf:
    """The tables' content when they have the whole log."""
    await _until_projected(dsn, log)
    connection = await asyncpg.connect(dsn)
    try:
        return {row["document"]: row["bodies"] for row in await connection.fetch(_VISIBLE, WORLD)}
    finally:
        await connection.close()


if __name__ == "__main__":
    result = asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 30, random.randrange(10**6)))
    print(result)
    raise SystemExit(1 if result.violations else 0)
