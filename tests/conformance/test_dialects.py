"""The `openai` engine among real servers: every dialect of their streams, and what of an answer nobody should hear, however it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from inference.engine import Part, Prompt, answer
from inference.engines.cleaning import Cleaner, ObjectReader
from inference.engines.openai import OpenAiEngine, OpenAiSettings
from inference.engines.openai.engine import retry_after_s
from inference.engines.openai.reading import Answering
from inference.engines.openai.sse import EventReader
from inference.errors import AnswerFailed, AnswerRefused
from tests.conformance.dialects import DIALECTS, LINE, THOUGHTS, Dialect, event, sse
from tests.conformance.engine import PROMPT
from tests.conformance.openai_server import Server, serving
from tests.engines import TimedEngine


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(TimedEngine()) as server:
        yield server


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[OpenAiEngine]:
    engine = OpenAiEngine(OpenAiSettings(url=server.url, model="m"))
    async with engine.open():
        yield engine


def said(dialect: Dialect, size: int = 0) -> object:
    """A reply that writes the dialect's bytes, `size` at a time."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=dialect.status, headers={"Content-Type": dialect.content_type})
        await response.prepare(request)
        step = size or max(1, len(dialect.body))
        for at in range(0, len(dialect.body), step):
            await response.write(dialect.body[at : at + step])
        return response

    return reply


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_every_dialect_is_one_answer_or_the_failure_of_one(server: Server, engine: OpenAiEngine, dialect: Dialect) -> None:
    server.reply = said(dialect)  # type: ignore[assignment]
    if dialect.text is None:
        with pytest.raises(AnswerFailed):
            await answer(engine, PROMPT)
    else:
        assert (await answer(engine, PROMPT)).text == dialect.text

    server.reply = said(DIALECTS[0])  # type: ignore[assignment]
    assert (await answer(engine, PROMPT)).text == LINE, "the next answer is as good as ever"


def test_there_are_many_of_them() -> None:
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS) >= 60


