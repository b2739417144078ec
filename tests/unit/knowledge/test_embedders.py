"""Embedders: the original's vectors without the original, one vector per text whatever stands beside it, and endpoints that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import BadSettings
from projections.knowledge.embedders import Embedder, EmbedderFailed, open_embedder
from projections.knowledge.embedders.endpoint import vectors
from projections.knowledge.embedders.hashing import Hashing
from projections.knowledge.embedders.minilm import MiniLm
from tests.laws import examples

ORIGINAL = Path(__file__).parents[2] / "embedder" / "original.json"
SAME = 1 - 1e-4


@pytest.fixture(scope="module")
def minilm() -> Iterator[MiniLm]:
    embedder = MiniLm()
    yield embedder
    asyncio.run(embedder.aclose())


async def test_the_vectors_are_those_of_sentence_transformers(minilm: MiniLm) -> None:
    original = json.loads(ORIGINAL.read_text(encoding="utf-8"))

    ours = await minilm.embed(list(original), "passage")

    cosines = np.einsum("ij,ij->i", ours, np.array(list(original.values()), np.float32))
    assert len(original) >= 40
    assert cosines.min() > SAME


@settings(max_examples=examples(15), deadline=None)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_a_vector_depends_on_its_text_alone(minilm: MiniLm, texts: list[str]) -> None:
    """Not on its neighbours in a batch, on being a question, or on what follows its last token; and it has length 1."""

    async def embed() -> tuple[Any, Any]:
        together = await minilm.embed([*texts, "a much longer text that stands beside the others and is padded to"], "passage")
        return together[: len(texts)], [(await minilm.embed([text], "query"))[0] for text in texts]

    together, alone = asyncio.run(embed())

    assert np.abs(together - np.array(alone)).max() < 1e-5
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5


@given(text=st.text(max_size=200))
def test_hashing_takes_any_text_and_gives_the_same_vector_again(text: str) -> None:
    one, other = asyncio.run(Hashing().embed([text, text], "passage"))

    assert one.tolist() == other.tolist()
    assert np.isfinite(one).all()


async def test_hashing_finds_shared_words() -> None:
    question, near, far = await Hashing().embed(["silent money", "the silent money is paid", "eels and herring"], "query")

    assert question @ near > question @ far


@asynccontextmanager
async def endpoint(answer: Callable[[dict[str, Any]], Awaitable[web.Response]], bodies: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A real HTTP server that answers /v1/embeddings."""

    async def handle(request: web.Request) -> web.Response:
        bodies.append({**await request.json(), "key": request.headers.get("Authorization", "")})
        return await answer(bodies[-1])

    app = web.Application()
    app.router.add_post("/v1/embeddings", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def hashed(body: dict[str, Any]) -> web.Response:
    """As a server would that has the hashing model, in an order of its own and not at length 1."""
    found = await Hashing().embed(body["input"], "passage")
    data = [{"object": "embedding", "index": number, "embedding": (3 * vector).tolist()} for number, vector in enumerate(found)]
    return web.json_response({"object": "list", "data": data[::-1], "model": body["model"]})


async def test_an_endpoint_gives_vectors_in_the_order_of_the_texts_with_what_its_model_wants_before_them() -> None:
    bodies: list[dict[str, Any]] = []
    texts = [f"text {number}" for number in range(150)]
    async with endpoint(hashed, bodies) as url:
        embedder = await open_embedder(f"openai+{url}?model=m&passage_prefix=passage:%20&query_prefix=query:%20&as=m-2", key="secret")
        found = await embedder.embed(texts, "passage")
        asked = await embedder.embed(["who?"], "query")
        await embedder.aclose()

    expected = await Hashing().embed([f"passage: {text}" for text in texts], "passage")
    assert np.abs(found - expected).max() < 1e-6
    assert np.abs(asked - await Hashing().embed(["query: who?"], "query")).max() < 1e-6
    assert (embedder.model, embedder.dimension) == ("m-2", 256)
    assert {body["key"] for body in bodies} == {"Bearer secret"}
    assert max(len(body["input"]) for body in bodies) <= 64


async def test_vllm_is_asked_to_cut_what_is_too_long() -> None:
    bodies: list[dict[str, Any]] = []
    async with endpoint(hashed, bodies) as url:
        embedder = await open_embedder(f"vllm+{url}?model=m")
        await embedder.aclose()

    assert bodies[0]["truncate_prompt_tokens"] == -1


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "text": "out of memory"},
        {"status": 200, "text": "no JSON"},
        {"status": 200, "text": "[]"},
        {"status": 200, "text": '{"data": []}'},
        {"status": 200, "text": '{"data": [{"index": 1, "embedding": [1.0]}]}'},
        {"status": 200, "text": '{"data": [{"index": 0, "embedding": [NaN]}]}'},
        {"status": 200, "text": '{"data": [{"index": 0, "embedding": ["x"]}]}'},
    ],
)
async def test_what_is_no_answer_is_said_as_such(answer: dict[str, Any]) -> None:
    async def broken(_: dict[str, Any]) -> web.Response:
        return web.Response(**answer)

    async with endpoint(broken, []) as url:
        with pytest.raises(EmbedderFailed):
            await open_embedder(f"openai+{url}?model=m")


async def test_nobody_there_is_said_as_such() -> None:
    with pytest.raises(EmbedderFailed):
        await open_embedder("openai+http://127.0.0.1:9/v1?model=m")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "index", "embedding"]), inner, max_size=3),
    max_leaves=12,
)


@given(answer=json_values, texts=st.integers(1, 3), dimension=st.integers(0, 3))
def test_any_answer_is_vectors_or_an_error(answer: object, texts: int, dimension: int) -> None:
    try:
        found = vectors(answer, texts, dimension)
    except EmbedderFailed:
        return
    assert found.shape[0] == texts
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "bert",
        "openai",
        "openai+",
        "openai+ftp://x/v1?model=m",
        "openai+http://x/v1",
        "vllm+http://x/v1?model=m&dimension=-1",
        "openai+http://x/v1?model=m&size=3",
    ],
)
async def test_a_name_that_is_no_embedder_is_refused(name: str) -> None:
    with pytest.raises(BadSettings):
        await open_embedder(name)


def test_all_of_them_are_embedders(minilm: MiniLm) -> None:
    embedders: list[Embedder] = [minilm, Hashing()]

    assert [(one.model, one.dimension) for one in embedders] == [("all-MiniLM-L6-v2", 384), ("hashing-256", 256)]
