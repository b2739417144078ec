"""The edge that reads an engine's release feed and says what it found: `release-feed`.

    await watch(log, publisher, world="main", line="unreal", source="https://example.org/releases.json")

Asks politely (only what changed, with growing pauses after failures, never sooner than the server wishes) and trusts nothing: every reading
has a time limit and a size limit. What is news, and whether anybody needs to know of a failure, is decided by the handler `uemonitor`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp
import structlog

from bus.errors import BadSettings, Transient
from bus.event import Draft
from bus.subjects import partition_of, stored_filter
from handlers.uemonitor import EDGE
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import ReleaseFeedFailed, ReleaseFeedRead
from worldbus.edges.feed_format import BadFeed, entries

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.log import Log

EVERY_S: Final = 900.0  # between two readings
FIRST_RETRY_S: Final = 5.0  # after a failure; doubled with each further one, up to the usual pause
MAX_WAIT_S: Final = 86_400.0  # however long a server asks us to stay away
TIMEOUT_S: Final = 20.0  # for one whole reading
CONNECT_TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 4 * 1024 * 1024  # after unpacking
MAX_REDIRECTS: Final = 5
PUBLISH_RETRY_S: Final = 1.0
_TEXT: Final = 512  # characters
_AGENT: Final = "worldbus-release-feed"

log_ = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The state of a feed when it was last read: the server's name for that state, and a hash of the bytes."""

    etag: str = ""
    modified: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A feed's bytes and how to recognise them."""

    body: bytes
    seen: Seen


class FeedFailed(Exception):
    """A feed could not be read. `code` as in `ReleaseFeedFailed`; `retry_after_s` is the server's wish, 0 without one."""

    def __init__(self, code: str, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason[:_TEXT]
        self.retry_after_s = retry_after_s


class Publishes(Protocol):
    """The part of a publisher that this edge needs."""

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """Publish like `bus.publisher.Publisher.publish`."""


Read = Callable[[Seen], Awaitable[Content | None]]  # None: it is as it was seen


def public(source: str) -> str:
    """`source` without user, password and query, as it may be recorded."""
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https"):
        return source[:_TEXT]
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, shown if parts.port is None else f"{shown}:{parts.port}", parts.path, "", ""))[:_TEXT]


def reader(source: str, session: aiohttp.ClientSession) -> Read:
    """A reader of `source`: a path, `file:`, `http:` or `https:`. Raises `BadSettings`."""
    try:
        parts = urlsplit(source)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return lambda seen: read_http(session, source, seen)
    except ValueError as error:
        raise BadSettings(f"a release feed is a path or an http(s) address, found {ascii(source)[:120]}: {error}") from error
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return lambda seen: asyncio.to_thread(read_file, Path(unquote(parts.path)), seen)
    if not parts.scheme and source.strip():
        return lambda seen: asyncio.to_thread(read_file, Path(source), seen)
    raise BadSettings(f"a release feed is a path or an http(s) address, found {ascii(public(source))[:120]}")