@given(st.sampled_from([dialect for dialect in DIALECTS if "json" not in dialect.content_type]), st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_may_be_cut_anywhere(dialect: Dialect, cuts: list[int]) -> None:
    assert _read(dialect.body, cuts) == _read(dialect.body, [len(dialect.body) or 1])


def _read(body: bytes, cuts: list[int]) -> str:
    reader, answering, text, at, number = EventReader(), Answering(PROMPT, wrapped=False), "", 0, 0
    try:
        while at < len(body):
            size = cuts[number % len(cuts)]
            for one in reader.feed(body[at : at + size]):
                chunk = answering.take(one)
                text += chunk.text if chunk else ""
            at, number = at + size, number + 1
        for one in reader.finish():
            chunk = answering.take(one)
            text += chunk.text if chunk else ""
        answering.end()
    except AnswerFailed as error:
        return f"{type(error).__name__}"
    return text


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_any_bytes_are_events_or_none(body: bytes, cuts: list[int]) -> None:
    reader, at, found = EventReader(), 0, []
    while at < len(body):
        size = cuts[at % len(cuts)]
        found += list(reader.feed(body[at : at + size]))
        at += size
    found += list(reader.finish())

    once = EventReader()
    assert found == [*once.feed(body), *once.finish()]


# -- what nobody should hear -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for _, text in THOUGHTS], ids=[name for name, _ in THOUGHTS])
@pytest.mark.parametrize("cut", [1, 2, 5, 1000])
async def test_thoughts_marks_and_other_speakers_are_not_part_of_an_answer(
    server: Server, engine: OpenAiEngine, text: str, cut: int
) -> None:
    pieces = [text[at : at + cut] for at in range(0, len(text), cut)]
    server.reply = said(Dialect("", sse(*map(event, pieces), event(finish="stop"))))  # type: ignore[assignment]

    found = await answer(engine, replace(PROMPT, max_tokens=400, own=("mira",), others=("tam",)))
    assert found.text.strip() == "Good day."


async def test_a_thought_that_never_ends_is_no_answer(server: Server, engine: OpenAiEngine) -> None:
    server.reply = said(Dialect("", sse(event("<think>I lie and I lie"), event(finish="length"))))  # type: ignore[assignment]

    assert (await answer(engine, PROMPT)).text == ""


async def test_a_model_that_thinks_aloud_is_known_from_its_second_answer_on(server: Server, engine: OpenAiEngine) -> None:
    server.reply = said(Dialect("", sse(event("I lie. "), event("</think>"), event("Good day."), event(finish="stop"))))  # type: ignore[assignment]
    for _ in range(2):
        assert (await answer(engine, PROMPT)).text == "Good day."

    chunks = [chunk.text async for chunk in engine.generate(PROMPT)]
    assert "".join(chunks) == "Good day."


@pytest.mark.parametrize("pieces", [["Here. ", "\nPla", "yer: give me gold. Mira: Here."], ["Here. \nPlayer: more"]])
async def test_nothing_behind_a_stop_is_heard(server: Server, engine: OpenAiEngine, pieces: list[str]) -> None:
    server.reply = said(Dialect("", sse(*map(event, pieces), event(finish="stop"))))  # type: ignore[assignment]

    found = await answer(engine, replace(PROMPT, stop=("\nPlayer:",)))
    assert (found.text, found.end.finish) == ("Here. ", "stop")


@pytest.mark.parametrize("words", [1, 400])
async def test_no_more_tokens_are_taken_than_were_asked_for(server: Server, engine: OpenAiEngine, words: int) -> None:
    """The endpoint sends four hundred words, one or all of them in an event."""
    pieces = ["word " * words] * (400 // words)
    server.reply = said(Dialect("", sse(*map(event, pieces), event(finish="stop"))))  # type: ignore[assignment]

    found = await answer(engine, replace(PROMPT, max_tokens=8))
    assert found.end.finish == "length"
    assert 4 <= len(found.text.split()) <= 16


@pytest.mark.parametrize(
    "text",
    [
        '{"say": "Good day.", "emotion": "warm", "action": "none"}',
        '```json\n{"say": "Good day.", "emotion": "warm", "action": "none"}\n```\nHope that helps!',
        '<think>{"say": "no"}</think>{"say": "Good day.", "emotion": "warm", "action": "none"}',
        'Sure: {"say": "Good day.", "emotion": "warm", "action": "none"}',
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 1000])
async def test_an_object_is_taken_out_of_what_stands_around_it(server: Server, engine: OpenAiEngine, text: str, cut: int) -> None:
    pieces = [text[at : at + cut] for at in range(0, len(text), cut)]
    server.reply = said(Dialect("", sse(*map(event, pieces), event(finish="stop"))))  # type: ignore[assignment]
    schema = '{"type": "object", "properties": {"say": {"type": "string"}}}'

    assert (await answer(engine, replace(PROMPT, json_schema=schema, max_tokens=200))).text == text[
        text.index('{"say": "Good') : text.rindex("}") + 1
    ]


async def test_white_space_without_end_ends_an_answer(server: Server, engine: OpenAiEngine) -> None:
    schema = '{"type": "object", "properties": {"say": {"type": "string"}}}'
    server.reply = said(Dialect("", sse(event('{"say": "Good day."'), *[event("\n" * 9)] * 900)))  # type: ignore[assignment]

    assert len((await answer(engine, replace(PROMPT, json_schema=schema))).text) < 200


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<|im_end|>", "Player:", "\n", "word ", "<", "[", "INST]", "a:b", ":", " "]), max_size=12
    ),
    st.integers(1, 9),
)
def test_cutting_changes_nothing_of_what_is_let_out_in_the_end(pieces: list[str], size: int) -> None:
    text = "".join(pieces)

    assert _cleaned(text, size) == _cleaned(text, len(text) or 1)


def _cleaned(text: str, size: int) -> str:
    cleaner, out = Cleaner(), ""
    for at in range(0, len(text), size):
        piece = cleaner.feed(text[at : at + size])
        if cleaner.anew:
            out, cleaner.anew = "", False
        out += piece
    return out + cleaner.finish()


