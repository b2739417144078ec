"""Looking up what a model shall be shown of the knowledge base, while its request waits, inside a small part of the request's time.

A look-up that is late, fails or finds nothing costs the answer its passages and nothing else; which of them it was is recorded with the
answer (`Measured.knowledge`). Replays read the recorded answers and never look anything up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import structlog
from google.protobuf.json_format import MessageToDict

from bus.answers import Answers, status_of
from bus.connection import Connection
from bus.errors import Transient, WorldbusError
from bus.subjects import check_token
from inference.deadlines import MS
from inference.passages import CHARS_PER_TOKEN, Passage, fitting
from inference.request import MAX_CHARS, Ask
from inference.work import Work
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Knowledge

SUBJECT: Final = "req.{world}.kb.recall"
SHARE: Final = 0.1
"""Of the time from a request's recording to its deadline that a look-up may take."""
MOST_S: Final = 10.0
"""However much time there is: a knowledge base that needs longer is not there."""
PATIENT: Final = 3
"""After so many late look-ups in a row the next requests do not wait for one: the knowledge base is down, or too slow for them."""
PAUSE_S: Final = 1.0
MAX_ANSWER: Final = 1_048_576  # bytes

log = structlog.get_logger(__name__)


class Retriever(Protocol):
    """Finds passages."""

    async def passages(self, world: str, wanted: Knowledge, position: int, timeout_s: float) -> Sequence[Passage]:
        """The passages that `wanted` asks for as of `position`, best first. Raises `WorldbusError` if they cannot be had."""
        ...


class Lookup:
    """The look-up before a request waits for its turn (`inference.intake.Prepare`). Belongs to one event loop; never raises."""

    def __init__(self, retriever: Retriever, *, share: float = SHARE, most_s: float = MOST_S) -> None:
        self._retriever = retriever
        self._share = share
        self._most_s = most_s
        self._late = 0  # in a row
        self._again_at = 0.0

    async def __call__(self, work: Work) -> None:
        """Put the passages into the work's ask, and what came of it."""
        ask = work.ask
        if not ask.wants_passages:
            return
        began = time.perf_counter()
        ask.knowledge = "late"  # unless something better comes of it; whoever cuts us off leaves it so
        try:
            if began >= self._again_at:
                await self._look_up(ask)
        finally:
            ask.retrieval_us = round((time.perf_counter() - began) * 1e6)

    async def _look_up(self, ask: Ask) -> None:
        wanted = ask.request.knowledge
        timeout_s = min(self._most_s, self._share * max(0, ask.deadline_ns - ask.event.recorded_ns) / 1e9)
        self._late += 1
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._retriever.passages(ask.world, wanted, wanted.as_of or ask.event.position, timeout_s)
        except TimeoutError:
            if self._late >= PATIENT:
                self._again_at = time.perf_counter() + PAUSE_S
                log.warning("knowledge_is_slow", late=self._late, pause_s=PAUSE_S, timeout_ms=round(timeout_s * 1e9) // MS)
            return
        except WorldbusError as error:
            ask.knowledge = "failed"
            log.info("knowledge_failed", request=ask.id, error=str(error))
            return
        self._late = 0
        ask.passages = shown_of(ask.request, found)
        ask.knowledge = "given" if ask.passages else "nothing"


def shown_of(request: InferenceRequested, found: Sequence[Passage]) -> tuple[Passage, ...]:
    """The passages, of those that were found, that are shown to the model with this request."""
    room = MAX_CHARS - sum(len(part.text) for part in request.prompt)
    wanted = request.knowledge
    return fitting(found, wanted.most, min(wanted.token_budget, int(room / CHARS_PER_TOKEN)))


class _Found(msgspec.Struct):
    """One passage on the wire."""

    id: str
    kind: str
    document: str
    heading: list[str]
    line_from: int
    line_to: int
    content_hash: str
    score: float
    position: int
    text: str


class _Reply(msgspec.Struct):
    """The answer of the knowledge base: passages, or the reason why there are none."""

    passages: list[_Found] = msgspec.field(default_factory=list)
    error: str = ""
    message: str = ""


_REPLY: Final = msgspec.json.Decoder(_Reply)


def read_reply(payload: bytes) -> list[Passage]:
    """The passages of an answer of `req.<world>.kb.recall`; raises `Transient` for anything else."""
    if len(payload) > MAX_ANSWER:
        raise Transient(f"wanted passages of at most {MAX_ANSWER} bytes together, found {len(payload)}: the knowledge base is broken")
    try:
        reply = _REPLY.decode(payload)
        found = [_passage(one) for one in reply.passages]
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise Transient(f"wanted passages as JSON, found {payload[:80]!r}: {error}") from error
    if reply.error:
        raise Transient(f"the knowledge base answered: {reply.error[:40]} {reply.message[:300]}")
    return found


def _passage(found: _Found) -> Passage:
    citation = Citation(
        passage_id=found.id,
        kind=found.kind,
        document=found.document,
        heading=found.heading,
        line_from=found.line_from,
        line_to=found.line_to,
        content_hash=found.content_hash,
        score=found.score,
        position=found.position,
    )
    found.text.encode()  # half a character (a lone surrogate) cannot be shown
    return Passage(found.text, citation)


class KnowledgeClient:
    """A retriever that asks over NATS, so that a machine with a GPU needs no way to Postgres. Open and close it around its use."""

    def __init__(self, connection: Connection) -> None:
        self._answers = Answers(connection)

    async def open(self) -> None:
        """Listen for answers."""
        await self._answers.open()

    async def close(self) -> None:
        """Stop listening."""
        await self._answers.close()

    async def passages(self, world: str, wanted: Knowledge, position: int, timeout_s: float) -> Sequence[Passage]:
        """Ask `req.<world>.kb.recall`; raises `Transient`, at once if nobody serves it."""
        subject = SUBJECT.format(world=check_token(world, "world"))
        body = {**MessageToDict(wanted, preserving_proto_field_name=True), "as_of": position, "world_ms": wanted.world_ms}
        (answer,) = await self._answers.ask(subject, body, timeout=timeout_s + 1.0)
        if status_of(answer[1]) == 503:
            raise Transient(f"nobody serves {subject}: start the knowledge base (`worldbus up` or `worldbus run --only knowledge`)")
        return read_reply(answer[2])
