"""The release feed against a real HTTP server, real files and a real log."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from google.protobuf.message import Message

from bus.connection import connect
from bus.errors import BadSettings, Disconnected
from bus.event import Draft
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import ReleaseFeedFailed, ReleaseFeedRead
from worldbus.edges import release_feed
from worldbus.edges.release_feed import FIRST_RETRY_S, FeedFailed, Seen, Watch, last_seen, pause, public, reader, retry_after, watch
from worldbus.embedded import NatsServer
from worldbus.testing.servers import delete_streams

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
WORLD = "feedtest"
FEED = json.dumps([{"version": "5.6"}]).encode()


class Heard:
    """A publisher that keeps what it is given, and may first fail."""

    def __init__(self, outages: int = 0) -> None:
        self.drafts: list[Draft] = []
        self._outages = outages

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        if self._outages:
            self._outages -= 1
            raise Disconnected("not connected: wait")
        self.drafts.append(draft)
        return len(self.drafts)

    @property
    def said(self) -> list[Message]:
        return [draft.data for draft in self.drafts]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """An HTTP server whose every path answers so; its address."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/feed.json"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def failure(source: str, session: aiohttp.ClientSession) -> FeedFailed:
    with pytest.raises(FeedFailed) as found:
        await reader(source, session)(Seen())
    return found.value


def watching(session: aiohttp.ClientSession, source: str, heard: Heard, *, failing: bool = False) -> Watch:
    return Watch(heard, reader(source, session), world=WORLD, line="unreal", source=source, seen=Seen(), failing=failing)


async def test_an_entity_tag_is_sent_back_and_what_did_not_change_is_not_said(session: aiohttp.ClientSession) -> None:
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        return web.Response(status=304) if asked[-1] == '"a"' else web.Response(body=FEED, headers={"ETag": '"a"'})

    async with served(answer) as source:
        heard = Heard()
        one = watching(session, source, heard)
        assert [await one.step(), await one.step()] == [(0, 0.0), (0, 0.0)]

    assert asked == [None, '"a"']
    (read,) = heard.said
    assert isinstance(read, ReleaseFeedRead)
    assert (read.etag, [entry.version for entry in read.entries]) == ('"a"', ["5.6"])
    assert (heard.drafts[0].subsystem, heard.drafts[0].entity) == ("release-feed", "unreal")


async def test_without_an_entity_tag_the_time_and_then_the_bytes_tell(session: aiohttp.ClientSession) -> None:
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-Modified-Since"))
        return web.Response(body=FEED, headers={"Last-Modified": "Tue, 03 Jun 2025 00:00:00 GMT"})

    async with served(answer) as source:
        heard = Heard()
        one = watching(session, source, heard)
        await one.step()
        await one.step()

    assert asked == [None, "Tue, 03 Jun 2025 00:00:00 GMT"]
    assert len(heard.said) == 1


async def test_a_packed_answer_is_unpacked_within_the_limit(session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_feed, "MAX_BYTES", 100_000)
    bodies = iter([FEED, b"[" + b" " * 200_000 + b"]"])

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(next(bodies)), headers={"Content-Encoding": "gzip"})

    async with served(answer) as source:
        content = await reader(source, session)(Seen())
        assert content is not None
        assert content.body == FEED
        assert (await failure(source, session)).code == "too_large"


