"""A knowledge base that nobody lives in: a Postgres of its own with documents, their vectors, and a history in which conditions come true.

Everything goes the way it goes in a living world: documents become events, the projection takes them in, searches ask the SQL function.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from google.protobuf.message import Message

from bus.errors import BadSettings
from bus.event import Draft, Event
from migrations import migrate
from projections import Listed, Projector
from projections.knowledge import tuning, unlike, vectors
from projections.knowledge.embedders import Embedder, Vectors
from projections.knowledge.knowledge import knowledge
from projections.knowledge.search import Mode, Query, fetch
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import DayBegan
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.registry import all_events, subsystem
from worldbus.edges.lore import Document
from worldbus.edges.lore.revision import EDGE, Known, revised
from worldbus.embedded import PostgresServer

WORLD: Final = "evaluation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One passage that was found."""

    passage_id: str
    document: str
    heading: str
    score: float


class Stage:
    """Made by `open_stage`. `head` is the last position of its history, `since` says when a condition came true."""

    def __init__(self, connection: asyncpg.Connection, embedder: Embedder, dsn: str) -> None:
        self.embedder = embedder
        self.head = 0
        self.since: dict[str, int] = {}
        self._connection = connection
        self._dsn = dsn

    async def tell(self, documents: Iterable[Document], conditions: Sequence[str] = ()) -> None:
        """Ingest documents, then let conditions come true one after the other. Raises `BadSettings` for one that never can."""
        history = [_event(position, *said) for position, said in enumerate(_history(documents, conditions), start=1)]
        self.since = {condition: len(history) - len(conditions) + number for number, condition in enumerate(conditions, start=1)}
        self.head = len(history)
        await Projector(self._dsn, [knowledge]).run(Listed(history))
        await self._embed()

    async def search(self, text: str, tokens: Sequence[str], mode: Mode, as_of: int, most: int) -> list[Hit]:
        """The answer of a search, best first; the question's vector is computed here, as for all who ask."""
        vector: Vectors | None = None
        if mode != "text":
            (vector,) = await self.embedder.embed([text], "query")
        query = Query(world=WORLD, text=text, tokens=tuple(tokens), most=most, as_of=as_of)
        numbers, model = ([], "") if vector is None else (vector.tolist(), self.embedder.model)
        return [_hit(row) for row in await fetch(self._connection, query, mode, model, numbers or None)]

    async def passages(self) -> int:
        """The number of its passages."""
        count: int = await self._connection.fetchval("SELECT count(*) FROM world.passages WHERE world = $1", WORLD)
        return count

    async def index_recall(self) -> float | None:
        """The share of an exact scan's finds that the index found when it was measured; None while searches scan."""
        found: float | None = await self._connection.fetchval(
            "SELECT recall FROM worldbus.embedding_models WHERE model = $1 AND indexed", self.embedder.model
        )
        return found

    async def _embed(self) -> None:
        await vectors.register(self._connection, self.embedder, "evaluation", state="serving")
        await unlike.measure(self._connection, self.embedder)
        await vectors.fill(self._connection, self.embedder, 0)
        await self._connection.execute("ANALYZE")
        await tuning.tune(self._connection, self.embedder.model)


def _hit(row: Any) -> Hit:
    heading = row["heading"][-1] if row["heading"] else ""
    return Hit(
        passage_id=row["passage_id"], document=row["document"], heading=heading, score=row["score"]
    )  # fmt: skip


def _history(documents: Iterable[Document], conditions: Sequence[str]) -> Iterator[tuple[str, str, Message]]:
    for document in documents:
        revision = revised(Known(slug=document.slug), document, WORLD)
        assert revision is not None
        yield from ((EDGE, document.slug, message) for message in revision.messages)
    yield from map(truth, conditions)


def truth(condition: str) -> tuple[str, str, Message]:
    """The subsystem, entity and message that make a condition true; raises `BadSettings` for one that never comes true."""
    kind, _, rest = condition.partition(":")
    if kind == "date" and rest.isdecimal():
        return "time", "clock", DayBegan(now=WorldTime(day=int(rest)))
    if kind == "quest" and rest:
        quest, _, ending = rest.partition("=")
        return "quest", "somebody", QuestCompleted(quest=quest, ending=ending)
    name, _, entity = rest.partition(":")
    message = next((message for message in all_events() if message.DESCRIPTOR.name == name), None)
    if kind != "event" or message is None:
        raise BadSettings(f"wanted event:NAME, event:NAME:ENTITY, quest:NAME, quest:NAME=ENDING or date:DAY, found {condition!r}")
    return subsystem(message), entity or "somebody", message()


def _event(position: int, said_by: str, entity: str, message: Message) -> Event:
    draft = Draft(data=message, world=WORLD, entity=entity, subsystem=said_by, id=f"evaluation-{position}", time_ns=position * 1000)
    return Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=position * 1000)


@asynccontextmanager
async def open_stage(embedder: Embedder) -> AsyncIterator[Stage]:
    """An empty knowledge base for the block, on a Postgres of its own in a temporary folder."""
    with _folder() as folder:
        server = PostgresServer(folder / "postgres", secret=lambda role: f"only-for-evaluation-{role}", strict=False)
        server.start()
        try:
            dsn = server.address("worldbus_owner", "worldbus")
            migrate(dsn)
            connection = await asyncpg.connect(dsn)
            try:
                yield Stage(connection, embedder, dsn)
            finally:
                await connection.close()
        finally:
            server.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="wb-eval-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)  # Postgres does not run as root: whoever it runs as must get through
    try:
        yield path
    finally:
        shutil.rmtree(path)
