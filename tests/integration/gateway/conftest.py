"""A gateway on real servers and a real socket, and a caller with a token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.event import Event
from bus.log import Log, open_log
from projections import Projector
from projections.checkpoints import Checkpoints
from worldbus.embedded import NatsServer
from worldbus.gateway.cors import Cors
from worldbus.gateway.grants import Tokens, digest
from worldbus.gateway.limits import Limits
from worldbus.gateway.service import Gateway, Place, open_gateway
from worldbus.opening import open_world
from worldbus.settings import Settings
from worldbus.testing.servers import delete_streams

TOKEN, OTHER, SLOW, MUTE, DEAF, OWNER = "wbt_one", "wbt_other", "wbt_slow", "wbt_mute", "wbt_deaf", "wbt_owner"
WORLD = "main"
HANDLERS = frozenset({"weather", "player"})
GRANTS = {
    TOKEN: 'worlds = ["main"]\nsays = ["game", "tools"]\nevents_per_second = 1e6\nburst = 1e6\nsubscriptions = 3',
    OTHER: 'worlds = ["elsewhere", "main2"]',
    SLOW: 'worlds = ["main"]\nevents_per_second = 0.02\nburst = 2\nmax_body = 2000',
    MUTE: 'worlds = ["*"]\nsays = []\naudience = ["*"]',
    DEAF: 'worlds = ["*"]\nhears = false',
    OWNER: 'worlds = ["main"]\nsays = ["game", "tools"]\nentities = ["mira"]\nevents_per_second = 1e6\nburst = 1e6',
}
QUICK = Limits(heartbeat_s=0.1, answer_s=10.0, batch=50)


def tokens_file(folder: Path) -> Path:
    """The file that the tests' gateways read."""
    path = folder / "tokens.toml"
    tables = [f'[{token.replace("_", "-")}]\nsha256 = "{digest(token)}"\n{grant}\n' for token, grant in GRANTS.items()]
    path.write_text("\n".join(tables))
    return path


@pytest_asyncio.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to a server without streams."""
    async with connect(nats_server.url, name="test") as opened:
        await delete_streams(opened, nats_server)
        yield opened


@pytest_asyncio.fixture
async def log(connection: Connection) -> AsyncIterator[Log]:
    """An empty log, to look at what was recorded."""
    opened = await open_log(connection)
    yield opened
    await opened.aclose()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer."""

    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        """The problem's stable name."""
        return str(self.body["code"])


@dataclass(slots=True)
class Caller:
    """A gateway, and requests to it."""

    gateway: Gateway
    session: aiohttp.ClientSession
    base: str
    token: str | None = TOKEN

    async def ask(self, method: str, path: str, data: Any = None, *, token: str | None = "", **headers: str) -> Answer:
        """One request. `headers` have underscores for dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if (used := self.token if token == "" else token) is not None:
            sent["Authorization"] = f"Bearer {used}"
        async with self.session.request(method, self.base + path, data=data, headers=sent) as response:
            raw = await response.read()
            is_json = response.content_type.endswith("json") and method != "HEAD"
            return Answer(response.status, response.headers, json.loads(raw) if is_json else raw)

    async def publish(self, document: Any, *, path: str = "/v1/events", token: str | None = "", **headers: str) -> Answer:
        """One event, or a list of them."""
        kind = "application/cloudevents-batch+json" if isinstance(document, list) else "application/cloudevents+json"
        return await self.ask("POST", path, json.dumps(document), token=token, **{"Content_Type": kind, **headers})


def joined(id: str | None = None, *, entity: str = "mira", **more: Any) -> dict[str, Any]:
    """A PlayerJoined as a CloudEvent."""
    document = {"specversion": "1.0", "type": "PlayerJoined", "subject": entity, "data": {"display_name": "Mira", "zone": "quay"}, **more}
    return document if id is None else {"id": id, **document}


Open = Callable[..., Any]


@pytest.fixture
def open_caller(tmp_path: Path) -> Open:
    """`async with open_caller(nats_url, dsn, limits=…)`: a gateway and a caller."""

    @asynccontextmanager
    async def opened(
        nats_url: str, dsn: str = "", *, limits: Limits = QUICK, webhook_secrets: tuple[str, ...] = (), cors: tuple[str, ...] = ()
    ) -> AsyncIterator[Caller]:
        settings = Settings(nats_url=nats_url, postgres_dsn=dsn or None, durability="relaxed", data=tmp_path / "data", world=WORLD)
        async with AsyncExitStack() as stack:
            world = await stack.enter_async_context(open_world(settings, name="gateway", postgres=bool(dsn)))
            tokens = Tokens(tokens_file(tmp_path), HANDLERS)
            gateway = await stack.enter_async_context(
                open_gateway(world, tokens, Place(port=0), limits=limits, webhook_secrets=webhook_secrets, cors=Cors(cors))
            )
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
            caller = Caller(gateway, session, f"http://127.0.0.1:{gateway.port}")
            while (await caller.ask("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.01)
            yield caller

    return opened


@pytest_asyncio.fixture
async def caller(open_caller: Open, nats_server: NatsServer, log: Log) -> AsyncIterator[Caller]:
    """A gateway that remembers ids by itself, without Postgres."""
    async with open_caller(nats_server.url) as opened:
        yield opened


async def recorded(log: Log) -> list[Event]:
    """The whole log."""
    return [event async for events in log.read() for event in events]


@asynccontextmanager
async def archived(dsn: str, log: Log) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A projector at work; what is yielded waits until the archive has all of the log."""
    projector = asyncio.create_task(Projector(dsn, ()).run(log))
    try:
        async with Checkpoints.open(dsn) as checkpoints:

            async def caught_up() -> None:
                await checkpoints.wait_for((await log.state()).last, 100)

            yield caught_up
    finally:
        projector.cancel()
        await asyncio.gather(projector, return_exceptions=True)
