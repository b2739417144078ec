"""The engine: one session with an endpoint, as many answers at once as it has slots. Streams; a cancel closes the connection."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final

import aiohttp
import structlog
from yarl import URL

from inference.engine import Abilities, Chunk, Load, Prompt, answer
from inference.engines.cleaning import cleaned, cleaner_of
from inference.engines.openai.body import body_of, wrapped
from inference.engines.openai.profiles import Roles
from inference.engines.openai.reading import Answering, is_policy
from inference.engines.openai.settings import OpenAiSettings
from inference.engines.openai.sse import DONE, EventReader
from inference.errors import AnswerFailed, AnswerRefused, EngineFailed, EngineOverloaded, PromptRejected
from inference.prompts import check

LAST_BYTES: Final = 0.05  # seconds that the end of a stream may lag behind its end marker
MAX_ERROR: Final = 4096  # bytes of an error's body that are read
MAX_WHOLE: Final = 1 << 20  # bytes of an answer that comes whole
MAX_RETRY_AFTER_S: Final = 3600.0
MAX_REDIRECTS: Final = 4
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_TOO_LONG: Final = ("context length", "context_length", "maximum context", "context window", "too long", "too many tokens")
_ROLES: Final = ("role", "alternate", "system message", "conversation must start")

log = structlog.get_logger(__name__)


class OpenAiEngine:
    """See the package. Failures of single answers are `AnswerFailed`: none of them says that the endpoint is ill."""

    name = "openai"

    def __init__(self, settings: OpenAiSettings) -> None:
        self.settings = settings
        self.model = settings.model
        self.slots = settings.slots
        self.profile = settings.profile
        self.roles: Roles = self.profile.roles
        self._thinks = settings.thinks
        self.abilities = Abilities(
            json_schema=settings.schemas,
            choices=self.profile.vllm or settings.schemas,
            seed=settings.seeds,
            resume=self.profile.vllm,
            prefix_cache=settings.caches,
            context=settings.context,
            remote=True,
            thinks=settings.thinks,
        )
        self._session: aiohttp.ClientSession | None = None
        self._running = 0

    def open(self) -> AbstractAsyncContextManager[None]:
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        settings = self.settings
        timeout = aiohttp.ClientTimeout(total=None, connect=settings.connect_seconds, sock_read=settings.silent_seconds)
        headers = dict(settings.headers)
        if settings.key:
            header = self.profile.key_header
            headers |= {header: settings.key} if header else {"Authorization": f"Bearer {settings.key}"}
        connector = aiohttp.TCPConnector(limit=settings.slots + 1, keepalive_timeout=settings.keep_alive_seconds)  # one for health checks
        async with aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def ready(self, warm: Sequence[Prompt] = ()) -> None:
        """See that the endpoint is there, without asking for an answer; then answer each prompt of `warm`. Raises `EngineFailed`."""
        if problem := await self._problem():
            raise EngineFailed(problem, engine=self.name)
        for prompt in warm:
            await answer(self, prompt)

    async def healthy(self) -> bool:
        return not await self._problem()

    async def _problem(self) -> str:
        """The reason why the endpoint would serve nobody now; empty if there is none. Endpoints without a list of models are believed."""
        if self._session is None:
            return "the engine is closed"
        try:
            timeout = aiohttp.ClientTimeout(total=2.0)
            async with self._session.get(self._address("models"), params=dict(self.settings.query), timeout=timeout) as response:
                if response.status in (401, 403):
                    return f"the endpoint refuses the key: {response.status}; look at `key`"
                return f"the endpoint answers {response.status}" if response.status >= 500 else ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"wanted an endpoint at {self.settings.url}, found {type(error).__name__}: {error}; start it, or look at `url`"

    def load(self) -> Load:
        return Load(self._running)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        check(prompt, self.abilities, self.name)
        if self._session is None:
            raise EngineFailed("wanted an open engine, found a closed one: generate inside `async with engine.open()`", engine=self.name)
        if self._running >= self.slots:
            raise EngineOverloaded(f"wanted a free slot, found all {self.slots} taken: wait for one to end", slots=self.slots)
        self._running += 1
        cleaner = cleaner_of(prompt, thinks=self._thinks)
        try:
            answering = self._answer(self._session, prompt)
            async with aclosing(answering if cleaner is None else cleaned(answering, prompt, cleaner)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._running -= 1
            if cleaner is not None and cleaner.closed_unopened and not self._thinks:
                self._thinks = True
                log.warning("model_thinks_aloud", model=self.model, setting="thinks", from_now_on="nothing is spoken before a thought ends")

    async def _answer(self, session: aiohttp.ClientSession, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        """The answer; asked for a second time if nothing came of a connection that had lain idle, or if the roles were refused."""
        asked = 0
        while True:
            asked += 1
            begun = False
            try:
                async with aclosing(self._stream(session, prompt)) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
                return
            except _Stale as error:
                if begun or asked > 1:
                    raise AnswerFailed(f"{self.settings.url} closed the connection without an answer: {error}", engine=self.name) from error
            except PromptRejected as error:
                if begun or not self._learn(error):
                    raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise AnswerFailed(
                    f"wanted an answer from {self.settings.url}, found {type(error).__name__}: {error}; look at the endpoint",
                    engine=self.name,
                ) from error

    def _learn(self, error: PromptRejected) -> bool:
        """True if the refusal is one of roles that another order may mend; from now on they are sent so."""
        following: dict[Roles, Roles] = {"any": "merged", "merged": "folded"}
        if not any(word in str(error).lower() for word in _ROLES) or self.settings.roles or self.roles not in following:
            return False
        self.roles = following[self.roles]
        log.warning("roles_refused", model=self.model, from_now_on=self.roles, setting="roles", error=str(error)[:200])
        return True

    def _address(self, path: str) -> str:
        return f"{self.settings.url.rstrip('/')}/{path}"

    async def _stream(self, session: aiohttp.ClientSession, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        body = body_of(self.settings, self.profile, prompt, self.roles)
        response = await self._post(session, body)
        whole = False
        try:
            if response.status != 200:
                raise await _refusal(response)
            answering = Answering(prompt, wrapped(prompt, self.profile))
            async with aclosing(_events(response)) as events:
                try:
                    async for event in events:
                        if (chunk := answering.take(event)) is not None:
                            yield chunk
                except (aiohttp.ClientError, TimeoutError):
                    if not answering.over:
                        raise
            whole = True
            yield answering.end()
        finally:
            await _leave(response, whole)

    async def _post(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """Send the body, and again wherever the same server sends us: a redirected POST stays one, and the key goes to nobody else."""
        address = URL(self._address("chat/completions")).update_query(dict(self.settings.query))
        for _ in range(MAX_REDIRECTS):
            try:
                response = await session.post(address, json=body, allow_redirects=False)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                raise _Stale(str(error) or type(error).__name__) from error
            if response.status not in _REDIRECTS or not (to := response.headers.get("Location")):
                return response
            response.close()
            if address.join(URL(to)).host != address.host:
                raise AnswerFailed(f"wanted an answer, found a redirection {response.status} to {to!r:.200}: give that as `url`")
            address = address.join(URL(to))
        raise AnswerFailed(f"wanted an answer, found more than {MAX_REDIRECTS} redirections, the last to {address}: look at `url`")


class _Stale(Exception):
    """The connection ended before a byte of the answer came: it may have been one that the server had given up."""


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[str, None]:
    """The data of each event until `[DONE]` or the end, or the one document that came in place of a stream."""
    reader, whole, first = EventReader(), b"", b"{" if "json" in response.content_type else b""
    async for part in response.content.iter_any():
        first = first or part.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if first == b"<":
            raise AnswerFailed(f"wanted a stream of events, found {part[:16]!r}…: something else than a model server answers there")
        if first == b"{":
            whole += part
            if len(whole) > MAX_WHOLE:
                raise AnswerFailed(f"wanted an answer of at most {MAX_WHOLE} bytes, found more: the endpoint speaks another protocol")
            continue
        for event in reader.feed(part):
            yield event
            if event == DONE:
                return
    for event in reader.finish() if first != b"{" else [whole.decode("utf-8-sig", "replace").strip()]:
        yield event


async def _leave(response: aiohttp.ClientResponse, whole: bool) -> None:
    """Close the connection, which tells the server to stop; after a whole answer read the last bytes, so that it can be used again."""
    if whole:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(LAST_BYTES):
                await response.content.read()
    response.close()


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    """The meaning of a status other than 200 for the worker."""
    said = (await response.content.read(MAX_ERROR)).decode("utf-8", "replace")
    found = f"{response.status}: {said[:300]}"
    if response.status in (429, 503, 529):
        wait_s = retry_after_s(response.headers.get("Retry-After", ""), time.time())
        return EngineOverloaded(f"the endpoint takes no more at the moment: {found}", retry_after_s=wait_s, status=response.status)
    if is_policy(said):
        return AnswerRefused(f"the endpoint's policy refuses the prompt: {found}", status=response.status)
    if response.status in (400, 413, 422):
        too_long = any(word in said.lower() for word in _TOO_LONG)
        return PromptRejected(
            f"the endpoint refuses the prompt: {found}", code="PROMPT_TOO_LONG" if too_long else None, status=response.status
        )
    return AnswerFailed(f"wanted an answer, found {found}; look at the endpoint's address, key and model", status=response.status)


def retry_after_s(value: str, now_s: float) -> float:
    """Seconds for which nobody should call, by a `Retry-After` of seconds or of a date; 0 for what is neither (RFC 9110, 10.2.3)."""
    try:
        wait_s = float(value)
    except ValueError:
        try:
            wait_s = email.utils.parsedate_to_datetime(value).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S) if wait_s == wait_s else 0.0