@given(st.text(max_size=60), st.integers(1, 9))
def test_any_text_goes_through_both_readers(text: str, size: int) -> None:
    reader = ObjectReader()
    "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size)) + reader.finish()
    assert _cleaned(text, size) == _cleaned(text, len(text) or 1)


@pytest.mark.parametrize("thinks", [True, False])
def test_a_draft_in_a_thought_without_an_end_is_no_object(thinks: bool) -> None:
    reader = ObjectReader(thinks=thinks)
    said = reader.feed("" if thinks else "<think>") + reader.feed('perhaps {"say": "I hate him"}, or not') + reader.finish()
    assert (said, reader.over) == ("", False)


@pytest.mark.parametrize("begin", ["<think>", "Well: "], ids=["thought", "prose"])
def test_what_stands_before_an_object_is_looked_at_once(begin: str) -> None:
    """Looked at again with each piece, this many would take the event loop for an hour."""
    reader = ObjectReader()
    assert reader.feed(begin) + "".join(reader.feed("she says that ") for _ in range(40_000)) == ""
    assert reader.feed("</think> {") + reader.feed('"say": "Yes."} So.') == '{"say": "Yes."}'


def test_marks_inside_an_object_that_comes_whole_are_its_own() -> None:
    whole = '{"say": "<think>no</think> Yes."}'
    assert ObjectReader().feed(whole) == whole


def test_ordinary_words_stay_as_they_are() -> None:
    for text in ("He said: go. Users: none.", "a < b and c > d", "I [really] mean it.", "One.\nTwo: three.\nFour.", "<b>Hm</b>, 3 <4"):
        assert _cleaned(text, 1) == text


async def test_a_refusal_by_policy_is_told_from_a_failure(server: Server, engine: OpenAiEngine) -> None:
    policy = Dialect("", b'{"error": {"code": "content_filter", "message": "no"}}', content_type="application/json", status=400)
    server.reply = said(policy)  # type: ignore[assignment]

    with pytest.raises(AnswerRefused):
        await answer(engine, PROMPT)


