"""The gateway as one object: its routes, its parts, and how it starts and stops."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from bus.errors import WorldbusError
from worldbus.edges.payments import PaymentsEdge, Secrets, owners_in
from worldbus.gateway import clock, search, signals, tickets
from worldbus.gateway.cors import Cors
from worldbus.gateway.events import BATCHES, EVENTS, Events, answer
from worldbus.gateway.feed import Feed
from worldbus.gateway.guard import GuardedServer
from worldbus.gateway.intake import body_of
from worldbus.gateway.known import Archive, Known, open_archive
from worldbus.gateway.limits import Limits
from worldbus.gateway.metrics import CONTENT_TYPE as METRICS_TYPE
from worldbus.gateway.metrics import Metrics
from worldbus.gateway.openapi import to_json as openapi_json
from worldbus.gateway.problem import CONTENT_TYPE, Problem, later, problem_of
from worldbus.gateway.recorder import Recorder
from worldbus.gateway.stream import Stream
from worldbus.gateway.subscribe import Subscriptions, wanted

if TYPE_CHECKING:
    import asyncpg

    from worldbus.gateway.grants import Grant, Tokens
    from worldbus.opening import World

_EVENT: Final = re.compile(r"/v1/events/([0-9]{1,18})", re.ASCII)
ENDLESS: Final = ("/v1/subscribe", "/v1/signals")
FRESH_S: Final = 10.0  # that the feed may be behind until we call ourselves not ready
GRACE_S: Final = 10.0  # for requests that are being answered when we stop

log = structlog.get_logger(__name__)
Route = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place to listen at. Port 0 takes a free one; `shared` lets several processes listen on one port."""

    host: str = "127.0.0.1"
    port: int = 8088
    shared: bool = False
    tls: ssl.SSLContext | None = None


