"""The lag of everybody: the handlers' consumers as the server and their members know them, the projections as the database does.

Behind is what has no answer. The server hears of an answer up to a second later (docs/adr/0078), the holder of the partition knows at once.
So the server is asked first, and then the holders: whatever was in the log when the server was asked is still waiting by its word, or has
reached a holder, which knows whether it has its answer. A holder that has not received all that the server delivered (it took over a moment
ago, or its release does not say) is not believed: then everything counts that the server delivered and nobody acknowledged. Nor is one that
the server has unpinned meanwhile: a process that stood still goes on by what it knew then, and finds nothing to say where its successor
will have an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bus.connection import ApiError
from bus.consumer import NOT_FOUND, pin_of
from bus.errors import BadSettings, StoreUnavailable, Transient
from bus.played import EVERYTHING, Played
from bus.progress import has_record
from bus.runtime import places
from bus.session import Place
from bus.subjects import stored_filter
from inference.queue import NAME as REQUESTED
from inference.queue import queue_name
from inference.tiers import TIERS
from projections.checkpoints import Checkpoints
from projections.store import TROUBLE, connected
from worldbus.roll_call import Member, holders, roll_call

if TYPE_CHECKING:
    from bus.handler import Subsystem
    from bus.log import Log
    from bus.presence import Hold

MS: Final = 1_000_000  # nanoseconds
AT_ONCE: Final = 64  # questions to the log
_PROJECTIONS = "SELECT projection, version, generation, position, in_step, live FROM world.projections ORDER BY projection, generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLag:
    """One handler's place in one partition. Where `exists` is False nobody knows how far behind it is, and the zeros mean nothing: the
    handler never ran against this log, or its consumer was deleted (`ran`).

    waiting   events that were not delivered yet, of all that the consumer's filter lets through
    open      delivered and not answered; without the word of the partition's holder: delivered and not acknowledged
    settled   everything up to this position is done with
    """

    handler: str
    name: str
    exists: bool
    ran: bool = False
    partition: int = -1
    subject_filter: str = ""
    waiting: int = 0
    open: int = 0
    settled: int = 0
    delivered: int = 0
    held_by: str = ""
    since_ms: int = 0  # of the hold, Unix time
    oldest_ms: int = 0  # when the first input that has no answer was recorded, Unix time; 0: there is none, or nobody asked
    oldest_open_ms: int = 0  # the same of those that were delivered

    @property
    def behind(self) -> int:
        """Events that are still to be answered."""
        return self.waiting + self.open

    @property
    def done(self) -> bool:
        """True if it is known that nothing is left to be answered: of a place that is not there, nothing is known."""
        return self.exists and not self.behind

    def age_s(self, now_ms: int) -> float | None:
        """For how long the oldest input has waited for its answer; 0 if none does, None where nobody knows."""
        return seconds(self.oldest_ms, now_ms) if self.exists else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesLag:
    """The positions of the archive and of each generation of each projection. `problem`: why that cannot be said."""

    position: int = 0
    behind: int = 0
    oldest_ms: int = 0  # when the first event that is not archived was recorded, Unix time; 0: there is none
    projections: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """The lag of all handlers, tiers and tables, as of `now_ms` by the server's clock."""

    last: int
    now_ms: int
    handlers: tuple[ConsumerLag, ...]
    tiers: tuple[ConsumerLag, ...]
    tables: TablesLag
    members: tuple[Member, ...] = ()  # that were heard


def seconds(since_ms: int, now_ms: int) -> float:
    """The time since then; 0 for a moment that is not known or still to come."""
    return max(0, now_ms - since_ms) / 1000 if since_ms else 0.0


async def measure(log: Log, reader_dsn: str, handlers: Sequence[Subsystem]) -> Lag:
    """Measure the lag, and list the members that were heard.

    Takes as long as a roll call: 0.6 s, and 1.2 s where nobody runs.
    """
    asked = await _asked(log, handlers)
    members = await roll_call(log.connection, log.name)
    state = await log.state()
    played = next((handler.played for handler in handlers), EVERYTHING)
    found, tiers, tables = await asyncio.gather(_told(log, asked, members), queues(log, played), _tables(reader_dsn))
    return Lag(
        last=max(state.last, tables.position),
        now_ms=state.asked_ns // MS or _now_ms(),
        handlers=tuple(found),
        tiers=tuple(tiers),
        tables=await _behind(log, tables, state.last),
        members=tuple(members),
    )


async def consumers(log: Log, handlers: Iterable[Subsystem]) -> list[ConsumerLag]:
    """The position of each handler, partition by partition. Costs a roll call (0.6 s) only where the server waits for acknowledgements."""
    asked = await _asked(log, handlers)
    waits = any(one.open for one in asked)
    return await _told(log, asked, await roll_call(log.connection, log.name) if waits else [])


async def queues(log: Log, played: Played = EVERYTHING) -> list[ConsumerLag]:
    """Requests waiting for a tier's workers, `handler` being the tier. Of `waiting`, other tiers' requests are passed over in no time."""
    found = await asyncio.gather(*(_consumer(log, tier, queue_name(tier, played)) for tier in TIERS))
    return await _aged(log, [replace(one, subject_filter=stored_filter(name=REQUESTED)) for one in found])