def read_file(path: Path, seen: Seen) -> Content | None:
    """A file's content, or None if it is as it was seen. Raises `FeedFailed`."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FeedFailed("unreachable", f"wanted a file to read, found {error.strerror or error}: check the path") from error
    if len(body) > MAX_BYTES:
        raise _too_large()
    return _content(body, Seen(), seen)


async def read_http(session: aiohttp.ClientSession, source: str, seen: Seen) -> Content | None:
    """The server's content, or None if it is as it was seen. Raises `FeedFailed`."""
    asks = {"If-None-Match": seen.etag, "If-Modified-Since": "" if seen.etag else seen.modified}
    headers = {"User-Agent": _AGENT, "Accept": "application/json, application/atom+xml, application/rss+xml, */*;q=0.1"}
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            session.get(
                source,
                headers=headers | {name: value for name, value in asks.items() if value},
                max_redirects=MAX_REDIRECTS,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            ) as answer,
        ):
            if answer.status == 304:
                return None
            if answer.status != 200:
                raise FeedFailed(
                    "bad_status", f"wanted status 200, found {answer.status}", retry_after(answer.headers.get("Retry-After", ""))
                )
            body = await _body(answer)
            now = Seen(etag=answer.headers.get("ETag", "")[:256], modified=answer.headers.get("Last-Modified", "")[:64])
    except TimeoutError as error:
        raise FeedFailed("timed_out", f"wanted an answer within {TIMEOUT_S:g} s, found none") from error
    except aiohttp.ClientPayloadError as error:
        raise FeedFailed("bad_content", f"the answer broke off or cannot be unpacked: {error}") from error
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise FeedFailed("unreachable", f"wanted an answer, found {type(error).__name__}: {error}") from error
    return _content(body, now, seen)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The unpacked body, read no further than the size limit."""
    if (answer.content_length or 0) > MAX_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        body += chunk
        if len(body) > MAX_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> FeedFailed:
    return FeedFailed("too_large", f"a feed may have {MAX_BYTES} bytes, found more: is it the right address?")


def _content(body: bytes, now: Seen, seen: Seen) -> Content | None:
    digest = f"sha256:{sha256(body).hexdigest()}"
    if digest == seen.digest:
        return None
    return Content(body=body, seen=Seen(etag=now.etag, modified=now.modified, digest=digest))


def retry_after(text: str) -> float:
    """Seconds that a `Retry-After` in seconds asks for, at most `MAX_WAIT_S`; 0 if it says something else."""
    return min(float(text), MAX_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


def pause(attempts: int, every_s: float, wish_s: float, dice: float) -> float:
    """Seconds until the next reading after `attempts` failures in a row (0: none); `dice` is 0 to 1 and spreads many watchers."""
    usual = every_s if attempts == 0 else min(every_s, FIRST_RETRY_S * 2 ** min(attempts - 1, 30))
    return max(usual * (0.8 + 0.4 * dice), wish_s)


def worth_saying(attempts: int) -> bool:
    """Return whether the last of so many failures in a row is recorded: each at first, then ever fewer, so that an outage fills no log."""
    return attempts <= 4 or attempts & (attempts - 1) == 0


class Watch:
    """One feed of one line, read again and again."""

    def __init__(self, publisher: Publishes, read: Read, *, world: str, line: str, source: str, seen: Seen, failing: bool) -> None:
        self._publisher = publisher
        self._read = read
        self._about = (world, line)
        self._source = public(source)
        self._seen = seen
        self._attempts = 0
        self._failing = failing  # a failure was said and no reading after it

    async def step(self) -> tuple[int, float]:
        """Read once and say what came of it; how many failures there were in a row, and for how many seconds the server wishes peace."""
        try:
            # After a failure the feed is read in full and said again, because only a reading tells that the outage is over.
            content = await self._read(Seen() if self._failing else self._seen)
            if content is not None:
                await self._said(content)
            self._attempts = 0
            return 0, 0.0
        except FeedFailed as failure:
            self._attempts += 1
            log_.warning("feed_failed", source=self._source, code=failure.code, reason=failure.reason, attempts=self._attempts)
            await self._say_failure(failure)
            return self._attempts, failure.retry_after_s

    async def _said(self, content: Content) -> None:
        try:
            found = await asyncio.to_thread(entries, content.body)
        except BadFeed as error:
            raise FeedFailed("bad_content", str(error)) from error
        etag = content.seen.etag or content.seen.digest
        await self._say(ReleaseFeedRead(source=self._source, etag=etag, entries=found))
        log_.info("feed_read", source=self._source, entries=len(found))
        self._seen, self._failing = content.seen, False

    async def _say_failure(self, failure: FeedFailed) -> None:
        if worth_saying(self._attempts):
            said = ReleaseFeedFailed(source=self._source, code=failure.code, reason=failure.reason, attempts=self._attempts)
            await self._say(said)
            self._failing = True

    async def _say(self, message: Message) -> None:
        """Record it, waiting out outages of the log; the same id each time, so it is recorded once."""
        world, line = self._about
        draft = Draft(data=message, world=world, entity=line, subsystem=EDGE)
        while True:
            try:
                await self._publisher.publish(draft)
                return
            except Transient as error:
                log_.warning("feed_waits", error=str(error))
                await asyncio.sleep(PUBLISH_RETRY_S)


async def last_seen(log: Log, world: str, line: str, source: str) -> tuple[Seen, bool]:
    """The log's memory of this feed, so that a restart asks only for changes; and whether a failure was the last word on it."""
    partition = partition_of(world, line, log.partitions)
    found = {
        name: await log.last(stored_filter(partition=partition, world=world, subsystem=EDGE, entity=line, name=name))
        for name in ("ReleaseFeedRead", "ReleaseFeedFailed")
    }
    read, failed = found["ReleaseFeedRead"], found["ReleaseFeedFailed"]
    failing = failed is not None and (read is None or read.position < failed.position)
    if read is None or not isinstance(read.data, ReleaseFeedRead) or read.data.source != public(source):
        return Seen(), failing
    etag = read.data.etag
    return (Seen(digest=etag) if etag.startswith("sha256:") else Seen(etag=etag)), failing


async def watch(log: Log, publisher: Publishes, *, world: str, line: str, source: str, every_s: float = EVERY_S) -> None:
    """Read the feed every `every_s` seconds and say what changed, until cancelled. Raises `BadSettings` for a source that cannot be one."""
    async with aiohttp.ClientSession() as session:
        read = reader(source, session)
        seen, failing = await last_seen(log, world, line, source)
        one = Watch(publisher, read, world=world, line=line, source=source, seen=seen, failing=failing)
        while True:
            attempts, wish_s = await one.step()
            await asyncio.sleep(pause(attempts, every_s, wish_s, random.random()))
