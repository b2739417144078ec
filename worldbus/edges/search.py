"""The request subject `req.<world>.kb.search`: anybody who may publish there asks the knowledge base.

Asked and answered in JSON:

    {"text": "who pays for silence?", "tokens": ["public", "npc:mira"], "mode": "hybrid", "most": 5, "as_of": null, "tags": [], "kinds": [],
     "owner": "", "asker": "mira"}
    {"hits": [{"passage_id": …, "document": …, "heading": […], "line_from": …, "score": …}], "answered": true, "as_of": 4711, "took_us": …}
    {"error": "BAD_QUERY", "message": …}

A field that is not known is refused: `asof` for `as_of` would be a question about now.

Several processes may serve it; each question goes to one of them. What was asked and found is recorded as `KnowledgeSearched`, behind the
answer: when the log is slow, questions are answered all the same, and what does not fit the queue is counted and left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final, Protocol

import msgspec
import structlog

from bus.connection import Connection
from bus.errors import Rejected, Transient, Unknown, WorldbusError
from bus.event import Draft
from bus.publisher import Publisher
from bus.subjects import check_token
from projections.knowledge.search import Answer, BadQuery, Hit, Mode, Query
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import KnowledgeSearched
from schemas.gen.worldbus.knowledge.v1.types_pb2 import KnowledgeHit
from worldbus.edges.requests import serve_requests

SUBJECT: Final = "req.*.kb.search"
QUEUE: Final = "kb"
EDGE: Final = "knowledge"
ANYONE: Final = "anyone"
MOST_UNSAID: Final = 1024
"""Questions whose record waits for the log; further ones go unrecorded."""

log = structlog.get_logger(__name__)


class NobodyServes(Transient):
    """No process answers questions at the moment."""

    code = "KNOWLEDGE_AWAY"


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    tokens: list[str] = msgspec.field(default_factory=lambda: ["public"])
    mode: Mode = "hybrid"
    most: int = 5
    as_of: int | None = None
    tags: list[str] = []
    kinds: list[str] = []
    owner: str = ""
    rerank: bool = False  # of askers of an earlier release: there is no cross-check any more
    asker: str = ""


class _Answered(msgspec.Struct):
    hits: list[Hit] = []
    answered: bool = True  # an earlier release does not say it
    mode: Mode = "hybrid"
    model: str = ""
    as_of: int = 0
    took_us: int = 0
    embed_us: int = 0
    error: str = ""
    message: str = ""


_ASKED: Final = msgspec.json.Decoder(_Asked)
_ANSWERED: Final = msgspec.json.Decoder(_Answered)


def asked(world: str, payload: bytes) -> tuple[Query, str]:
    """The question in a request, and who asks it. Raises `BadQuery`."""
    try:
        it = _ASKED.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadQuery(f"wanted a question in JSON, found: {error}") from error
    return Query(
        world=world,
        text=it.text,
        tokens=tuple(it.tokens),
        mode=it.mode,
        tags=tuple(it.tags),
        kinds=tuple(it.kinds),
        owner=it.owner,
        most=it.most,
        as_of=it.as_of,
    ), it.asker


class QueryLog:
    """Says what was searched, behind the answers and in their order. Belongs to one event loop."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._unsaid: asyncio.Queue[Draft] = asyncio.Queue(MOST_UNSAID)
        self.dropped = 0

    def note(self, query: Query, asker: str, answer: Answer) -> None:
        """Record it as soon as the log has time. Never waits, never raises."""
        try:
            self._unsaid.put_nowait(Draft(data=searched(query, asker, answer), world=query.world, entity=entity(asker), subsystem=EDGE))
        except (asyncio.QueueFull, Rejected, ValueError):
            self.dropped += 1

    async def run(self) -> None:
        """Publish until cancelled. What the log refuses is left out: answers do not depend on it."""
        while True:
            draft = await self._unsaid.get()
            try:
                await self._publisher.publish(draft)
            except WorldbusError as error:
                self.dropped += 1
                log.warning("search_unrecorded", error=str(error), dropped=self.dropped)


def entity(asker: str) -> str:
    """The asker as an entity; whoever has no name that may be one is `anyone`."""
    try:
        return check_token(asker, "entity") if asker else ANYONE
    except Rejected:
        return ANYONE


def searched(query: Query, asker: str, answer: Answer) -> KnowledgeSearched:
    """The event that records a search."""
    return KnowledgeSearched(
        query=query.text,
        mode=answer.mode,
        asker=asker if entity(asker) == asker else "",
        audience=list(query.tokens),
        as_of=query.as_of or 0,
        model=answer.model,
        hits=[KnowledgeHit(passage_id=hit.passage_id, rank=rank, score=hit.score) for rank, hit in enumerate(answer.hits, start=1)],
        took_us=answer.took_us,
    )


class Searches(Protocol):
    """An answerer of questions; `projections.knowledge.search.Search` does."""

    async def search(self, query: Query) -> Answer: ...


@asynccontextmanager
async def serve_search(
    connection: Connection, search: Searches, publisher: Publisher | None, worlds: Iterable[str] | None = None
) -> AsyncIterator[None]:
    """Answer questions for the block, of these `worlds` (None: of all); with a publisher, record them."""
    queries = QueryLog(publisher) if publisher is not None else None

    async def answer(world: str, payload: bytes) -> dict[str, Any]:
        query, asker = asked(world, payload)
        found = await search.search(query)
        if queries is not None:
            queries.note(query, asker, found)
        return asdict(found)

    recording = asyncio.create_task(queries.run(), name="query-log") if queries is not None else None
    try:
        async with serve_requests(connection, SUBJECT, QUEUE, answer, worlds):
            yield
    finally:
        if recording is not None:
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)


async def ask(connection: Connection, query: Query, *, asker: str = "", timeout: float = 2.0) -> Answer:
    """Ask whoever serves `req.<world>.kb.search`.

    Raises `NobodyServes` (at once), `Transient`, `Unknown` (no answer in time), or `Rejected` with what the service found wrong.
    """
    fields = {name: value for name, value in asdict(query).items() if name != "world"}
    payload = msgspec.json.encode(fields | {"asker": asker})
    subject = f"req.{check_token(query.world, 'world')}.kb.search"
    try:
        raw = await connection.request(subject, payload, timeout=timeout)
    except Unknown:
        raise
    except Transient as error:
        words = f"nobody answers {subject}: start a process that runs the projector (`worldbus up`, `worldbus run`)"
        raise NobodyServes(words, subject=subject) from error
    return answered(raw)


def answered(raw: bytes) -> Answer:
    """The answer in a reply. Raises `Rejected` with the code that the service gave, `Transient` if it could not answer or said nonsense."""
    try:
        it = _ANSWERED.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Transient(f"wanted an answer of the knowledge base, found: {error}") from error
    if it.error in ("BAD_QUERY", "MIXED_MODELS"):
        raise BadQuery(it.message)
    if it.error:
        raise Transient(f"the knowledge base says: {it.message}", code=it.error)
    return Answer(
        hits=tuple(it.hits), answered=it.answered, mode=it.mode, model=it.model, as_of=it.as_of, took_us=it.took_us, embed_us=it.embed_us
    )
