"""/v1/search: the knowledge base over HTTP, never beyond the token's audience."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bus.connection import Connection
from bus.event import Draft
from bus.log import Log
from bus.publisher import open_publisher
from projections import Projector
from projections.knowledge.knowledge import knowledge
from projections.knowledge.search import open_search
from projections.knowledge.text import content_hash
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded, LoreDocumentIngested
from schemas.gen.worldbus.knowledge.v1.types_pb2 import LorePlace
from tests.integration.gateway.conftest import DEAF, MUTE, OTHER, Caller, Open
from worldbus.edges.search import serve_search
from worldbus.embedded import NatsServer

PASSAGES = {("public",): "The harbour lantern burns whale oil.", ("npc:mira",): "The harbour lantern hides a key."}


async def _tell(connection: Connection, log: Log, dsn: str) -> None:
    """A document with one passage for everybody and one for Mira, in the tables."""
    said: list[LoreChunkAdded | LoreDocumentIngested] = []
    places = []
    for number, (audience, text) in enumerate(PASSAGES.items(), start=1):
        hashed = content_hash((), text)
        where = {"chunk_id": hashed, "number": number, "line_from": number, "line_to": number}
        chunk = LoreChunkAdded(document="harbour", title="Harbour", revision=1, content_hash=hashed, text=text, audience=audience)
        for name, value in where.items():
            setattr(chunk, name, value)
        said.append(chunk)
        place = LorePlace(added_revision=1)
        for name, value in where.items():
            setattr(place, name, value)
        places.append(place)
    said.append(LoreDocumentIngested(document="harbour", revision=1, chunks=len(places), places=places))
    async with open_publisher(connection, log, "relaxed") as publisher:
        await publisher.publish_many([Draft(data=one, world="main", entity="harbour", subsystem="lore") for one in said])
    await Projector(dsn, [knowledge]).run(log, follow=False)


@pytest_asyncio.fixture
async def library(
    open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log, fresh_database: str
) -> AsyncIterator[Caller]:
    await _tell(connection, log, fresh_database)
    async with (
        open_search(fresh_database, None) as search,
        serve_search(connection, search, None),
        open_caller(nats_server.url) as caller,
    ):
        yield caller


async def test_a_token_finds_what_its_audience_may_know(library: Caller) -> None:
    asked = await library.ask("GET", "/v1/search?text=harbour+lantern")
    posted = await library.ask("POST", "/v1/search", json.dumps({"text": "harbour lantern", "most": 3}))

    assert (asked.status, [hit["body"] for hit in asked.body["hits"]]) == (200, [PASSAGES[("public",)]])
    assert posted.body["hits"] == asked.body["hits"]
    assert "audience" not in asked.body["hits"][0]


async def test_a_token_for_anybody_asks_as_whom_it_likes(library: Caller) -> None:
    for tokens, wanted in {"": [("public",)], "&tokens=npc:mira": [("npc:mira",)], "&tokens=npc:mira,public": list(PASSAGES)}.items():
        answer = await library.ask("GET", f"/v1/search?text=harbour+lantern&world=main{tokens}", token=MUTE)
        assert {hit["body"] for hit in answer.body["hits"]} == {PASSAGES[one] for one in wanted}


@pytest.mark.parametrize(
    ("query", "token", "status", "code"),
    [
        ("text=key&tokens=npc:mira", "wbt_one", 403, "AUDIENCE_NOT_ALLOWED"),
        ("text=key&tokens=public,storyteller", "wbt_one", 403, "AUDIENCE_NOT_ALLOWED"),
        ("text=key&world=main", OTHER, 403, "WORLD_NOT_ALLOWED"),
        ("text=key", MUTE, 400, "WORLD_MISSING"),
        ("text=key&world=main", DEAF, 403, "MAY_NOT_HEAR"),
        ("text=", "wbt_one", 422, "BAD_QUERY"),
        ("", "wbt_one", 400, "BAD_QUERY"),
        ("text=key&most=1000", "wbt_one", 400, "BAD_QUERY"),
        ("text=key&most=x", "wbt_one", 400, "BAD_QUERY"),
        ("text=key&nosuch=1", "wbt_one", 400, "BAD_QUERY"),
        ("text=key&text=lock", "wbt_one", 400, "BAD_QUERY"),
        ("text=key&mode=guess", "wbt_one", 400, "BAD_QUERY"),
        ("text=key&owner=a.b", "wbt_one", 400, "BAD_SUBJECT"),
    ],
)
async def test_what_may_not_be_asked_is_refused(library: Caller, query: str, token: str, status: int, code: str) -> None:
    answer = await library.ask("GET", f"/v1/search?{query}", token=token)

    assert (answer.status, answer.code) == (status, code)


async def test_where_nobody_serves_the_knowledge_base_it_says_so_at_once(caller: Caller) -> None:
    answer = await caller.ask("GET", "/v1/search?text=harbour")

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