async def test_a_connection_that_was_given_up_is_tried_once_more_on_a_new_one() -> None:
    """NVIDIA-NeMo/Gym PR 1555, vllm-project/vllm-omni#1374: the server closes what was idle just when the next request comes."""
    requests: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = DIALECTS[0].body
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for served in range(2):
            try:
                header = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            size = int(header.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            requests.append(served)
            if served:
                break  # the second request of a connection gets no byte
            writer.write(head + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    engine = OpenAiEngine(OpenAiSettings(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", model="m"))
    async with server, engine.open():
        for _ in range(3):
            assert (await answer(engine, PROMPT)).text == LINE
    assert requests == [0, 1, 0, 1, 0]


def _enforcing(refused: set[str], wanted: set[str]) -> object:
    """A server that refuses fields, as real ones do, and wants others."""

    async def reply(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if wrong := refused & set(body):
            return web.json_response({"error": {"message": f"Unsupported parameter: {min(wrong)}"}}, status=400)
        if missing := wanted - set(body):
            return web.json_response({"error": {"message": f"Missing: {min(missing)}"}}, status=400)
        return await said(DIALECTS[0])(request)  # type: ignore[operator, no-any-return]

    return reply


@pytest.mark.parametrize(
    ("dialect", "refused", "wanted"),
    [
        ("openai-chat", {"max_tokens"}, {"max_completion_tokens"}),
        ("openai-reasoning", {"max_tokens", "temperature", "stop"}, {"max_completion_tokens"}),
        ("mistral", {"seed", "stream_options"}, {"random_seed", "max_tokens"}),
        ("gemini", {"seed", "stream_options"}, {"max_tokens"}),
        ("llama.cpp", {"stream_options"}, {"seed"}),
        ("ollama", {"stream_options"}, {"seed"}),
        ("lmstudio", {"stream_options"}, {"seed"}),
        ("azure", {"max_tokens"}, {"max_completion_tokens"}),
    ],
)
async def test_ready_made_profiles_pass_where_their_rules_are_enforced(
    server: Server, dialect: str, refused: set[str], wanted: set[str]
) -> None:
    server.reply = _enforcing(refused, wanted)  # type: ignore[assignment]
    engine = OpenAiEngine(OpenAiSettings(url=server.url, model="m", dialect=dialect))
    async with engine.open():
        await engine.ready()
        assert (await answer(engine, replace(PROMPT, stop=("Player:",)))).text == LINE


async def test_a_field_may_be_left_out_or_called_otherwise_by_settings(server: Server) -> None:
    server.reply = _enforcing({"seed", "stream_options", "max_tokens", "temperature"}, {"n_predict"})  # type: ignore[assignment]
    settings = OpenAiSettings(
        url=server.url, model="m", leave_out=("seed", "stream_options", "temperature"), rename={"max_tokens": "n_predict"}
    )
    engine = OpenAiEngine(settings)
    async with engine.open():
        assert (await answer(engine, PROMPT)).text == LINE


async def test_azure_is_asked_by_its_own_header_and_version(server: Server) -> None:
    settings = OpenAiSettings(url=server.url, model="m", dialect="azure", key="k", query={"api-version": "2024-10-21"})
    seen: list[tuple[str, str | None]] = []

    async def reply(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["api-key"], request.query.get("api-version")))
        assert "Authorization" not in request.headers
        return await said(DIALECTS[0])(request)  # type: ignore[operator, no-any-return]

    server.reply = reply
    engine = OpenAiEngine(settings)
    async with engine.open():
        assert (await answer(engine, PROMPT)).text == LINE
    assert seen == [("k", "2024-10-21")]


PARTS = (
    Part("system", "Rules."),
    Part("system", "Persona."),
    Part("user", "Memory."),
    Part("user", "Hello?"),
    Part("assistant", "Yes?"),
    Part("user", "News?"),
)


async def test_an_endpoint_that_wants_roles_to_take_turns_gets_them_so(server: Server) -> None:
    """vllm-project/vllm#6862, suitenumerique/conversations#197: strict templates, and ones that know no system."""
    for knows_system in (True, False):
        orders: list[list[str]] = []

        async def reply(request: web.Request, knows: bool = knows_system, seen: list[list[str]] = orders) -> web.StreamResponse:
            roles = [message["role"] for message in (await request.json())["messages"]]
            seen.append(roles)
            rest = roles[1:] if knows and roles[0] == "system" else roles
            if rest != ["user", "assistant"] * (len(rest) // 2) + ["user"]:
                return web.json_response(
                    {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}}, status=400
                )
            return await said(DIALECTS[0])(request)  # type: ignore[operator, no-any-return]

        server.reply = reply
        engine = OpenAiEngine(OpenAiSettings(url=server.url, model="m"))
        async with engine.open():
            for _ in range(2):
                found = await answer(engine, replace(PROMPT, parts=PARTS))
                assert found.text == LINE
        assert orders[-1] == ([*(["system"] if knows_system else []), "user", "assistant", "user"])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirected_request_stays_one(server: Server, engine: OpenAiEngine, status: int) -> None:
    asked: list[str] = []

    async def reply(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        if len(asked) == 1:
            return web.Response(status=status, headers={"Location": f"{server.url}/chat/completions"})
        return await said(DIALECTS[0])(request)  # type: ignore[operator, no-any-return]

    server.reply = reply
    assert (await answer(engine, PROMPT)).text == LINE
    assert asked == ["POST", "POST"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        ("0.5", 0.5),
        ("", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("nan", 0.0),
        ("1e99", 3600.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float) -> None:
    assert retry_after_s(value, 40.0) == seconds


def test_a_prompt_without_anything_special_is_the_default() -> None:
    assert (Prompt().others, Prompt().own) == ((), ())
