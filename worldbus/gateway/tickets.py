"""Tickets: one stream each, for readers that cannot send a header, such as the browser's `EventSource`.

A ticket stands for a token, a path and its filters, for thirty seconds and one use. It is kept in the memory of the gateway that made it
and names that gateway, so that any other one asks there (`req.gateway.ticket.<gateway>`): no two of them let it in, and nothing about it is
stored anywhere. With its gateway a ticket is gone, and its holder asks for another.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from multidict import MultiDict, MultiMapping
from yarl import URL

from bus.errors import Transient, Unknown
from worldbus.edges.requests import serve_requests
from worldbus.gateway import signals, subscribe
from worldbus.gateway.problem import Problem, later

if TYPE_CHECKING:
    from bus.connection import Connection
    from worldbus.gateway.grants import Grant

GOOD_FOR_S: Final = 30.0
MOST: Final = 10_000  # unused at once
MOST_OF_ONE: Final = 500  # unused at once, of one token
MOST_PATH: Final = 4000  # characters
WAIT_S: Final = 2.0  # for the gateway that made it
PARAMETER: Final = "ticket"
SUBJECT: Final = "req.gateway.ticket"
_TICKET: Final = re.compile(r"wbk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="worldbus", error="invalid_token"'}

Target = tuple[str, tuple[tuple[str, str], ...]]
"""A path and its filters, in an order of their own."""


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """The stream that a ticket is asked for."""

    path: str


class Question(msgspec.Struct):
    """The question of another gateway to the one that made a ticket."""

    ticket: str
    path: str
    filters: list[tuple[str, str]]


class _Ticket(NamedTuple):
    token: str
    """Hash of the token that asked for it."""
    target: Target
    until: float


def target_of(path: str, query: MultiMapping[str]) -> Target:
    """The path and filters that a stream's ticket is bound to."""
    return path, tuple(sorted((name, value) for name, value in query.items() if name != PARAMETER))


def without_ticket(query: MultiMapping[str]) -> MultiDict[str]:
    """The filters of a stream's address."""
    return MultiDict((name, value) for name, value in query.items() if name != PARAMETER)


def wished(body: bytes, grant: Grant) -> tuple[str, Target]:
    """The address in a request for a ticket, if this token may read what is behind it. Raises `Problem`."""
    try:
        path = msgspec.json.decode(body, type=Wish).path
        url = URL(path)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _bad_wish(f"found {ascii(str(error))[:200]}") from error
    if len(path) > MOST_PATH or not path.isascii() or not path.isprintable() or url.is_absolute() or "#" in path or " " in path:
        raise _bad_wish(f"found {ascii(path)[:80]}")
    match url.raw_path:
        case "/v1/subscribe":
            subscribe.wanted(url.query, {}, grant)
        case "/v1/signals":
            signals.pattern(url.query, grant)
        case other:
            raise _bad_wish(f"found the path {ascii(other)[:80]}")
    return path, target_of(url.raw_path, url.query)


def _bad_wish(found: str) -> Problem:
    example = '{"path": "/v1/subscribe?event=NpcSpoke&after=now"}'
    detail = f"wanted {example}: /v1/subscribe or /v1/signals with its parameters, at most {MOST_PATH} characters of ASCII; {found}"
    return Problem(400, "BAD_TICKET_REQUEST", detail)


class Tickets:
    """The tickets that this gateway made, and the way to those of others."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._name = secrets.token_hex(8)
        self._unused: dict[str, _Ticket] = {}  # by hash, the oldest first
        self._of: Counter[str] = Counter()

    def serve(self) -> AbstractAsyncContextManager[None]:
        """Let other gateways ask for the block."""
        return serve_requests(self._connection, f"{SUBJECT}.{self._name}", "", self._answer)

    def issue(self, grant: Grant, target: Target) -> str:
        """A new ticket. Raises a 429 problem when too many are unused."""
        self._forget()
        if self._of[grant.sha256] >= MOST_OF_ONE or len(self._unused) >= MOST:
            raise later(429, "TOO_MANY_TICKETS", f"wanted at most {MOST_OF_ONE} unused tickets of a token: use those, or wait", GOOD_FOR_S)
        ticket = f"wbk_{self._name}_{secrets.token_urlsafe(32)}"
        self._unused[_hash(ticket)] = _Ticket(grant.sha256, target, self._loop.time() + GOOD_FOR_S)
        self._of[grant.sha256] += 1
        return ticket

    async def redeem(self, ticket: str, target: Target) -> str:
        """The hash of the token that a ticket stands for. The ticket is used up, also by another target. Raises `Problem`, `Transient`."""
        found = _TICKET.fullmatch(ticket)
        if found is None:
            raise _bad_ticket()
        token = self._take(ticket, target) if found[1] == self._name else await self._ask(found[1], ticket, target)
        if not token:
            raise _bad_ticket()
        return token

    async def _ask(self, gateway: str, ticket: str, target: Target) -> str:
        question = msgspec.json.encode(Question(ticket, target[0], list(target[1])))
        try:
            raw = await self._connection.request(f"{SUBJECT}.{gateway}", question, timeout=WAIT_S)
        except Unknown:
            raise
        except Transient:
            return ""  # that gateway is gone, and what it knew
        answer = msgspec.json.decode(raw, type=dict[str, str])
        if "error" in answer:
            raise Transient(f"the gateway that made the ticket says: {answer.get('message')}", code=answer["error"])
        return answer.get("token", "")

    async def _answer(self, world: str, payload: bytes) -> dict[str, Any]:
        it = msgspec.json.decode(payload, type=Question)
        return {"token": self._take(it.ticket, (it.path, tuple(it.filters)))}

    def _take(self, ticket: str, target: Target) -> str:
        self._forget()
        found = self._unused.pop(_hash(ticket), None)
        if found is None:
            return ""
        self._of[found.token] -= 1
        return found.token if found.target == target else ""

    def _forget(self) -> None:
        """Drop those whose time is over."""
        now = self._loop.time()
        while self._unused and (oldest := next(iter(self._unused.items())))[1].until <= now:
            del self._unused[oldest[0]]
            self._of[oldest[1].token] -= 1
        self._of += Counter()  # without those that have none left


def _hash(ticket: str) -> str:
    return sha256(ticket.encode()).hexdigest()


def _bad_ticket() -> Problem:
    detail = "wanted a ticket that is new and made for this address, found one that is used, over, or another address's: ask for a new one"
    return Problem(401, "BAD_TICKET", detail, headers=_CHALLENGE)
