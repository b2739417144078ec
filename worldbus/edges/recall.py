"""The request subject `req.<world>.kb.recall`: workers of inference ask here what a prompt wants to know.

Asked and answered in JSON: the fields of `worldbus.inference.v1.Knowledge` by their names in, `{"passages": [...]}` or
`{"error": CODE, "message": ...}` out. Nothing here is recorded: the request says what was asked, and its end what was shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final, Protocol

import msgspec

from bus.connection import Connection
from projections.knowledge.recall import Found, Wanted
from projections.knowledge.search import BadQuery
from worldbus.edges.requests import serve_requests

SUBJECT: Final = "req.*.kb.recall"
QUEUE: Final = "kb"


class _Asked(msgspec.Struct):
    query: str
    as_of: int
    audience: list[str] = []
    owner: str = ""
    player: str = ""
    most: int = 4
    world_ms: int = 0
    exclude: list[str] = []


_ASKED: Final = msgspec.json.Decoder(_Asked)


def wanted(world: str, payload: bytes) -> Wanted:
    """The question. Raises `BadQuery` for anything else."""
    try:
        asked = _ASKED.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadQuery(f"wanted a wish for passages in JSON, found: {error}") from error
    if not (0 < len(asked.query) <= 1024 and 1 <= asked.most <= 32 and 0 <= asked.as_of < 2**62 and abs(asked.world_ms) < 2**62):
        raise BadQuery("wanted a query of 1 to 1024 characters, most of 1 to 32, and as_of of 0 or more")
    if max(len(asked.audience), len(asked.exclude)) > 64 or "\0" in "".join((asked.query, asked.owner, *asked.audience)):
        raise BadQuery("wanted at most 64 tokens of an audience and 64 excluded passages, and no NUL characters")
    return Wanted(
        world=world,
        query=asked.query,
        audience=tuple(asked.audience),
        as_of=asked.as_of,
        owner=asked.owner,
        player=asked.player,
        most=asked.most,
        world_ms=asked.world_ms,
        exclude=frozenset(asked.exclude),
    )


class Recalls(Protocol):
    """An answerer of questions; `projections.knowledge.recall.Recall` does."""

    async def passages(self, wanted: Wanted) -> list[Found]: ...


@asynccontextmanager
async def serve_recall(connection: Connection, recall: Recalls, worlds: Iterable[str] | None = None) -> AsyncIterator[None]:
    """Answer questions for the block, of these `worlds` (None: of all)."""

    async def answer(world: str, payload: bytes) -> dict[str, Any]:
        return {"passages": [asdict(one) for one in await recall.passages(wanted(world, payload))]}

    async with serve_requests(connection, SUBJECT, QUEUE, answer, worlds):
        yield
