"""Embedders by name, as settings and the command line give them.

    minilm                                              all-MiniLM-L6-v2 in this process: the default
    hashing                                             words and letters hashed to 256 numbers: no weights, knows no meaning
    openai+http://host:8000/v1?model=NAME               an endpoint that speaks OpenAI's embeddings
    vllm+http://host:8000/v1?model=NAME                 vLLM's server of a pooling model: the same, and it cuts texts that are too long

An endpoint takes further: `query_prefix`, `passage_prefix` (what the model wants before a text), `as` (the id its vectors are kept under,
in place of the model's name), `dimension` (ask for so many numbers).
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from bus.errors import BadSettings, MissingExtra
from projections.knowledge.embedders.embedder import Embedder

DEFAULT: Final = "minilm"
_KNOWN: Final = ("model", "query_prefix", "passage_prefix", "as", "dimension")


async def open_embedder(name: str = DEFAULT, *, key: str = "") -> Embedder:
    """The embedder of that name, ready to use; `key` is sent to endpoints as bearer token.

    Close it with `aclose`. Raises `BadSettings`, or `EmbedderFailed` when an endpoint does not answer.
    """
    try:
        if name == "minilm":
            from projections.knowledge.embedders.minilm import MiniLm

            return await asyncio.to_thread(MiniLm)
        if name == "hashing":
            from projections.knowledge.embedders.hashing import Hashing

            return Hashing()
    except ModuleNotFoundError as error:
        raise MissingExtra.of(f"the embedder {name}", ("knowledge",), (error.name or "numpy",)) from error
    kind, plus, address = name.partition("+")
    if kind in ("openai", "vllm") and plus:
        return await _endpoint(kind, address, key)
    raise BadSettings(f"wanted an embedder: minilm, hashing, openai+http://… or vllm+http://…, found {name!r}")


async def _endpoint(kind: str, address: str, key: str) -> Embedder:
    try:
        from projections.knowledge.embedders.endpoint import Endpoint, EndpointSettings
    except ModuleNotFoundError as error:
        raise MissingExtra.of("an embedder over HTTP", ("knowledge", "inference"), (error.name or "aiohttp",)) from error

    url = urlsplit(address)
    given = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    if unknown := sorted(set(given) - set(_KNOWN)):
        raise BadSettings(f"embedder: wanted {', '.join(_KNOWN)} behind the address, found {', '.join(unknown)}")
    if not given.get("dimension", "1").isdecimal():
        raise BadSettings(f"embedder: wanted a number as dimension, found {given['dimension']!r}")
    endpoint = Endpoint(
        EndpointSettings(
            url=urlunsplit(url._replace(query="", fragment="")),
            model=given.get("model", ""),
            key=key,
            kept_as=given.get("as", ""),
            dimension=int(given.get("dimension", 0)),
            query_prefix=given.get("query_prefix", ""),
            passage_prefix=given.get("passage_prefix", ""),
            cuts=kind == "vllm",
        )
    )
    try:
        await endpoint.ready()
    except BaseException:
        await endpoint.aclose()
        raise
    return endpoint
