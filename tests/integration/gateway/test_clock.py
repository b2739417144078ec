"""`GET /v1/clock`: the present moment, and what a client counts on from; and the same as a signal."""

from __future__ import annotations

from datetime import datetime

import pytest

from bus.connection import Connection
from bus.event import Draft
from bus.log import Log
from bus.publisher import open_publisher
from bus.signals import signal
from handlers.time_manager import calendar as cal
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPaused,
    ClockResumed,
    ClockScaleChanged,
    ClockStarted,
    PausedTimePassed,
)
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment, WorldTime
from tests.duskmarket import time as clock
from tests.integration.gateway.conftest import DEAF, MUTE, OTHER, Caller
from tests.integration.gateway.test_streams import stream

MINUTE = 60_000
DAYS = cal.Calendar(
    hours_per_day=24,
    seasons=(cal.Season(name="only", days=9, dawn_minute=300, day_minute=360, dusk_minute=1140, night_minute=1260),),
)


def at(world_ms: int) -> WorldTime:
    return cal.read(DAYS, world_ms).to_proto()


async def say(connection: Connection, log: Log, *messages: object, subsystem: str = clock.name) -> None:
    async with open_publisher(connection, log, "relaxed") as publisher:
        for message in messages:
            await publisher.publish(Draft(data=message, world="main", entity="clock", subsystem=subsystem))  # type: ignore[arg-type]


STARTED = ClockStarted(scale=60_000, calendar=DAYS.to_proto(), now=at(0))
RESTING = ClockAdvanced(now=at(MINUTE), real_ms=1000, scale=60_000, rests_ms=310_000, owed_thousandths=7, asleep=True)


async def test_a_resting_clock_is_counted_on_from_its_last_step(caller: Caller, connection: Connection, log: Log) -> None:
    await say(connection, log, STARTED, RESTING)
    first = (await caller.ask("GET", "/v1/clock")).body
    second = (await caller.ask("GET", "/v1/clock")).body

    assert first["anchor"] == {
        "at": first["anchor"]["at"], "world_ms": MINUTE, "owed_thousandths": 7, "scale": 60_000, "running": True, "rests_ms": 310_000,
    }  # fmt: skip
    step = (await log.state()).last
    recorded_ns = (await log.get(step)).recorded_ns
    assert datetime.fromisoformat(first["anchor"]["at"]).timestamp() == pytest.approx(recorded_ns / 1e9)
    assert MINUTE <= first["now"]["world_ms"] < second["now"]["world_ms"]
    assert (first["asleep"], first["now"]["season"], first["now"]["time_of_day"]) == (True, "only", "night")
    assert first["calendar"]["hours_per_day"] == 24


async def test_a_clock_that_stands_is_shown_where_it_stands(caller: Caller, connection: Connection, log: Log) -> None:
    await say(connection, log, STARTED, ClockAdvanced(now=at(MINUTE), real_ms=1000, scale=60_000))
    assert (await caller.ask("GET", "/v1/clock")).body["now"]["world_ms"] == MINUTE

    await say(connection, log, RESTING, ClockPaused(now=at(MINUTE)), PausedTimePassed(real_ms=2000, rests_ms=310_000))
    paused = (await caller.ask("GET", "/v1/clock")).body
    assert (paused["now"]["world_ms"], paused["anchor"]["running"]) == (MINUTE, False)

    await say(connection, log, ClockResumed(now=at(MINUTE)), ClockScaleChanged(previous=60_000, scale=1, now=at(MINUTE)))
    slow = (await caller.ask("GET", "/v1/clock")).body
    assert (slow["anchor"]["running"], slow["anchor"]["scale"]) == (True, 1)
    assert MINUTE <= slow["now"]["world_ms"] < 2 * MINUTE


async def test_a_step_that_was_cut_short_is_not_counted_on_from(caller: Caller, connection: Connection, log: Log) -> None:
    await say(connection, log, STARTED, ClockAdvanced(now=at(MINUTE), real_ms=1, scale=60_000, rests_ms=310_000, owed_thousandths=10**9))

    assert (await caller.ask("GET", "/v1/clock")).body["now"]["world_ms"] == MINUTE


async def test_who_may_not_listen_is_not_told(caller: Caller) -> None:
    missing = await caller.ask("GET", "/v1/clock")
    assert (missing.status, missing.code) == (404, "NO_CLOCK")
    for query, token, code in (
        ("", DEAF, "MAY_NOT_HEAR"),
        ("?world=main", OTHER, "WORLD_NOT_ALLOWED"),
        ("", MUTE, "WORLD_MISSING"),
        ("?world=a.b", MUTE, "BAD_SUBJECT"),
        ("?when=now", MUTE, "UNKNOWN_PARAMETER"),
    ):
        assert (await caller.ask("GET", f"/v1/clock{query}", token=token)).code == code


async def test_the_moment_comes_as_a_signal_that_can_be_read(caller: Caller, connection: Connection) -> None:
    async with stream(caller, "/v1/signals?topic=clock") as moments:
        await moments.block()
        await moments.block()
        signal(connection, "sig.main.clock", PresentMoment(now=at(MINUTE), scale=60_000, running=True).SerializeToString())
        heard = await moments.event()

    assert heard.data["subject"] == "sig.main.clock"
    assert (heard.data["data"]["now"]["hour"], heard.data["data"]["running"]) == (0, True)
