"""`GET /v1/subscribe`: recorded events as they come, from any position on, without a gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from bus.check import check_type
from bus.errors import Rejected
from bus.showing import UNREADABLE, shown
from bus.subjects import check_token, stored_filter
from schemas.upcast import names_through
from worldbus.gateway.problem import Problem
from worldbus.gateway.stream import ReaderGone, Stream, alive, named, recorded

if TYPE_CHECKING:
    from multidict import MultiMapping

    from bus.event import Event
    from bus.log import Log
    from bus.subjects import Subject
    from worldbus.gateway.feed import Feed
    from worldbus.gateway.grants import Grant
    from worldbus.gateway.limits import Limits
    from worldbus.gateway.metrics import Metrics

MOST_TOKENS: Final = 32  # of each kind in one subscription
MOST_FILTERS: Final = 16  # that the server is asked for at once; beyond, we choose ourselves
WRITE: Final = 64 << 10  # bytes
SHARED: Final = 8 << 10  # bytes of an event that is rendered once for all
KNOWN: Final = frozenset({"world", "subsystem", "entity", "event", "after"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A choice of events, and the place to begin at. An empty set of tokens stands for all."""

    worlds: frozenset[str]
    subsystems: frozenset[str]
    entities: frozenset[str]
    names: frozenset[str]
    after: int | None
    """Behind this position; None: what is recorded from now on."""

    def wants(self, subject: Subject) -> bool:
        """True if an event on this subject is meant."""
        return (
            subject.world in self.worlds
            and (not self.names or subject.name in self.names)
            and (not self.entities or subject.entity in self.entities)
            and (not self.subsystems or subject.subsystem in self.subsystems)
        )

    def filters(self) -> list[str]:
        """Filters of the log that let through at least these."""
        kinds: list[list[str | None]] = [[*sorted(kind)] or [None] for kind in (self.worlds, self.subsystems, self.entities, self.names)]
        if len(kinds[0]) * len(kinds[1]) * len(kinds[2]) * len(kinds[3]) > MOST_FILTERS:
            kinds[1:] = [kind if len(kind) == 1 else [None] for kind in kinds[1:]]
        return [
            stored_filter(world=world, subsystem=subsystem, entity=entity, name=name) for world, subsystem, entity, name in product(*kinds)
        ][:MOST_TOKENS]


def wanted(query: MultiMapping[str], headers: Mapping[str, str], grant: Grant) -> Wanted:
    """The choice that a request asks for. Raises `Problem`."""
    unknown = sorted({name for name in query if name not in KNOWN})
    if unknown:
        detail = f"wanted {', '.join(sorted(KNOWN))}, found {', '.join(ascii(one)[:40] for one in unknown[:5])}: leave it out"
        raise Problem(400, "UNKNOWN_PARAMETER", detail)
    worlds = _tokens(query, "world") or ([grant.only_world] if grant.only_world else [])
    if not worlds:
        raise Problem(400, "WORLD_MISSING", "wanted world=<name>, found none, and this token may see several: name those that are meant")
    for world in worlds:
        if not grant.sees(world):
            raise Problem(403, "WORLD_NOT_ALLOWED", f"wanted a world of this token, found {world!r}: use its own, or ask for another grant")
    return Wanted(
        worlds=frozenset(worlds),
        subsystems=frozenset(_tokens(query, "subsystem")),
        entities=frozenset(_tokens(query, "entity")),
        names=frozenset(name for one in _tokens(query, "event") for name in _names(one)),
        after=_after(query, headers),
    )


def _tokens(query: MultiMapping[str], name: str) -> list[str]:
    found = [word for value in query.getall(name, []) for word in value.split(",") if word]
    if len(found) > MOST_TOKENS:
        raise Problem(
            400, "TOO_MANY_TOKENS", f"wanted at most {MOST_TOKENS} of {name}, found {len(found)}: leave it out and choose yourself"
        )
    if name == "event":
        return found
    try:
        return [check_token(one, name) for one in found]
    except Rejected as error:
        raise Problem(400, error.code, str(error)) from error


