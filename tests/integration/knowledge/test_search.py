"""Searching as who asks sees it: by words, by meaning, as a reader in SQL, over the request subject; and another model meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.connection import connect
from bus.errors import Transient
from bus.log import LogConfig, open_log
from bus.publisher import open_publisher
from bus.subjects import stored_filter
from projections.knowledge import tuning, vectors
from projections.knowledge.embedders import open_embedder
from projections.knowledge.embedding import embed_missing
from projections.knowledge.reembed import Asked, reembed
from projections.knowledge.search import BadQuery, MixedModels, Mode, Query, Search, by_words, check, fetch, open_search, snippet
from projections.knowledge.serving import open_serving
from projections.query import SqlRejected, query
from tests.integration.knowledge.lore import WORLD, Library, Told, found, until
from worldbus.edges.recall import wanted
from worldbus.edges.search import answered, ask, asked, serve_search
from worldbus.embedded import NatsServer
from worldbus.testing.servers import as_reader

SILENCE = Told("The quiet purse is filled by the Night Buyers.", heading=("Economy", "Who pays for silence"), tags=("money",))
EELS = Told("Eels are smoked on the quay, and silence is kept while they hang.", heading=("Food",))
SECRET = Told("The warden takes the quiet purse home.", audience=("faction:wardens",), heading=("Secrets",))


@pytest.fixture
async def library(database: str) -> Library:
    made = Library()
    made.tell("economy", SILENCE, EELS)
    made.tell("secrets", SECRET)
    await made.shelve(database)
    return made


@pytest.fixture
async def search(database: str, connection: asyncpg.Connection, library: Library) -> AsyncIterator[Search]:
    async with open_serving(connection, first="hashing") as serving, open_search(database, serving) as opened:
        await vectors.fill(connection, serving)
        yield opened


async def test_an_answer_says_where_it_stands(search: Search, library: Library) -> None:
    answer = await search.search(Query(world=WORLD, text="who pays for silence?"))

    (first, *_) = answer.hits
    assert (first.document, first.heading, first.line_from, first.passage_id) == ("economy", SILENCE.heading, 1, SILENCE.id("economy"))
    assert first.ranks == {"text": 1, "vector": 1}
    assert first.position == 3
    assert (answer.mode, answer.model, answer.as_of) == ("hybrid", "hashing-256", library.head)


async def test_only_some_may_know(search: Search) -> None:
    public = await search.search(Query(world=WORLD, text="quiet purse"))
    warden = await search.search(Query(world=WORLD, text="quiet purse", tokens=("public", "faction:wardens")))

    assert {hit.document for hit in public.hits} == {"economy"}
    assert warden.hits[0].document == "secrets"
    assert (await search.search(Query(world=WORLD, text="quiet purse", tokens=()))).hits == ()


async def test_filters(search: Search) -> None:
    async def documents(**named: object) -> list[tuple[str, ...]]:
        return [hit.heading for hit in (await search.search(Query(world=WORLD, text="silence", **named))).hits]  # type: ignore[arg-type]

    assert await documents(tags=("money",)) == [SILENCE.heading]
    assert await documents(kinds=("memory",)) == []
    assert await documents(owner="mira") == []
    assert await documents(as_of=2) == []
    assert len(await documents(most=1)) == 1


@pytest.mark.parametrize("mode", ["hybrid", "text"])
async def test_words_are_found_as_they_were_meant(search: Search, connection: asyncpg.Connection, database: str, mode: Mode) -> None:
    await tuning.count_terms(connection)

    answer = await search.search(Query(world=WORLD, text="whoo pays for silennce?", mode=mode))
    assert [hit.heading for hit in answer.hits if "text" in hit.ranks][:1] == [SILENCE.heading]
    told = await query(as_reader(database), f"SELECT document FROM kb_search('{WORLD}', 'the quite prse', mode => 'text')")
    assert told.rows == [("economy",)]  # and not the warden's secret, which has the purse as well


async def test_a_word_that_stands_somewhere_is_meant_as_it_stands(connection: asyncpg.Connection, search: Search) -> None:
    await tuning.count_terms(connection)
    for text, meant in (
        ("silence and eels", ""),
        ("silennce", " silenc"),
        ("sielnce elels wardne", " silenc warden eel"),
        ("kubernetes", ""),
        ("silx", ""),
        ("", ""),
    ):
        assert await connection.fetchval("SELECT worldbus.kb_spelt($1, $2)", WORLD, text) == text + meant
    assert await connection.fetchval("SELECT worldbus.kb_spelt('elsewhere', 'silennce')") == "silennce"


async def test_any_question_can_be_spelt(connection: asyncpg.Connection, search: Search) -> None:
    await tuning.count_terms(connection)
    nasty = [
        "'",
        "\\",
        "a'b\\c & d | !e :* <->",
        "silenc\u00e9\u0301 \u0130\u00df \u6e2f\u5cb8\u6e2f\u5cb8",
        "\U0001f600" * 500,
        "word " * 200,
        "s" * 1024,
        "a\nb\tc",
    ]
    for text in nasty:
        found: str = await connection.fetchval("SELECT worldbus.kb_spelt($1, $2)", WORLD, text)
        assert found.startswith(text)
        await search.search(Query(world=WORLD, text=text))


async def test_readers_search_in_plain_sql_and_see_no_vectors(database: str, search: Search) -> None:
    reader = as_reader(database)

    answer = await query(reader, f"SELECT document, text_rank FROM kb_search('{WORLD}', 'silence', most => 1)")

    assert answer.rows == [("economy", 1)]
    with pytest.raises(SqlRejected):
        await query(reader, "SELECT * FROM worldbus.embeddings")


@pytest.mark.parametrize("tokens", ["'{}'", "NULL", "'{npc:nobody}'"])
async def test_who_has_no_token_finds_nothing(database: str, search: Search, tokens: str) -> None:
    assert (await query(as_reader(database), f"SELECT * FROM kb_search('{WORLD}', 'silence', {tokens})")).rows == []


async def test_words_looked_up_beside_the_vector_answer_as_one_call_does(search: Search, connection: asyncpg.Connection) -> None:
    """In two calls or in one: the same rows, with the same figures, as of the position that is asked for."""
    embedder = await open_embedder("hashing")
    for as_of in (None, 3):
        asked = Query(world=WORLD, text="who pays for silence, and for eels?", as_of=as_of)
        (vector,) = await embedder.embed([asked.text], "query")
        beside = await by_words(connection, asked)
        assert beside is not None
        assert beside.at == (3 if as_of else await connection.fetchval("SELECT position FROM worldbus.checkpoint"))

        apart = await fetch(connection, asked, "hybrid", embedder.model, vector.tolist(), beside)
        whole = await fetch(connection, asked, "hybrid", embedder.model, vector.tolist())

        assert apart == whole
        assert [hit.passage_id for hit in (await search.search(asked)).hits] == [row["passage_id"] for row in whole]
        assert {row["text_rank"] for row in whole} == {1, 2}


async def test_naming_passages_as_found_shows_nothing_that_is_not_for_the_asker(database: str, search: Search) -> None:
    """Readers may say what was found by words: who may know it is still looked at."""
    for said, document in ((SECRET, "secrets"), (SILENCE, "economy")):
        named = f'{{"asked": "{{1:1}}/536870912", "most": 1, "found": [{{"id": "{said.id(document)}", "revision": 1, "weight": 9}}]}}'
        answer = await query(as_reader(database), f"SELECT document FROM kb_search('{WORLD}', 'eels', by_words => '{named}')")

        assert answer.rows == ([] if said is SECRET else [(document,)])


async def test_vectors_of_another_model_are_refused(connection: asyncpg.Connection, search: Search, database: str) -> None:
    sql = "SELECT * FROM world.kb_search($1, 'x', vector => $2, model => $3)"
    for vector, model in (([1.0] * 384, "all-MiniLM-L6-v2"), ([1.0] * 255, "hashing-256")):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.fetch(sql, WORLD, vector, model)
        assert refused.value.sqlstate == "KB001"
    async with open_search(database, None) as without:
        with pytest.raises(BadQuery):
            await without.search(Query(world=WORLD, text="x", mode="vector"))
        assert (await without.search(Query(world=WORLD, text="silence"))).mode == "text"


async def test_a_search_that_meets_a_switch_follows_it(connection: asyncpg.Connection, search: Search, database: str) -> None:
    """Its vector is of the old model; it is refused, made anew with the new one, and answered."""
    await _as_another_model(connection)

    answer = await search.search(Query(world=WORLD, text="who pays for silence?"))

    assert (answer.mode, answer.model) == ("hybrid", "all-MiniLM-L6-v2")
    assert answer.hits[0].ranks["vector"] == 1


async def _as_another_model(connection: asyncpg.Connection) -> None:
    minilm = await open_embedder("minilm")
    await vectors.register(connection, minilm, "minilm", state="filling")
    await vectors.fill(connection, minilm)
    async with connection.transaction():
        await vectors.switch(connection, minilm.model)
    await minilm.aclose()


async def test_without_following_mixed_models_are_an_error(connection: asyncpg.Connection, search: Search, database: str) -> None:
    await connection.execute("UPDATE worldbus.embedding_models SET model = 'renamed', embedder = 'hashing'")

    with pytest.raises(MixedModels):
        await search.search(Query(world=WORLD, text="silence"))


async def test_another_model_is_filled_beside_and_switched_to_while_searches_are_answered(
    database: str, connection: asyncpg.Connection, search: Search
) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def ask_on() -> None:
        while not done.is_set():
            answer = await search.search(Query(world=WORLD, text="who pays for silence?"))
            assert answer.hits[0].heading == SILENCE.heading
            assert answer.hits[0].ranks["vector"] == 1
            seen.append(answer.model)

    asking = asyncio.create_task(ask_on())
    question = Asked(world=WORLD, text="quiet purse", tokens=("public",))
    looked = await reembed(database, "minilm", questions=[question], change=False)
    before = list(seen)
    changed = await reembed(database, "minilm", questions=[question])
    await until(connection, "SELECT state FROM worldbus.embedding_models WHERE model = 'all-MiniLM-L6-v2'", "serving")
    while seen[-1] != "all-MiniLM-L6-v2":
        await asyncio.sleep(0.01)
    done.set()
    await asking

    assert (looked.switched, looked.embedded, changed.switched, changed.embedded) == (False, 3, True, 0)
    assert set(before) == {"hashing-256"}
    assert seen == sorted(seen, key=lambda model: model != "hashing-256")
    assert [(one.question, len(one.before), len(one.after)) for one in changed.differences] == [("quiet purse", 2, 2)]
    assert changed.overlap == 1.0


async def test_passages_get_their_vectors_as_they_come(database: str, connection: asyncpg.Connection, library: Library) -> None:
    async with open_serving(connection, first="hashing") as serving:
        service = asyncio.create_task(embed_missing(database, serving))
        await until(connection, "SELECT count(*) FROM worldbus.embeddings", 3)

        library.tell("news", Told("A lamp burns green on the quay."), SILENCE)
        await library.shelve(database)

        await until(connection, "SELECT count(*) FROM worldbus.embeddings", 4)  # the text that was known already has its vector
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


async def test_what_is_about_to_be_said_has_its_vector_before(connection: asyncpg.Connection) -> None:
    async with open_serving(connection, first="hashing") as serving:
        assert await vectors.ensure(connection, serving, {"a" * 32: "one", "b" * 32: "two"}) == 2
        assert await vectors.ensure(connection, serving, {"b" * 32: "two", "c" * 32: "three"}) == 1


async def test_the_index_is_built_beside_and_used_only_if_it_finds_what_a_scan_finds(
    connection: asyncpg.Connection, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "EXACT_BELOW", 1)

    await tuning.tune(connection, "hashing-256")

    rows = await connection.fetch("SELECT indexed, vectors FROM worldbus.embedding_models")
    assert [tuple(row) for row in rows] == [(False, 3)]  # nobody's audience is broad enough for an index to pay
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = ('worldbus.' || quote_ident($1))::regclass"
    assert await connection.fetchval(valid, tuning.index_name("hashing-256"))
    assert await connection.fetchval("SELECT passages FROM worldbus.search_terms WHERE kind = 'token' AND term = 'public'") == 2


async def test_words_of_every_kind_are_searched_for(connection: asyncpg.Connection, library: Library) -> None:
    """Operators, quotes and backslashes of a question are words or nothing, never syntax."""
    for text in ("silence & | ! ( ) <-> :* '", "si\\lence 'quoted' \"x\"", "the of and", "", "%s %I $1", "silence" * 500):
        assert set(await found(connection, text)) <= {SILENCE.text, EELS.text}


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[object]:
    async with connect(nats_server.url, name="test") as connection:
        yield connection


async def test_questions_over_the_request_subject_are_answered_and_recorded(bus, search: Search) -> None:  # type: ignore[no-untyped-def]
    log = await open_log(bus, LogConfig(partitions=8))
    try:
        async with open_publisher(bus, log, "relaxed") as publisher, serve_search(bus, search, publisher):
            answer = await ask(bus, Query(world=WORLD, text="who pays for silence?"), asker="mira")
            with pytest.raises(BadQuery):
                await ask(bus, Query(world=WORLD, text=" "))

            assert answer.hits[0].passage_id == SILENCE.id("economy")
            while (last := await log.last(stored_filter(world=WORLD, subsystem="knowledge", entity="mira"))) is None:
                await asyncio.sleep(0.02)
            said = last.data
            assert (said.query, said.model, list(said.audience)) == ("who pays for silence?", "hashing-256", ["public"])
            assert [hit.passage_id for hit in said.hits] == [hit.passage_id for hit in answer.hits]
        with pytest.raises(Transient):
            await ask(bus, Query(world=WORLD, text="silence"))
    finally:
        await log.aclose()


@given(payload=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_request_is_a_question_or_refused(payload: bytes) -> None:
    for decode in (lambda: check(asked(WORLD, payload)[0]), lambda: answered(payload)):
        with contextlib.suppress(BadQuery, Transient):
            decode()


@pytest.mark.parametrize("field", ["text", "owner", "tokens", "tags", "kinds"])
def test_no_part_of_a_question_may_hold_what_postgres_cannot(field: str) -> None:
    value = "a\0" if field in ("text", "owner") else ["a\0"]

    with pytest.raises(BadQuery):
        check(asked(WORLD, json.dumps({"text": "who?", field: value}).encode())[0])


@pytest.mark.parametrize("field", ["query", "owner", "audience"])
def test_no_part_of_a_wish_may_hold_what_postgres_cannot(field: str) -> None:
    value = ["a\0"] if field == "audience" else "a\0"

    with pytest.raises(BadQuery):
        wanted(WORLD, json.dumps({"query": "who?", "as_of": 1, field: value}).encode())


@pytest.mark.parametrize("misspelt", [{"asof": 3}, {"as-of": 3}, {"token": ["public"]}, {"tag": ["quay"]}])
def test_a_misspelt_limit_is_refused_and_not_passed_over(misspelt: dict[str, object]) -> None:
    with pytest.raises(BadQuery):
        asked(WORLD, json.dumps({"text": "who?", **misspelt}).encode())


@given(body=st.text(max_size=600), question=st.text(max_size=60), longest=st.integers(20, 240))
def test_a_snippet_is_a_part_of_the_text_and_not_too_long(body: str, question: str, longest: int) -> None:
    found = snippet(body, question, longest)

    assert len(found) <= longest
    assert found.removeprefix("… ").removesuffix(" …") in " ".join(body.split())