class Gateway:
    """The gateway behind its socket. Made by `open_gateway`."""

    def __init__(
        self,
        world: World,
        tokens: Tokens,
        *,
        limits: Limits,
        after: int,
        pool: asyncpg.Pool | None,
        webhook_secrets: Secrets = (),
        cors: Cors,
    ) -> None:
        self.metrics = Metrics()
        self.limits = limits
        self.feed = Feed(world.log, after=after)
        self.port = 0
        self._world = world
        self._tokens = tokens
        self._cors = cors
        self._tickets = tickets.Tickets(world.connection)
        self._archive = Archive(pool) if pool is not None else None
        self._known = Known(self.feed, self._archive, limits.stale_s)
        self._recorder = Recorder(world.publisher, world.log, self.feed, self._known, limits.answer_s)
        self._events = Events(self._recorder, world.log, limits, self.metrics)
        self._subscriptions = Subscriptions(world.log, self.feed, limits, self.metrics)
        self._open: Counter[str] = Counter()  # streams by token
        self._payments = self._edge(pool, webhook_secrets) if webhook_secrets else None
        self._loop = asyncio.get_running_loop()
        self._document = openapi_json().encode()
        self._routes: dict[str, dict[str, Route]] = {
            EVENTS: {"POST": self._publish},
            BATCHES: {"POST": self._publish},
            "/v1/subscribe": {"GET": self._subscribe},
            "/v1/signals": {"GET": self._signals},
            "/v1/tickets": {"POST": self._ticket},
            "/v1/clock": {"GET": self._clock},
            "/v1/search": {"GET": self._search, "POST": self._search},
            "/v1/webhooks/payments": {"POST": self._webhook},
            "/openapi.json": {"GET": self._openapi},
            "/metrics": {"GET": self._metrics},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
        }

    def _edge(self, pool: asyncpg.Pool | None, secrets: Secrets) -> PaymentsEdge:
        find_owner = owners_in(pool) if pool is not None else None
        if find_owner is None:
            log.warning("webhooks_without_owners", reason="refunds and disputes name no player, and without Postgres nobody can look it up")
        world = self._world.settings.world
        return PaymentsEdge(self._world.publisher, secrets, world, find_owner=find_owner, outcomes=self.metrics.webhooks)

    async def run(self) -> None:
        """Do what goes on in the background, until cancelled. Raises `LogDamaged`."""
        async with self._tickets.serve(), asyncio.TaskGroup() as group:
            group.create_task(self.feed.run(), name="gateway-feed")
            group.create_task(self._known.keep_short(), name="gateway-trim")
            group.create_task(self._tokens.watch(), name="gateway-tokens")

    def close(self) -> None:
        """Let streams end."""
        self._subscriptions.closing.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request."""
        name, route = self._route(request)
        try:
            if request.method == "OPTIONS" and self._cors.origins and "Origin" in request.headers:
                response: web.StreamResponse = self._cors.preflight(request)
            else:
                response = await route(request)
        except WorldbusError as error:
            response = self._refusal(problem_of(error))
        if not response.prepared and "Vary" not in response.headers:
            response.headers.update(self._cors.headers(request.headers.get("Origin")))
        self.metrics.answered(name, response.status)
        return response

    def _refusal(self, problem: Problem) -> web.Response:
        self.metrics.refusals[problem.code] += 1
        response = web.Response(status=problem.status, body=problem.body(), content_type=CONTENT_TYPE, headers=problem.headers)
        if problem.close:
            response.force_close()
        return response

    def _route(self, request: web.BaseRequest) -> tuple[str, Route]:
        path = request.raw_path.partition("?")[0]
        if not path.startswith("/"):
            path = request.rel_url.raw_path  # the whole address, as a proxy is asked
        methods = self._routes.get(path)
        name = path
        if methods is None and (found := _EVENT.fullmatch(path)) is not None:
            name, methods = f"{EVENTS}/{{position}}", {"GET": lambda request: self._look(request, int(found[1]))}
        if methods is None:
            return "-", self._fail(Problem(404, "NO_SUCH_PATH", f"wanted a path of /openapi.json, found {ascii(path)[:80]}"))
        route = methods.get("GET" if request.method == "HEAD" and name not in ENDLESS else request.method)
        if route is None:
            allowed = ", ".join([*methods, "HEAD"] if "GET" in methods and name not in ENDLESS else methods)
            detail = f"wanted {allowed}, found {ascii(request.method)[:20]}"
            return name, self._fail(Problem(405, "METHOD_NOT_ALLOWED", detail, headers={"Allow": allowed}))
        return name, route

    def _fail(self, problem: Problem) -> Route:
        async def fail(request: web.BaseRequest) -> web.StreamResponse:
            problem.close = request.body_exists  # not worth reading
            raise problem

        return fail

    def _grant(self, request: web.BaseRequest) -> Grant:
        try:
            return self._tokens.find(request.headers.get("Authorization"))
        except Problem as problem:
            problem.close = request.body_exists
            raise

    async def _publish(self, request: web.BaseRequest) -> web.StreamResponse:
        began = self._loop.time()
        try:
            grant = self._grant(request)
            self._events.welcome(grant, began)
            body = await body_of(request, min(grant.max_body, self.limits.body), self.limits.body_s)
            order = self._events.read(request, body, grant, began)
        except WorldbusError as error:
            self._events.refused(problem_of(error))
            raise
        response = await self._events.record(order)
        self.metrics.took(self._loop.time() - began)
        return response

    async def _look(self, request: web.BaseRequest, position: int) -> web.StreamResponse:
        return await self._events.look(position, self._listener(request))

    def _listener(self, request: web.BaseRequest) -> Grant:
        return self._hears(self._grant(request))

    def _hears(self, grant: Grant) -> Grant:
        if not grant.hears:
            raise Problem(403, "MAY_NOT_HEAR", "wanted a token with hears = true, found one that only publishes")
        return grant

    async def _reader(self, request: web.BaseRequest) -> Grant:
        """The grant of a reader who may have this stream: by its token, or by a ticket."""
        found = request.query.getall(tickets.PARAMETER, [])
        if not found:
            return self._listener(request)
        if len(found) > 1 or "Authorization" in request.headers:
            raise Problem(400, "TICKET_AND_TOKEN", "wanted one ticket, or a token, found several of them: send one")
        token = await self._tickets.redeem(found[0], tickets.target_of(request.rel_url.raw_path, request.query))
        if (grant := self._tokens.of(token)) is None:
            raise Problem(401, "BAD_TICKET", "wanted a ticket of a token that is still good, found one of another: use one that is")
        return self._hears(grant)

    async def _ticket(self, request: web.BaseRequest) -> web.StreamResponse:
        grant = self._listener(request)
        self._events.count(grant, 1, self._loop.time())
        path, target = tickets.wished(await body_of(request, 64 << 10, self.limits.body_s), grant)
        ticket = self._tickets.issue(grant, target)
        url = f"{path}{'&' if '?' in path else '?'}{tickets.PARAMETER}={ticket}"
        made = answer(201, {"ticket": ticket, "url": url, "expires_in_s": int(tickets.GOOD_FOR_S), "position": self.feed.head})
        made.headers["Cache-Control"] = "no-store"
        return made

    async def _subscribe(self, request: web.BaseRequest) -> web.StreamResponse:
        grant = await self._reader(request)
        asked = wanted(tickets.without_ticket(request.query), request.headers, grant)
        return await self._streamed(request, grant, lambda stream: self._subscriptions.follow(stream, asked))

    async def _signals(self, request: web.BaseRequest) -> web.StreamResponse:
        grant = await self._reader(request)
        subject = signals.pattern(tickets.without_ticket(request.query), grant)
        closing = self._subscriptions.closing
        return await self._streamed(
            request, grant, lambda stream: signals.follow(self._world.connection, stream, subject, self.limits, closing)
        )

    async def _clock(self, request: web.BaseRequest) -> web.StreamResponse:
        grant = self._listener(request)
        world = clock.world_of(request.query, grant)
        self._events.count(grant, 1, self._loop.time())
        return answer(200, await clock.shown(self._world.log, world))

    async def _streamed(self, request: web.BaseRequest, grant: Grant, work: Callable[[Stream], Awaitable[None]]) -> web.StreamResponse:
        if self._open[grant.name] >= grant.subscriptions:
            raise later(429, "TOO_MANY_SUBSCRIPTIONS", f"wanted at most {grant.subscriptions} streams of this token at once: close one", 5)
        headers = self._cors.headers(request.headers.get("Origin"))
        stream = Stream(request, self.limits, self.metrics, lambda: self._tokens.holds(grant), headers)
        self._open[grant.name] += 1
        self.metrics.subscribers += 1
        try:
            await work(stream)
        except WorldbusError as error:
            if not stream.response.prepared:
                raise
            log.warning("stream_ended", reason=str(error))
            await stream.end(error.code, "the log cannot be read on at the moment: come again, with Last-Event-ID")
        finally:
            self._open[grant.name] -= 1
            self.metrics.subscribers -= 1
        return stream.response

    async def _search(self, request: web.BaseRequest) -> web.StreamResponse:
        grant = self._listener(request)
        self._events.count(grant, 1, self._loop.time())
        if request.method == "GET":
            question = search.of_query(request.query)
        else:
            question = search.of_body(await body_of(request, 64 << 10, self.limits.body_s))
        return answer(200, await search.search(self._world.connection, question, grant))

    async def _webhook(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._payments is None:
            raise Problem(
                404, "NO_WEBHOOKS", "no payment provider is configured here: start the gateway with --webhook-secrets", close=True
            )
        body = await body_of(request, 256 << 10, self.limits.body_s)
        said = await self._payments.receive(body, request.headers.get("Stripe-Signature", ""))
        if said.status == 200:
            return web.Response(text=said.text)
        if said.status == 503:
            raise later(503, "WEBHOOK_PUT_OFF", said.text, 5)
        raise Problem(said.status, "WEBHOOK_REFUSED", said.text)

    async def _openapi(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self._document, content_type="application/json")

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self.metrics.exposition(self._figures()), headers={"Content-Type": METRICS_TYPE})

    def _figures(self) -> dict[str, float]:
        return {
            "connected": float(self._world.connection.connected),
            "events_in_flight": self._recorder.in_flight,
            "log_head": self.feed.head,
            "log_stale_seconds": round(min(self.feed.stale_s, 1e6), 3),
            "ids_remembered": self.feed.head - self.feed.ids_floor,
            "ids_recorded_twice": self.feed.doubled,
            "archive_questions": self._archive.asked if self._archive is not None else 0,
        }

    async def _healthz(self, request: web.BaseRequest) -> web.StreamResponse:
        return answer(200, {"status": "ok"})

    async def _readyz(self, request: web.BaseRequest) -> web.StreamResponse:
        checks = {
            "nats": self._world.connection.connected,
            "log": self.feed.stale_s < FRESH_S,
            "archive": self._archive is not None and not self._archive.away,
        }
        if not (checks["nats"] and checks["log"]):  # without the archive we are slower, and as right
            raise later(503, "NOT_READY", "wanted the log in sight, found it is not yet, or not any more", 1, checks=checks)
        return answer(200, {"status": "ready", "checks": checks})


@asynccontextmanager
async def open_gateway(
    world: World, tokens: Tokens, place: Place, *, limits: Limits | None = None, webhook_secrets: Secrets = (), cors: Cors | None = None
) -> AsyncIterator[Gateway]:
    """Listen for the block. Without Postgres the gateway remembers ids by itself: of the whole log, as far as its memory goes.

    Leaving ends the streams, answers what has been asked, and closes. What ends by an error ends the block with it.
    """
    limits, cors = limits or Limits(), cors or Cors()
    async with AsyncExitStack() as stack:
        pool, after = await open_archive(stack, world.servers.gateway_dsn)
        gateway = Gateway(world, tokens, limits=limits, after=after, pool=pool, webhook_secrets=webhook_secrets, cors=cors)
        server = GuardedServer(gateway.handle, limits, gateway.metrics, cors)
        async with asyncio.TaskGroup() as group:
            background = group.create_task(gateway.run(), name="gateway")
            listening = await asyncio.get_running_loop().create_server(
                server, place.host, place.port, ssl=place.tls, backlog=1024, reuse_port=place.shared or None
            )
            gateway.port = listening.sockets[0].getsockname()[1]
            try:
                yield gateway
            finally:
                listening.close()
                gateway.close()
                server.pre_shutdown()
                await server.shutdown(GRACE_S)
                background.cancel()