def _names(given: str) -> frozenset[str]:
    """The names under which events of a type stand in the log: several, if it was renamed."""
    try:
        return names_through(check_type(given))
    except Rejected as error:
        raise Problem(400, error.code, str(error)) from error


def _after(query: MultiMapping[str], headers: Mapping[str, str]) -> int | None:
    """`Last-Event-ID` is what the browser's own reconnect sends; it knows better than the address, which stays the same."""
    text = headers.get("Last-Event-ID") or query.get("after", "now")
    if text == "now":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(400, "BAD_POSITION", f"wanted a position (0: from the beginning) or now, found {ascii(text)[:40]}")
    return int(text)


def line(event: Event) -> bytes:
    """An event as a block; one that cannot be shown as a whole says so under a name of its own, with what can be shown of it."""
    document = shown(event)
    if UNREADABLE not in document:
        return recorded(event.position, json.dumps(document, ensure_ascii=False))
    problem = {"position": event.position, "code": document["error"], "detail": document["message"], "event": document}
    return b"id: %d\n" % event.position + named("damaged", problem)


class Subscriptions:
    """The open subscriptions, which can be ended together."""

    def __init__(self, log: Log, feed: Feed, limits: Limits, metrics: Metrics) -> None:
        self._log = log
        self._feed = feed
        self._limits = limits
        self._metrics = metrics
        self._lines: dict[int, bytes] = {}  # of the newest events: many readers want the same
        self.closing = asyncio.Event()

    async def follow(self, stream: Stream, wanted: Wanted) -> None:
        """Send everything that is wanted until the reader leaves, or we do."""
        position = self._feed.head if wanted.after is None else wanted.after
        if position > self._feed.head:
            await self._feed.catch_up()
        if position > self._feed.head:
            raise Problem(
                400,
                "BAD_POSITION",
                f"wanted a position up to {self._feed.head}, where the log ends, found {position}: was it another log's?",
            )
        await stream.open()
        try:
            await stream.write(alive(position))
            while not self.closing.is_set():
                if not await stream.end_unless_granted():
                    return
                position = await self._further(stream, wanted, position)
            await stream.end("SHUTTING_DOWN", "the gateway stops: come again, with Last-Event-ID", position=position)
        except ReaderGone:
            return

    async def _further(self, stream: Stream, wanted: Wanted, position: int) -> int:
        """The position up to which the reader has everything now."""
        if position < self._feed.floor:
            return await self._from_log(stream, wanted, position, self._feed.head)
        events = self._feed.after(position)
        if not events:
            if not await self._more(position):
                await stream.write(alive(position))
            return position
        chosen = [event for event in events if wanted.wants(event.subject)]
        await self._send(stream, chosen)
        return events[-1].position

    async def _from_log(self, stream: Stream, wanted: Wanted, position: int, until: int) -> int:
        async for events in self._log.read(after=position, until=until, filters=wanted.filters()):
            chosen = [event for event in events if wanted.wants(event.subject)]
            await self._send(stream, chosen)
            if not chosen:
                await stream.write(alive(events[-1].position))
            position = events[-1].position
            if self.closing.is_set() or not stream.granted():
                return position
        return until

    async def _more(self, position: int) -> bool:
        """Wait for something new; False if nothing came in the time after which a sign of life is due."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._feed.beyond(position)), asyncio.ensure_future(self.closing.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=self._limits.heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        return bool(done)

    async def _send(self, stream: Stream, events: list[Event]) -> None:
        """In writes of about 64 KiB: what waits for a reader is never more than that, and one event."""
        blocks: list[bytes] = []
        size = 0
        for event in events:
            blocks.append(found := self._line(event))
            size += len(found)
            if size > WRITE:
                await stream.write(b"".join(blocks))
                blocks, size = [], 0
        if blocks:
            await stream.write(b"".join(blocks))
        self._metrics.streamed += len(events)

    def _line(self, event: Event) -> bytes:
        found = self._lines.get(event.position)
        if found is None:
            found = line(event)
            if event.position > self._feed.floor and len(found) < SHARED:
                if len(self._lines) >= 1000:
                    self._lines.clear()
                self._lines[event.position] = found
        return found