async def _consumer(log: Log, handler: str, name: str) -> ConsumerLag:
    info = await _info(log, name)
    if info is None:
        return ConsumerLag(handler=handler, name=name, exists=False)
    return ConsumerLag(
        handler=handler,
        name=name,
        exists=True,
        ran=True,
        waiting=info["num_pending"],
        open=info["num_ack_pending"],
        settled=info["ack_floor"]["stream_seq"],
        delivered=info["delivered"]["stream_seq"],
    )


async def _info(log: Log, name: str) -> dict[str, Any] | None:
    """The server's information about a consumer; None: there is none of that name."""
    try:
        return await log.connection.api(f"CONSUMER.INFO.{log.name}.{name}")
    except ApiError as error:
        if error.err_code == NOT_FOUND:
            return None
        raise


async def _asked(log: Log, handlers: Iterable[Subsystem]) -> list[ConsumerLag]:
    """By the server's word."""
    wanted = [(handler.label, place) for handler in handlers for place in places(handler, log.partitions)]
    found = await asyncio.gather(*(_consumer(log, handler, place.name) for handler, place in wanted))
    return [
        replace(one, partition=_number(place), subject_filter=place.subject_filter) for one, (_, place) in zip(found, wanted, strict=True)
    ]


async def _told(log: Log, asked: Sequence[ConsumerLag], members: Sequence[Member]) -> list[ConsumerLag]:
    """With what `members`, heard after the server was `asked`, know better; and whether a consumer that is missing ever was."""
    held = holders(list(members))
    run = {name for member in members for name in member.handlers}
    missing = [one.name for one in asked if not one.exists and one.handler not in run]
    recorded = dict(zip(missing, await asyncio.gather(*(_has_record(log, name) for name in missing)), strict=True))
    found = [
        by_holder(one, held.get((one.handler, one.partition))) if one.exists else replace(one, ran=recorded.get(one.name, True))
        for one in asked
    ]
    return await _aged(log, await _pinned(log, asked, found, held))


async def _pinned(
    log: Log, asked: Sequence[ConsumerLag], told: Sequence[ConsumerLag], held: Mapping[tuple[str, int], tuple[Member, Hold]]
) -> list[ConsumerLag]:
    """The holders' word where the server, asked again, still knows them by the same pin; else its own word of when it was `asked`."""

    async def true(before: ConsumerLag, one: ConsumerLag) -> ConsumerLag:
        if one.open >= before.open:
            return one
        _, hold = held[one.handler, one.partition]
        info = await _info(log, one.name)
        return one if info is not None and hold.pin and hold.pin == pin_of(info) else before

    return list(await asyncio.gather(*map(true, asked, told)))


def by_holder(one: ConsumerLag, held: tuple[Member, Hold] | None) -> ConsumerLag:
    """With the word of the partition's holder, heard after the server was asked, where it has received all that the server delivered.

    True only if the server, asked afterwards, still knows the holder by its pin.
    """
    if held is None:
        return one
    member, hold = held
    one = replace(one, held_by=member.name, since_ms=hold.since_ms, settled=max(one.settled, hold.settled))
    if max(hold.received, hold.settled) < one.delivered:
        return one
    oldest_ms = hold.oldest_ms + (_now_ms() - member.told_ms if hold.oldest_ms else 0)  # as old as it was when its holder spoke of it
    return replace(one, open=hold.open, oldest_ms=oldest_ms, oldest_open_ms=oldest_ms)


async def _has_record(log: Log, name: str) -> bool:
    try:
        return await has_record(log, name)
    except Transient:  # no snapshots, or none at the moment
        return False


async def _aged(log: Log, places: Sequence[ConsumerLag]) -> list[ConsumerLag]:
    """With the age of the first input that has no answer, where its holder has not told it: the log has it."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def aged(one: ConsumerLag) -> ConsumerLag:
        if not one.exists or one.oldest_ms or not one.behind:
            return one
        async with gate:
            event = await log.first_behind(one.settled if one.open else max(one.settled, one.delivered), one.subject_filter)
        if event is None and not one.open:
            return replace(one, waiting=0)  # what waited when the server was asked has reached the holder since, and has its answer
        recorded_ms = event.recorded_ns // MS if event is not None else 0
        return replace(one, oldest_ms=recorded_ms, oldest_open_ms=recorded_ms if one.open else 0)

    return list(await asyncio.gather(*map(aged, places)))


async def _tables(reader_dsn: str) -> TablesLag:
    if not reader_dsn:
        return TablesLag(problem="Postgres was not asked")
    try:
        async with connected(reader_dsn) as connection:
            position = await Checkpoints(connection).position()
            rows = tuple(dict(row) for row in await connection.fetch(_PROJECTIONS))
    except (*TROUBLE, StoreUnavailable, BadSettings) as error:
        return TablesLag(problem=str(error))
    return TablesLag(position=position, projections=rows)


async def _behind(log: Log, tables: TablesLag, last: int) -> TablesLag:
    """With what is missing, in events and since when."""
    if tables.problem:
        return tables
    ages = {
        position: await _recorded_ms(log, position + 1, last)
        for position in {tables.position, *(one["position"] for one in tables.projections)}
    }
    rows = tuple({**one, "behind": max(0, last - one["position"]), "oldest_ms": ages[one["position"]]} for one in tables.projections)
    return replace(tables, behind=max(0, last - tables.position), oldest_ms=ages[tables.position], projections=rows)


async def _recorded_ms(log: Log, position: int, last: int) -> int:
    return (await log.get(position)).recorded_ns // MS if position <= last else 0


def _now_ms() -> int:
    return time.time_ns() // MS


def _number(place: Place) -> int:
    return -1 if place.partition is None else place.partition
