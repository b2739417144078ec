"""`GET /v1/clock`: what a world's clock shows now, and all that a client needs to count on by itself.

Between two steps of a resting clock the moment follows from the last one and the scale (docs/reference/time.md). Both are read from the
log, and the time of the answer is its server's: that clock stamps what is recorded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from bus.answers import parse_stamp
from bus.errors import Rejected
from bus.json_format import format_time
from bus.subjects import check_token, partition_of, stored_filter
from handlers.time_manager import CLOCK
from handlers.time_manager.calendar import read
from schemas.gen.worldbus.time.v1 import time_pb2 as said
from worldbus.gateway.problem import Problem
from worldbus.ticker.plan import Plan

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from multidict import MultiMapping

    from bus.event import Event
    from bus.log import Log
    from worldbus.gateway.grants import Grant

KNOWN: Final = frozenset({"world"})
TELLING: Final = (said.ClockStarted, said.ClockAdvanced, said.PausedTimePassed, said.ClockScaleChanged, said.ClockPaused, said.ClockResumed)
MOVES: Final = (said.ClockStarted, said.ClockAdvanced, said.ClockScaleChanged, said.ClockResumed)  # world time counts on from there
MS: Final = 1_000_000  # nanoseconds


def world_of(query: MultiMapping[str], grant: Grant) -> str:
    """The world that is asked for. Raises `Problem`."""
    if unknown := sorted({name for name in query if name not in KNOWN}):
        found = ", ".join(ascii(one)[:40] for one in unknown[:5])
        raise Problem(400, "UNKNOWN_PARAMETER", f"wanted world, found {found}: leave it out")
    world = query.get("world") or grant.only_world
    if not world:
        raise Problem(400, "WORLD_MISSING", "wanted world=<name>, found none, and this token may see several: name the one that is meant")
    try:
        check_token(world, "world")
    except Rejected as error:
        raise Problem(400, error.code, str(error)) from error
    if not grant.sees(world):
        raise Problem(403, "WORLD_NOT_ALLOWED", f"wanted a world of this token, found {world!r}: use its own, or ask for another grant")
    return world


async def shown(log: Log, world: str) -> dict[str, Any]:
    """The clock of a world as a document. Raises `Problem` where none was started, and `Transient`."""
    partition = partition_of(world, CLOCK, log.partitions)
    names = [kind.DESCRIPTOR.name for kind in TELLING]
    asked = (log.last(stored_filter(partition=partition, world=world, subsystem="time", entity=CLOCK, name=name)) for name in names)
    found, now_ns = await asyncio.gather(asyncio.gather(*asked), _server_ns(log))
    events = sorted((event for event in found if event is not None), key=lambda event: event.position)
    if not any(isinstance(event.data, said.ClockStarted) for event in events):
        raise Problem(404, "NO_CLOCK", f"wanted a clock that was started, found none in world {world!r}: run `worldbus up`, or start it")
    return _document(world, events, now_ns)


async def _server_ns(log: Log) -> int:
    info = await log.connection.api(f"STREAM.INFO.{log.name}")
    return parse_stamp(info["ts"])


def _document(world: str, events: list[Event], now_ns: int) -> dict[str, Any]:
    plan, at_ns, rests_ms = Plan(), 0, 0
    for event in events:
        plan.hear(event)
        if isinstance(event.data, MOVES):
            at_ns = event.recorded_ns
        if isinstance(event.data, said.ClockAdvanced | said.PausedTimePassed):
            rests_ms = event.data.rests_ms
    anchor, calendar = plan.anchor, plan.calendar
    assert anchor is not None
    assert calendar is not None
    rests_ms = 0 if anchor.owed >= 1000 else rests_ms  # cut short: the world waits until what is due was said
    passed_ms = min(max(0, now_ns - at_ns) // MS, rests_ms)
    now = read(calendar, anchor.world_at(anchor.real_ms + passed_ms) if passed_ms else anchor.world_ms)
    return {
        "world": world,
        "clock": CLOCK,
        "asleep": plan.asleep,
        "now": _plain(now.to_proto()),
        "anchor": {
            "at": format_time(at_ns),
            "world_ms": anchor.world_ms,
            "owed_thousandths": anchor.owed if rests_ms else 0,
            "scale": anchor.scale,
            "running": not anchor.paused,
            "rests_ms": rests_ms,
        },
        "calendar": _plain(calendar.to_proto()),
    }


def _plain(message: Message) -> dict[str, Any]:
    """A message as JSON, with whole numbers as numbers: all of them are below 2^53."""
    document: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    longs = [field.name for field in message.DESCRIPTOR.fields if field.cpp_type == field.CPPTYPE_INT64]
    return {**document, **{name: int(document[name]) for name in longs}}
