"""`knowledge`: searching 100,000 passages that are generated from the sample world's sentences, each way beside its limit.

Passages are five sentences each, mostly of one document, with a name of their own; their vectors are the means of the sentences' real
vectors with some noise. One audience may know all of them, one a tenth, one a hundredth. Times are whole answers, the question's embedding
included: hybrid search beside what a plain query costs (an exact scan, or all matches weighed). `cpu` is what an answer costs this
process and Postgres together: on a busy machine it says more than the time. Recall is that of the first ten, beside the exact scan.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import numpy as np

from bench.duskmarket import FOLDER
from bench.harness import Result, main, postgres
from bus.event import Draft, Event
from bus.subjects import partition_of
from migrations import migrate
from projections.knowledge import tuning, vectors
from projections.knowledge.embedders import Vectors
from projections.knowledge.embedders.embedder import unit
from projections.knowledge.knowledge import knowledge
from projections.knowledge.search import Mode, Query, open_search
from projections.knowledge.serving import Serving, open_serving
from projections.knowledge.text import content_hash
from projections.projector import Projector
from projections.reader import Listed
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded, LoreDocumentIngested
from schemas.gen.worldbus.knowledge.v1.types_pb2 import LorePlace

PASSAGES = 100_000
DOCUMENT = 100  # passages of one
SENTENCES = 5
ASKED = 40
WARM = 5
WORLD = "bench"
BREADTHS = {"100%": "public", "10%": "faction:bench", "1%": "npc:bench"}
COMMON = [
    "what did the people of the town say one night in the old year",
    "who was the first warden to count the day and the night",
    "one night the people ask for a name",
    "old day and night, year and town, people and one first name",
]
RARE = [
    "who pays for silence at the harbour",
    "what does the tooth statute say about change",
    "the pool where the bell of Saint Wenna lies",
]
NAIVE = """
    SELECT p.id FROM world.passages p, worldbus.kb_question($1, $3) q
     WHERE p.world = $1 AND p.audience && $2 AND p.words @@ array_to_string(q.terms, ' | ')::tsquery
     ORDER BY p.weights OPERATOR(public.<#>) q.asked::public.sparsevec LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class Passage:
    heading: tuple[str, ...]
    text: str
    audience: tuple[str, ...]

    @property
    def hash(self) -> str:
        return content_hash(self.heading, self.text)


def sentences() -> list[tuple[str, str]]:
    """Every sentence of the sample world's lore, with its document."""
    found = []
    for path in sorted((FOLDER / "lore").glob("*.md")):
        text = path.read_text(encoding="utf-8").split("---", 2)[2]
        whole = (" ".join(part.split()) for section in re.split(r"\n#+ ", text) for part in re.split(r"(?<=[.!?])\s+", section))
        found += [(path.stem, one) for one in whole if 30 < len(one) < 300]
    return found


def passages(count: int, lines: Sequence[tuple[str, str]], known: Vectors) -> tuple[list[Passage], Vectors]:
    """Generated passages and their vectors; the same ones each time."""
    dice = random.Random(7)
    noise = np.random.default_rng(7)
    by_document: dict[str, list[int]] = {}
    for number, (document, _) in enumerate(lines):
        by_document.setdefault(document, []).append(number)
    names = [
        "".join(dice.choice("bdfgklmnprstvz") + dice.choice("aeiou") for _ in range(dice.randint(2, 4))).title() for _ in range(30_000)
    ]
    made, picks = [], []
    for _ in range(count):
        document = dice.choice(list(by_document))
        pick = [dice.choice(by_document[document]) if dice.random() < 0.8 else dice.randrange(len(lines)) for _ in range(SENTENCES)]
        name = names[min(len(names) - 1, int(dice.paretovariate(0.5)))]
        audience = [token for token, share in zip(BREADTHS.values(), (1, 0.1, 0.01), strict=True) if dice.random() < share]
        made.append(Passage((document, name), f"{name} was there. " + " ".join(lines[one][1] for one in pick), tuple(sorted(audience))))
        picks.append(pick)
    means = known[np.array(picks)].mean(axis=1) + noise.normal(0, 0.02, (count, known.shape[1]))
    return made, unit(means.astype(np.float32))


def history(made: Sequence[Passage]) -> Iterator[Event]:
    """The passages as the log would hold them, a hundred to a document."""
    position = 0
    for at in range(0, len(made), DOCUMENT):
        document, places = f"document-{at // DOCUMENT}", []
        for number, one in enumerate(made[at : at + DOCUMENT], start=1):
            where: dict[str, Any] = {
                "chunk_id": blake2b(f"{at + number}".encode(), digest_size=16).hexdigest(),
                "line_from": number,
                "line_to": number,
            }
            what: dict[str, Any] = {"heading": one.heading, "text": one.text, "content_hash": one.hash, "audience": one.audience}
            position += 1
            yield _event(position, LoreChunkAdded(document=document, revision=1, number=number, **where, **what), document)
            places.append(LorePlace(added_revision=1, number=number, **where))
        position += 1
        yield _event(position, LoreDocumentIngested(document=document, revision=1, chunks=len(places), places=places), document)


def _event(position: int, message: LoreChunkAdded | LoreDocumentIngested, document: str) -> Event:
    draft = Draft(data=message, world=WORLD, entity=document, subsystem="lore", id=f"lore-{position}")
    partition = partition_of(WORLD, document, 8)
    return Event(raw=draft.encode(), subject=draft.subject, partition=partition, position=position, recorded_ns=draft.time_ns)


async def timed(count: int, ask: Callable[[int], Awaitable[object]]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds, after a few that are not counted."""
    for number in range(WARM):
        await ask(number)
    times = []
    for number in range(count):
        began = time.perf_counter()
        await ask(number + WARM)
        times.append((time.perf_counter() - began) * 1000)
    return median(times), sorted(times)[int(len(times) * 0.95)]


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


async def cpu_ms(connection: asyncpg.Connection) -> float:
    """Milliseconds of processor time so far: ours, and that of every connection to the database."""
    ticks = 0
    for row in await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    ):
        ticks += _ticks(row["pid"])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK") + time.process_time() * 1000


async def run(scale: float) -> list[Result]:
    """Fill, index, ask."""
    count = max(2_000, int(PASSAGES * scale))
    async with postgres() as server:
        dsn = server.address("worldbus_owner")
        migrate(dsn)
        connection = await asyncpg.connect(dsn)
        try:
            async with open_serving(connection) as serving:
                return await _run(dsn, connection, serving, count)
        finally:
            await connection.close()


async def _run(dsn: str, connection: asyncpg.Connection, serving: Serving, count: int) -> list[Result]:
    lines = sentences()
    began = time.perf_counter()
    known = await serving.embed([text for _, text in lines], "passage")
    results = [_result("embed", len(lines) / (time.perf_counter() - began), "sentences/s")]
    made, numbers = passages(count, lines, known)
    await Projector(dsn, [knowledge]).run(Listed(list(history(made)), batch=1000), follow=False)
    for at in range(0, count, 2_000):
        await vectors.write(connection, serving.model, [one.hash for one in made[at : at + 2_000]], numbers[at : at + 2_000])
    await connection.execute("VACUUM ANALYZE")
    results += await _index(connection, serving.model, count)
    asked = itertools.count(10_000)
    for breadth, token in BREADTHS.items():
        results += await _searches(dsn, connection, serving, breadth, token, asked)
    return results


async def _index(connection: asyncpg.Connection, model: str, count: int) -> list[Result]:
    await connection.execute("UPDATE worldbus.embedding_models SET vectors = $1", count)
    await tuning.count_terms(connection)
    seconds = await tuning.index(connection, model)
    results = [_result("index-build", seconds, "s", f"{count} vectors, HNSW of half floats")]
    probes = await tuning.probes(connection, model)
    await tuning.judge(connection, model)
    effort, used = await connection.fetchrow("SELECT ef_search, indexed FROM worldbus.embedding_models")
    for breadth, token in BREADTHS.items():
        scanned = await tuning.scan(connection, model, WORLD, token, probes)
        share = await tuning.recall(connection, model, WORLD, token, probes, scanned, effort, count)
        results.append(_result(f"index-recall-{breadth}", share, "of 10", f"exact scan; effort {effort}, {'used' if used else 'not used'}"))
    return results


async def _searches(
    dsn: str, connection: asyncpg.Connection, serving: Serving, breadth: str, token: str, asked: Iterator[int]
) -> list[Result]:
    results = []
    async with open_search(dsn, serving) as search:

        def asking(texts: Sequence[str], mode: Mode) -> Callable[[int], Awaitable[object]]:
            # a number makes every question a new one, at this breadth and in this mode as well, so that no vector is remembered
            return lambda number: search.search(
                Query(world=WORLD, text=f"{texts[number % len(texts)]} {next(asked)}", tokens=(token,), mode=mode)
            )

        async def exact(number: int) -> object:
            _, vector = await serving.question(f"{RARE[number % len(RARE)]}, {number}")
            return await connection.fetch(
                "SELECT * FROM worldbus.kb_exact($1, 4611686018427387904, $2, NULL, NULL, NULL, $3, $4, 5)",
                *(WORLD, [token], serving.model, vector.tolist()),
            )

        async def naive(number: int) -> object:
            return await connection.fetch(NAIVE, WORLD, [token], COMMON[number % len(COMMON)])

        for kind, texts in (("common", COMMON), ("rare", RARE)):
            spent = await cpu_ms(connection)
            half, most = await timed(ASKED, asking(texts, "hybrid"))
            spent = (await cpu_ms(connection) - spent) / (ASKED + WARM)
            against, limit = ("all matches weighed, p95", naive) if kind == "common" else ("exact scan, p95", exact)
            _, slow = await timed(ASKED // 4, limit)
            results.append(_result(f"hybrid-{kind}-{breadth}-cpu", spent, "ms"))
            results.append(_result(f"hybrid-{kind}-{breadth}-p50", half, "ms"))
            results.append(
                Result(
                    name=f"hybrid-{kind}-{breadth}-p95",
                    value=most,
                    unit="ms",
                    against=f"{against}: {slow:.0f} ms",
                    ratio=slow / most,
                )
            )
        modes: tuple[Mode, ...] = ("vector", "text")
        for mode in modes:
            _, most = await timed(ASKED // 2, asking(COMMON, mode))
            results.append(_result(f"{mode}-common-{breadth}-p95", most, "ms"))
    return results


def _result(name: str, value: float, unit_: str, against: str = "") -> Result:
    return Result(name=name, value=value, unit=unit_, against=against, ratio=None)


if __name__ == "__main__":
    main(run)
