"""Any endpoint that speaks OpenAI's embeddings: a vLLM server of a pooling model, text-embeddings-inference, a paid service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import numpy as np

from bus.errors import BadSettings
from projections.knowledge.embedders.embedder import EmbedderFailed, Kind, Vectors, unit

BATCH: Final = 64  # texts of one request
SIDE_BY_SIDE: Final = 4  # requests of passages at once; a question never waits for them
MAX_ANSWER: Final = 64 << 20  # bytes of one answer; more is no answer but a broken server
MAX_ERROR: Final = 400  # characters of an error that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """The address of the endpoint, and the needs of its model."""

    url: str
    """Up to and with the version, e.g. `http://127.0.0.1:8000/v1`."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as bearer token; never in messages."""
    kept_as: str = ""
    """Id under which vectors are kept; empty for the model's name."""
    dimension: int = 0
    """Ask for so many numbers, of models that can give fewer; 0 for as many as it gives."""
    query_prefix: str = ""
    passage_prefix: str = ""
    cuts: bool = False
    """vLLM: texts longer than the model's context are cut there; other servers refuse them."""
    seconds: float = 30.0

    def __post_init__(self) -> None:
        faults = [
            *([] if self.url.startswith(("http://", "https://")) else [f"wanted an address http://… or https://…, found {self.url!r}"]),
            *([] if self.model else ["wanted `model` behind the address, found none"]),
        ]
        if faults:
            raise BadSettings("embedder: " + "; ".join(faults))


class Endpoint:
    """See the module. Vectors are brought to length 1 here: not every server does."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(SIDE_BY_SIDE)
        self.model = settings.kept_as or settings.model
        self.dimension = settings.dimension
        self.query_prefix = settings.query_prefix
        self.passage_prefix = settings.passage_prefix

    async def ready(self) -> None:
        """Ask once, and so learn the dimension."""
        self.dimension = int((await self.embed(["?"], "query")).shape[1])

    async def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        prefix = self.query_prefix if kind == "query" else self.passage_prefix
        parts = [[prefix + text for text in texts[at : at + BATCH]] for at in range(0, len(texts), BATCH)]
        if not parts:
            return np.empty((0, self.dimension), np.float32)
        ask = self._ask if kind == "query" else self._ask_in_turn
        return unit(np.concatenate(await asyncio.gather(*map(ask, parts))))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask_in_turn(self, texts: list[str]) -> Vectors:
        async with self._room:
            return await self._ask(texts)

    async def _ask(self, texts: list[str]) -> Vectors:
        settings = self._settings
        body: dict[str, Any] = {"model": settings.model, "input": texts, "encoding_format": "float"}
        if settings.dimension:
            body["dimensions"] = settings.dimension
        if settings.cuts:
            body["truncate_prompt_tokens"] = -1
        try:
            async with self._open().post(f"{settings.url.rstrip('/')}/embeddings", json=body) as response:
                if response.status != 200:
                    said = (await response.content.read(MAX_ERROR)).decode("utf-8", "replace")
                    raise EmbedderFailed(
                        f"wanted vectors from {settings.url}, found status {response.status}: {said}", status=response.status
                    )
                if (response.content_length or 0) > MAX_ANSWER:
                    raise EmbedderFailed(f"wanted at most {MAX_ANSWER} bytes from {settings.url}, found {response.content_length}")
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise EmbedderFailed(
                f"wanted vectors from {settings.url}, found {type(error).__name__}: {error}; look at the endpoint"
            ) from error
        return vectors(answer, len(texts), self.dimension)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Authorization": f"Bearer {self._settings.key}"} if self._settings.key else {}
            timeout = aiohttp.ClientTimeout(total=self._settings.seconds, connect=2.0)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        return self._session


def vectors(answer: object, texts: int, dimension: int) -> Vectors:
    """The vectors in an answer, by their index. Raises `EmbedderFailed` for an answer that is not `texts` vectors of finite numbers,
    all of one dimension: of `dimension`, if that is not 0."""
    try:
        data = sorted(answer["data"], key=lambda one: one["index"])  # type: ignore[index]  # whatever JSON it is, it fails below
        found = np.array([one["embedding"] for one in data], np.float32)
        places = [one["index"] for one in data]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EmbedderFailed(f"wanted an answer of OpenAI's embeddings, found something else: {error!r:.200}") from error
    if found.ndim != 2 or places != list(range(texts)) or found.shape[1] == 0 or not np.isfinite(found).all():
        raise EmbedderFailed(f"wanted {texts} vectors of finite numbers, found an array of shape {found.shape} at {places[:5]}")
    if dimension and found.shape[1] != dimension:
        raise EmbedderFailed(f"wanted vectors of {dimension} numbers, found {found.shape[1]}: is it another model?")
    return found
