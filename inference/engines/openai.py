"""Any endpoint that speaks OpenAI's chat completions: a vLLM server, a paid service. Streams; a cancel closes the connection.

What such servers do beyond text differs, so the settings say it: the way they take schemas and choices, and whether seeds mean anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp

from bus.errors import BadSettings
from inference.engine import Abilities, Chunk, End, Finish, Load, Part, Prompt, answer
from inference.errors import EngineFailed, EngineOverloaded, PromptRejected
from inference.json_schema import schema
from inference.prompts import check, dice

MAX_LINE: Final = 1 << 20  # bytes of one server-sent event; more is no event but a broken server
LAST_BYTES: Final = 0.05  # seconds that the end of a stream may lag behind its end marker
MAX_ERROR: Final = 4096  # bytes of an error's body that are read
_CONTROL: Final = re.compile(r"<\|(?=[^<>|\s]{1,40}\|>)")  # how most templates write what is no word
_FINISH: Final[Mapping[str, Finish]] = {"stop": "stop", "length": "length", "repetition": "stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiSettings:
    """Where the endpoint is, and what it can do."""

    url: str
    """Up to and with the version, e.g. `http://127.0.0.1:8000/v1`."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as bearer token; never in messages."""
    slots: int = 8
    context: int = 0
    """Most tokens of prompt and answer together, if known."""
    dialect: Literal["openai", "vllm"] = "openai"
    """`vllm`: also choices, going on from a spoken text, and priorities, by fields that vLLM's server adds to the protocol."""
    schemas: bool = True
    seeds: bool = False
    """Whether the same seed means the same answer. OpenAI itself promises no more than its best effort."""
    caches: bool = False
    """Whether the endpoint says how many tokens of a prompt it had cached (vLLM's server: `--enable-prompt-tokens-details`)."""
    temperature: float = 0.7
    connect_seconds: float = 2.0
    silent_seconds: float = 30.0
    """So long without a byte, and the endpoint has failed."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every request."""

    def __post_init__(self) -> None:
        faults = [
            *([] if self.url.startswith(("http://", "https://")) else [f"url: wanted http:// or https://, found {self.url!r}"]),
            *([] if self.model else ["model: wanted a name, found nothing"]),
            *([] if self.slots >= 1 else [f"slots: wanted 1 or more, found {self.slots}"]),
            *([] if self.connect_seconds > 0 and self.silent_seconds > 0 else ["wanted times above 0"]),
        ]
        if faults:
            raise BadSettings("openai: " + "; ".join(faults))