async def test_an_endless_answer_is_cut_off(session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_feed, "MAX_BYTES", 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        with suppress(ConnectionError):
            while True:
                await stream.write(b"[" * 10_000)
        return stream

    async with served(answer) as source:
        assert (await failure(source, session)).code == "too_large"


async def test_a_silent_server_times_out(session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_feed, "TIMEOUT_S", 0.05)
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await over.wait()
        return stream

    async with served(answer) as source:
        assert (await failure(source, session)).code == "timed_out"
        over.set()


async def test_statuses_lost_connections_and_endless_redirects_are_told_apart(session: aiohttp.ClientSession) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/busy":
            return web.Response(status=503, headers={"Retry-After": "120"})
        raise web.HTTPFound("/round")

    async with served(answer) as source:
        busy = await failure(source.replace("feed.json", "busy"), session)
        assert (busy.code, busy.retry_after_s) == ("bad_status", 120.0)
        assert (await failure(source, session)).code == "unreachable"
    assert (await failure(source, session)).code == "unreachable"


async def test_an_answer_that_breaks_off_is_no_content(session: aiohttp.ClientSession) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Length": "1000"})
        await stream.prepare(request)
        await stream.write(FEED)
        assert request.transport is not None
        request.transport.close()
        return stream

    async with served(answer) as source:
        assert (await failure(source, session)).code == "bad_content"


async def test_failures_are_counted_said_ever_more_rarely_and_ended_by_a_full_reading(session: aiohttp.ClientSession) -> None:
    well = False

    async def answer(request: web.Request) -> web.Response:
        if not well:
            return web.Response(text="<html>")
        return web.Response(status=304) if "If-None-Match" in request.headers else web.Response(body=FEED, headers={"ETag": '"a"'})

    async with served(answer) as source:
        heard = Heard()
        one = watching(session, source, heard)
        assert [await one.step() for _ in range(9)] == [(attempts, 0.0) for attempts in range(1, 10)]
        well = True
        await one.step()
        await one.step()

    failures = [it for it in heard.said if isinstance(it, ReleaseFeedFailed)]
    assert [it.attempts for it in failures] == [1, 2, 3, 4, 8]
    assert {it.code for it in failures} == {"bad_content"}
    assert [type(it) for it in heard.said[5:]] == [ReleaseFeedRead]


async def test_after_an_outage_an_unchanged_feed_is_read_in_full(session: aiohttp.ClientSession) -> None:
    well = True

    async def answer(request: web.Request) -> web.Response:
        if not well:
            return web.Response(status=500)
        return web.Response(status=304) if "If-None-Match" in request.headers else web.Response(body=FEED, headers={"ETag": '"a"'})

    async with served(answer) as source:
        heard = Heard()
        one = watching(session, source, heard)
        await one.step()
        well = False
        await one.step()
        well = True
        await one.step()

    assert [type(it) for it in heard.said] == [ReleaseFeedRead, ReleaseFeedFailed, ReleaseFeedRead]


async def test_an_outage_of_the_log_is_waited_out(session: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_feed, "PUBLISH_RETRY_S", 0.0)
    (tmp_path / "feed.json").write_bytes(FEED)
    heard = Heard(outages=3)
    await watching(session, str(tmp_path / "feed.json"), heard).step()

    assert len(heard.said) == 1


async def test_a_file_is_read_when_it_changed(session: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my feed.json"
    path.write_bytes(FEED)
    heard = Heard()
    one = watching(session, path.as_uri(), heard)
    await one.step()
    await one.step()
    path.write_bytes(json.dumps([{"version": "5.7"}]).encode())
    await one.step()
    assert [entry.version for it in heard.said if isinstance(it, ReleaseFeedRead) for entry in it.entries] == ["5.6", "5.7"]

    monkeypatch.setattr(release_feed, "MAX_BYTES", 3)
    assert (await failure(str(path), session)).code == "too_large"
    path.unlink()
    assert (await failure(str(path), session)).code == "unreachable"


@pytest.mark.parametrize("source", ["", "ftp://example.org/feed", "http://", "file://elsewhere/feed", "http://[::1/feed"])
async def test_what_cannot_be_a_feed_stops_the_start(source: str, session: aiohttp.ClientSession) -> None:
    with pytest.raises(BadSettings, match="a path or an http"):
        reader(source, session)


def test_secrets_of_an_address_are_not_recorded() -> None:
    assert public("https://mira:secret@example.org:8443/feed.json?token=secret#x") == "https://example.org:8443/feed.json"
    assert public("http://[::1]:80/feed") == "http://[::1]:80/feed"
    assert public("/var/feed.json") == "/var/feed.json"


def test_pauses_grow_to_the_usual_one_and_heed_the_server() -> None:
    assert [pause(attempts, 60.0, 0.0, 0.5) for attempts in range(7)] == pytest.approx([60, 5, 10, 20, 40, 60, 60])
    assert pause(1, 60.0, 300.0, 0.5) == 300
    assert pause(10**6, 60.0, 0.0, 0.0) == pytest.approx(48)
    assert pause(1, 60.0, 0.0, 1.0) == pytest.approx(FIRST_RETRY_S * 1.2)
    assert [retry_after(text) for text in ("7", "999999999", "-1", "Tue, 03 Jun", "", "\u0663")] == [7, 86_400, 0, 0, 0, 0]


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[tuple[Log, Publisher]]:
    """An empty log and a publisher."""
    async with connect(nats_server.url, name="feed-test") as connection:
        await delete_streams(connection, nats_server)
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            yield log, publisher
        await log.aclose()


async def test_a_restart_remembers_from_the_log_what_it_read(bus: tuple[Log, Publisher]) -> None:
    log, publisher = bus
    asked: asyncio.Queue[str | None] = asyncio.Queue()

    async def answer(request: web.Request) -> web.Response:
        asked.put_nowait(request.headers.get("If-None-Match"))
        return web.Response(status=304) if "If-None-Match" in request.headers else web.Response(body=FEED, headers={"ETag": '"a"'})

    async with served(answer) as source:
        for expected in (None, '"a"'):
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(watch(log, publisher, world=WORLD, line="unreal", source=source, every_s=0.02))
                assert await asked.get() == expected
                assert await asked.get() == '"a"'
                task.cancel()
            while not asked.empty():
                asked.get_nowait()
        assert await last_seen(log, WORLD, "unreal", source) == (Seen(etag='"a"'), False)
        assert await last_seen(log, WORLD, "unreal", source + "2") == (Seen(), False)
    assert len(await log.read_lane("evt.*.feedtest.release-feed.unreal.*")) == 1


async def test_a_restart_in_an_outage_knows_that_the_outage_was_said(bus: tuple[Log, Publisher], tmp_path: Path) -> None:
    log, publisher = bus
    source = str(tmp_path / "feed.json")
    for message in (ReleaseFeedRead(source=source, etag="sha256:ab"), ReleaseFeedFailed(source=source, attempts=1)):
        await publisher.publish(Draft(data=message, world=WORLD, entity="unreal", subsystem="release-feed"))

    assert await last_seen(log, WORLD, "unreal", source) == (Seen(digest="sha256:ab"), True)
