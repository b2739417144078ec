"""`memories`: what a character with ten thousand memories recalls, the question's vector included, beside an exact scan in SQL.

Other characters have as many; each question is new, and so are a few memories before it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import numpy as np

from bench.harness import Result, main, postgres
from bus.event import Draft, Event
from migrations import migrate
from projections import Listed, Projector
from projections.knowledge import vectors
from projections.knowledge.embedders import Vectors, open_embedder
from projections.knowledge.knowledge import knowledge
from projections.knowledge.minds import Asked, Minds
from projections.knowledge.recall import Recall, Wanted
from projections.knowledge.serving import Serving
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcRemembered
from worldbus.evaluation.metrics import percentile

OWNERS = ("hask", "vane", "pell")
QUESTIONS = 200
WORDS = """
ledger harbour silence rope ferry candle bell moor salt tooth crown marrow chapel tally name pawn lantern herring knife widow sister
board loft debt fog oar grave night market broker warden saint rain gull reed drain surgeon mirror thread coin door
""".split()  # noqa: SIM905 - easier to read
_SCAN = """
    SELECT p.id, -(e.vector OPERATOR(public.<#>) $3::real[]::public.halfvec)
      FROM world.passages p JOIN worldbus.embeddings e ON e.model = $2 AND e.content_hash = p.content_hash
     WHERE p.world = 'w' AND p.owner = $1 AND p.owner <> '' AND p.kind = 'memory' AND p.added <= $4 AND p.ended IS NULL
     ORDER BY 2 DESC LIMIT 5
"""


def _log(count: int, first: int = 1) -> list[Event]:
    """Make so many memories of each character."""
    events = []
    for position in range(first, first + count * len(OWNERS)):
        dice, number = random.Random(position), (position - 1) // len(OWNERS) + 1
        text = f"p{number % 500} said: " + " ".join(dice.choices(WORDS, k=9)) + f" {position}"
        said = NpcRemembered(
            number=number, player=f"p{number % 500}", kind="talk", memory=text, salience=dice.randint(40, 900), world_ms=number * 600_000
        )
        draft = Draft(data=said, world="w", entity=OWNERS[position % len(OWNERS)], subsystem="npc", id=f"e{position}", time_ns=position)
        events.append(Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=position))
    return events


class _Cheap:
    """Vectors of a made-up model for the memories: computing thirty thousand real ones is not what is measured."""

    model, dimension, query_prefix, passage_prefix = "all-MiniLM-L6-v2", 384, "", ""

    async def embed(self, texts: Sequence[str], kind: str) -> Vectors:
        found = np.random.default_rng(len(texts)).normal(size=(len(texts), self.dimension)).astype(np.float32)
        return found / np.linalg.norm(found, axis=1)[:, None]

    async def aclose(self) -> None:
        """Do nothing: no resource is held."""


async def run(scale: float = 1.0) -> list[Result]:
    """95th percentiles, and the first question after a start."""
    count = max(100, int(10_000 * scale))
    async with postgres() as server:
        dsn = server.address("worldbus_owner", "worldbus")
        migrate(dsn)
        history = _log(count)
        await Projector(dsn, [knowledge]).run(Listed(history))
        embedder = await open_embedder()
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
        async with pool.acquire() as connection:
            await vectors.register(connection, embedder, "minilm", state="serving")
            await vectors.fill(connection, _Cheap(), 0)
            await connection.execute("VACUUM ANALYZE")
        recall, minds = Recall(pool, Serving(embedder, "")), Minds()
        questions = [" ".join(random.Random(n).choices(WORDS, k=6)) for n in range(QUESTIONS)]

        async def whole(question: str) -> None:
            await recall.passages(
                Wanted(world="w", query=question, audience=(), as_of=len(history), owner="hask", player="p7", world_ms=10**10)
            )

        async def known(question: str) -> None:
            async with pool.acquire() as connection:
                asked = Asked(question, probe, len(history), 10**10, "p7")
                (await minds.ready(connection, "w", "hask", model=embedder.model, dimension=384)).recall(asked)

        async def scanned(question: str) -> None:
            async with pool.acquire() as connection:
                await connection.fetch(_SCAN, "hask", embedder.model, probe.tolist(), len(history))

        (probe,) = await embedder.embed(["who pays for silence?"], "query")
        cold = await _timed(whole, questions[:1])
        figures = [await _timed(ask, questions[1:]) for ask in (whole, known, scanned)]
        await pool.close()
        await embedder.aclose()
    at_all, without, scan = (percentile(times, 95) for times in figures)
    size = f"{count:,} memories"
    return [
        Result(
            name="recall-p95",
            value=at_all,
            unit="ms",
            against=f"exact scan in SQL, without embedding: {scan:.1f} ms, {size}",
            ratio=scan / at_all,
        ),
        Result(
            name="mind-p95",
            value=without,
            unit="ms",
            against=f"the same without embedding the question: {scan:.1f} ms",
            ratio=scan / without,
        ),
        Result(name="first-question", value=cold[0], unit="ms", against="all vectors come from Postgres", ratio=None),
    ]


async def _timed(ask: Callable[[str], Awaitable[None]], questions: Sequence[str]) -> list[float]:
    times = []
    for question in questions:
        began = time.perf_counter()
        await ask(question)
        times.append((time.perf_counter() - began) * 1000)
    return times


if __name__ == "__main__":
    main(run)