class OpenAiEngine:
    """See the module."""

    name = "openai"

    def __init__(self, settings: OpenAiSettings) -> None:
        self.settings = settings
        self.model = settings.model
        self.slots = settings.slots
        vllm = settings.dialect == "vllm"
        self.abilities = Abilities(
            json_schema=settings.schemas,
            choices=vllm or settings.schemas,
            seed=settings.seeds,
            resume=vllm,
            prefix_cache=settings.caches,
            context=settings.context,
        )
        self._session: aiohttp.ClientSession | None = None
        self._running = 0

    def open(self) -> AbstractAsyncContextManager[None]:
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        settings = self.settings
        timeout = aiohttp.ClientTimeout(total=None, connect=settings.connect_seconds, sock_read=settings.silent_seconds)
        headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
        connector = aiohttp.TCPConnector(limit=settings.slots + 1)  # one for health checks while every slot is busy
        async with aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def ready(self, warm: Sequence[Prompt] = ()) -> None:
        await answer(self, Prompt(parts=(Part("user", "."),), max_tokens=2))
        for prompt in warm:
            await answer(self, prompt)

    async def healthy(self) -> bool:
        if self._session is None:
            return False
        try:
            async with self._session.get(f"{self.settings.url.rstrip('/')}/models", timeout=aiohttp.ClientTimeout(total=2.0)) as response:
                return response.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def load(self) -> Load:
        return Load(self._running)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        check(prompt, self.abilities, self.name)
        if self._session is None:
            raise EngineFailed("wanted an open engine, found a closed one: generate inside `async with engine.open()`", engine=self.name)
        if self._running >= self.slots:
            raise EngineOverloaded(f"wanted a free slot, found all {self.slots} taken: wait for one to end", slots=self.slots)
        self._running += 1
        try:
            async with aclosing(self._stream(self._session, prompt)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._running -= 1

    async def _stream(self, session: aiohttp.ClientSession, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        try:
            async with session.post(f"{self.settings.url.rstrip('/')}/chat/completions", json=self._body(prompt)) as response:
                whole = False
                try:
                    if response.status != 200:
                        raise await _refusal(response)
                    answering = _Answering(prompt, self._wrapped(prompt))
                    async for event in _events(response):
                        if (chunk := answering.take(event)) is not None:
                            yield chunk
                    whole = True
                    yield answering.end()
                finally:
                    await _leave(response, whole)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineFailed(
                f"wanted an answer from {self.settings.url}, found {type(error).__name__}: {error}; look at the endpoint", engine=self.name
            ) from error

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": part.role, "content": _harmless(part.text)} for part in prompt.parts],
            "max_tokens": prompt.max_tokens,
            "temperature": settings.temperature if prompt.temperature is None else prompt.temperature,
            "seed": dice(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if prompt.json_schema:
            body["response_format"] = _format(schema(prompt.json_schema))
        elif prompt.choices and self._wrapped(prompt):
            body["response_format"] = _format(_choice(prompt.choices))
        elif prompt.choices:
            body["structured_outputs"] = {"choice": list(prompt.choices)}
        if prompt.spoken:
            body["messages"].append({"role": "assistant", "content": _harmless(prompt.spoken)})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if settings.dialect == "vllm" and prompt.deadline is not None:
            body["priority"] = int(prompt.deadline * 1000)
        return body | dict(settings.extra)

    def _wrapped(self, prompt: Prompt) -> bool:
        """Whether choices travel as a schema, because the endpoint knows no other way."""
        return bool(prompt.choices) and self.settings.dialect != "vllm"


class _Answering:
    """What came of one stream so far."""

    def __init__(self, prompt: Prompt, wrapped: bool) -> None:
        self._prompt = prompt
        self._wrapped = wrapped
        self._held: list[str] = []  # of a wrapped choice: it can be spoken only when it is whole
        self._finish: str | None = None
        self._tokens = 0
        self._usage: Mapping[str, Any] = {}
        self._done = False

    def take(self, event: str) -> Chunk | None:
        """The chunk in an event, if it has text. Raises `EngineFailed` for what is no event of the protocol."""
        if event == "[DONE]":
            self._done = True
            return None
        try:
            value = json.loads(event)
            if value.get("error"):
                raise EngineFailed(f"the endpoint failed while it spoke: {value['error']!r:.300}")
            self._usage = value.get("usage") or self._usage
            choice = (value.get("choices") or [{}])[0]
            text = (choice.get("delta") or {}).get("content") or ""
            self._finish = choice.get("finish_reason") or self._finish
            if not (isinstance(text, str) and isinstance(self._finish, str | None) and isinstance(self._usage, dict)):
                raise TypeError("wrong kinds of values")
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
            raise EngineFailed(
                f"wanted an event of a chat completion, found {event!r:.200}: the endpoint speaks another protocol"
            ) from error
        if not text:
            return None
        self._tokens += 1
        if self._wrapped:
            self._held.append(text)
            return None
        return Chunk(text)

    def end(self) -> Chunk:
        """The last chunk. Raises `EngineFailed` if the stream was cut off."""
        finish = _FINISH.get(self._finish or "")
        if finish is None:
            raise EngineFailed(f"wanted the answer's end, found the stream's end with finish {self._finish!r}: the endpoint broke off")
        if finish == "stop" and (self._prompt.choices or self._prompt.json_schema):
            finish = "matched"
        details = self._usage.get("prompt_tokens_details") or {}
        end = End(
            finish,
            _count(self._usage.get("prompt_tokens")),
            _count(details.get("cached_tokens") if isinstance(details, dict) else 0),
            max(_count(self._usage.get("completion_tokens")), self._tokens),
        )
        # An event may hold several tokens and does not say so: what is missing from the count comes with the end.
        return Chunk(self._choice(), tokens=end.completion_tokens - (0 if self._wrapped else self._tokens), end=end)

    def _choice(self) -> str:
        if not self._wrapped:
            return ""
        text = "".join(self._held)
        try:
            said = json.loads(text)["choice"]
        except (ValueError, TypeError, KeyError) as error:
            raise EngineFailed(f"wanted one of the choices, found {text!r:.200}: the endpoint ignores schemas") from error
        if said not in self._prompt.choices:
            raise EngineFailed(f"wanted one of the choices, found {said!r:.200}: the endpoint ignores schemas")
        return str(said)


def _harmless(text: str) -> str:
    """`text` without control tokens: servers put texts into the model's template as they are, where `<|im_end|>` would end the part."""
    return _CONTROL.sub("< |", text)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _format(shape: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": shape, "strict": True}}


def _choice(choices: Sequence[str]) -> dict[str, Any]:
    shape = {"choice": {"type": "string", "enum": list(choices)}}
    return {"type": "object", "properties": shape, "required": ["choice"], "additionalProperties": False}


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """The data of each server-sent event, until `[DONE]` or the end of the stream. Raises `EngineFailed` for endless lines."""
    rest = b""
    async for part in response.content.iter_any():
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > MAX_LINE:
            raise EngineFailed(f"wanted events of at most {MAX_LINE} bytes, found a longer one: the endpoint speaks another protocol")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip().decode("utf-8", "replace")
                yield data
                if data == "[DONE]":
                    return


async def _leave(response: aiohttp.ClientResponse, whole: bool) -> None:
    """Close the connection, which tells the server to stop; after a whole answer read the last bytes, so that it can be used again."""
    if whole:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(LAST_BYTES):
                await response.content.read()
    response.close()


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    """What a status other than 200 means for the worker."""
    said = (await response.content.read(MAX_ERROR)).decode("utf-8", "replace")
    found = f"{response.status}: {said[:300]}"
    if response.status in (429, 503):
        return EngineOverloaded(f"the endpoint takes no more at the moment: {found}", status=response.status)
    if response.status in (400, 413, 422):
        too_long = any(word in said.lower() for word in ("context length", "context_length", "maximum context", "too long"))
        return PromptRejected(
            f"the endpoint refuses the prompt: {found}", code="PROMPT_TOO_LONG" if too_long else None, status=response.status
        )
    return EngineFailed(f"wanted an answer, found {found}; look at the endpoint's address, key and model", status=response.status)
