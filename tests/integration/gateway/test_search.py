"""/v1/search: the knowledge base over HTTP, never beyond the token's audience."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

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
from projections.store import connected
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded, LoreDocumentIngested
from schemas.gen.worldbus.knowledge.v1.types_pb2 import LorePlace
from tests.integration.gateway.conftest import DEAF, MUTE, OTHER, Answer, Caller, Open
from worldbus.compose import World, open_world, serve
from worldbus.edges.search import serve_search
from worldbus.embedded import NatsServer
from worldbus.settings import Settings

PASSAGES = {("public",): "The harbour lantern burns whale oil.", ("npc:mira",): "The harbour lantern hides a key."}


async def _say(connection: Connection, log: Log) -> None:
    """A document with one passage for everybody and one for Mira, in the log."""
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


@pytest_asyncio.fixture
async def library(
    open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log, fresh_database: str
) -> AsyncIterator[Caller]:
    await _say(connection, log)
    await Projector(fresh_database, [knowledge]).run(log, follow=False)
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

    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "KNOWLEDGE_AWAY", "10")
    assert "start a process that runs the projector" in answer.body["detail"]


@pytest.fixture
async def empty_world(nats_server: NatsServer, log: Log, fresh_database: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world with a projector and its knowledge base, in which nobody has told anything."""
    settings = Settings(
        nats_url=nats_server.url,
        postgres_dsn=fresh_database,
        durability="relaxed",
        data=tmp_path / "world",
        world="main",
        embedder="hashing",
    )
    async with open_world(settings, name="world") as world, serve(world, projections=[knowledge]):
        yield world


async def _first_answer(caller: Caller, path: str) -> Answer:
    """Once somebody answers: the world has just been started."""
    while (answer := await caller.ask("GET", path)).status == 503 and answer.code == "KNOWLEDGE_AWAY":
        await asyncio.sleep(0.02)
    return answer


async def test_a_world_without_lore_finds_nothing_and_then_what_is_told(
    empty_world: World, open_caller: Open, nats_server: NatsServer, connection: Connection, log: Log
) -> None:
    async with open_caller(nats_server.url) as caller:
        nothing = await _first_answer(caller, "/v1/search?text=harbour+lantern")
        modes = [await caller.ask("GET", f"/v1/search?text=harbour+lantern&mode={mode}") for mode in ("text", "vector", "hybrid")]
        bad = await caller.ask("GET", "/v1/search?text=")
        assert [(answer.status, answer.body["hits"]) for answer in (nothing, *modes)] == [(200, [])] * 4
        assert (bad.status, bad.code) == (422, "BAD_QUERY")

        await _say(connection, log)
        answers = [nothing]
        while not answers[-1].body["hits"] or answers[-1].body["mode"] != "hybrid":
            answer = await caller.ask("GET", "/v1/search?text=harbour+lantern")
            if answer.status == 503 and answer.code != "KNOWLEDGE_AWAY":
                continue  # somebody is there, and too slow on a busy machine: the model is being loaded
            assert answer.status == 200, "from the first moment on somebody answers"
            answers.append(answer)
        assert [hit["body"] for hit in answers[-1].body["hits"]] == [PASSAGES[("public",)]]
        found = [bool(answer.body["hits"]) for answer in answers]
        assert found == sorted(found), "what was found once is found again"


async def test_while_nothing_is_known_nobody_asks_postgres_again_and_again(empty_world: World, fresh_database: str) -> None:
    idle = """SELECT now() - max(query_start) FROM pg_stat_activity
              WHERE datname = current_database() AND query LIKE 'SELECT EXISTS (SELECT FROM world.passages)'"""
    async with connected(fresh_database) as looking:
        while (since := await looking.fetchval(idle)) is None or since < timedelta(seconds=3):
            await asyncio.sleep(0.05)
