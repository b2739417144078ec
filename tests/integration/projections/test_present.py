"""The present moment in SQL: counted on from the clock's last step, read by the calendar, as of any time."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from bus.event import Draft, Event
from handlers.time_manager import calendar as cal
from projections import Listed, Projector
from projections.past import ask_past
from projections.query import query
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPaused,
    ClockResumed,
    ClockScaleChanged,
    ClockStarted,
    DayBegan,
    EventScheduled,
    PausedTimePassed,
    WakeScheduled,
)
from schemas.gen.worldbus.time.v1.types_pb2 import WishCounted
from tests.duskmarket import PROJECTIONS

MINUTE = 60_000
RESTS = 310_000
DAYS = cal.Calendar(
    hours_per_day=24,
    seasons=(
        cal.Season(name="wet", days=2, dawn_minute=300, day_minute=360, dusk_minute=1140, night_minute=1260),
        cal.Season(name="dry", days=3, dawn_minute=300, day_minute=360, dusk_minute=1140, night_minute=1260),
    ),
)
NOW = "SELECT world_ms, year, season, next_season, season_ends_world_ms, day, day_of_season, hour, minute, time_of_day FROM clock"


@dataclass(frozen=True, slots=True)
class Seen:
    """The view as a reader sees it."""

    owner: str
    reader: str
    said: tuple[tuple[datetime, Message], ...] = ()

    async def after(self, *said: tuple[datetime, Message]) -> Seen:
        """Once the clock has said all this, recorded when it says so."""
        known = Seen(self.owner, self.reader, (*self.said, *said))
        events = [_event(position, moment, message) for position, (moment, message) in enumerate(known.said, 1)]
        await Projector(self.owner, PROJECTIONS).run(Listed(events))
        assert (await query(self.reader, "SELECT position, projection, reason FROM skipped")).rows == []
        return known

    async def now(self, sql: str = NOW) -> tuple[Any, ...]:
        return (await query(self.reader, sql)).rows[0]


def _event(position: int, moment: datetime, message: Message) -> Event:
    draft = Draft(data=message, world="main", entity="clock", subsystem="time", id=f"e{position}", cause="c", depth=1)
    recorded_us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return Event(raw=draft.encode(), subject=draft.subject, partition=1, position=position, recorded_ns=recorded_us * 1000)


@pytest.fixture
def seen(database: str, reader: str) -> Seen:
    return Seen(database, reader)


def started(scale: int = 60_000) -> ClockStarted:
    return ClockStarted(scale=scale, calendar=DAYS.to_proto(), now=cal.read(DAYS, 0).to_proto())


def step(world_ms: int, **more: Any) -> ClockAdvanced:
    return ClockAdvanced(now=cal.read(DAYS, world_ms).to_proto(), scale=60_000, **more)


def ago(**how_long: float) -> datetime:
    return datetime.now(UTC) - timedelta(**how_long)


def shown(calendar: cal.Calendar, world_ms: int) -> tuple[Any, ...]:
    it = cal.read(calendar, world_ms)
    hour, minute = divmod(it.minute_of_day, 60)
    return (
        *(it.world_ms, it.year, it.season, it.next_season, it.season_ends_world_ms),
        *(it.day, it.day_of_season, hour, minute, it.time_of_day),
    )


async def test_a_resting_clock_goes_on_between_its_steps(seen: Seen) -> None:
    """A world minute a second: two minutes after the step it is two hours later, to the minute."""
    seen = await seen.after((ago(seconds=200), started()), (ago(seconds=120), step(6 * 3_600_000, real_ms=360_000, rests_ms=RESTS)))

    row = await seen.now()
    assert 8 * 3_600_000 <= row[0] < 20 * 3_600_000
    assert row == shown(DAYS, row[0])
    real_ms, world_ms = (await query(seen.reader, "SELECT real_ms, world_ms FROM clock")).rows[0]
    assert real_ms >= 480_000
    assert world_ms == 60 * real_ms


async def test_it_goes_on_for_as_long_as_its_ticker_may_be_silent_and_no_longer(seen: Seen) -> None:
    seen = await seen.after((ago(days=1), started()), (ago(days=1), step(MINUTE, real_ms=1000, rests_ms=RESTS)))

    assert (await seen.now())[0] == MINUTE + 60 * RESTS


async def test_a_steady_clock_stands_still_between_its_steps(seen: Seen) -> None:
    seen = await seen.after((ago(seconds=100), started()), (ago(seconds=100), step(MINUTE, real_ms=1000)))

    assert await seen.now() == shown(DAYS, MINUTE)


async def test_a_paused_clock_stands_still_and_goes_on_from_when_it_is_resumed(seen: Seen) -> None:
    at = cal.read(DAYS, MINUTE).to_proto()
    seen = await seen.after(
        (ago(days=1), started()),
        (ago(seconds=300), step(MINUTE, real_ms=1000, rests_ms=RESTS)),
        (ago(seconds=300), ClockPaused(now=at)),
        (ago(seconds=200), PausedTimePassed(real_ms=101_000, rests_ms=RESTS)),
    )
    assert await seen.now() == shown(DAYS, MINUTE)

    seen = await seen.after((ago(seconds=60), PausedTimePassed(real_ms=241_000, rests_ms=RESTS)), (ago(seconds=60), ClockResumed(now=at)))
    assert 61 * MINUTE <= (await seen.now())[0] < 300 * MINUTE


async def test_a_change_of_scale_counts_from_its_own_moment(seen: Seen) -> None:
    seen = await seen.after(
        (ago(days=1), started()),
        (ago(seconds=100), step(MINUTE, real_ms=1000, rests_ms=RESTS)),
        (ago(seconds=100), ClockScaleChanged(previous=60_000, scale=1, now=cal.read(DAYS, MINUTE).to_proto())),
    )
    world_ms = (await seen.now())[0]
    assert MINUTE + 100 <= world_ms < MINUTE + 10_000


async def test_a_turn_that_is_seen_before_its_step_does_not_make_the_clock_jump(seen: Seen) -> None:
    midnight = DAYS.day_ms
    seen = await seen.after(
        (ago(days=1), started()),
        (ago(seconds=250), step(midnight - 250 * MINUTE, real_ms=1, rests_ms=RESTS)),
        (ago(seconds=1), DayBegan(now=cal.read(DAYS, midnight).to_proto())),
    )
    assert midnight <= (await seen.now())[0] < midnight + 60 * MINUTE


async def test_a_step_that_was_cut_short_waits_for_the_next_one(seen: Seen) -> None:
    seen = await seen.after((ago(days=1), started()), (ago(seconds=60), step(MINUTE, real_ms=1, rests_ms=RESTS, owed_thousandths=10**6)))

    assert (await seen.now())[0] == MINUTE


async def test_as_of_shows_the_moment_of_then(seen: Seen) -> None:
    moment = datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC)
    seen = await seen.after((moment, started()), (moment, step(MINUTE, real_ms=1000, rests_ms=RESTS)))

    for seconds in (0, 1, 299):
        position, answer = await ask_past(seen.owner, NOW, moment + timedelta(seconds=seconds), projections=PROJECTIONS)
        assert position == 2
        assert answer.rows == [shown(DAYS, MINUTE * (1 + seconds))]
    assert (await ask_past(seen.owner, NOW, 2, projections=PROJECTIONS))[1].rows == [shown(DAYS, MINUTE)]
    assert (await ask_past(seen.owner, NOW, 1, projections=PROJECTIONS))[1].rows == [shown(DAYS, 0)]
    assert (await ask_past(seen.owner, NOW, 0, projections=PROJECTIONS))[1].rows == []


async def test_as_of_a_time_to_come_is_now(seen: Seen) -> None:
    seen = await seen.after((ago(seconds=9), started()), (ago(seconds=9), step(0, real_ms=1, rests_ms=3_600_000)))

    _, answer = await ask_past(seen.owner, NOW, ago(days=-1), projections=PROJECTIONS)
    assert answer.rows[0][0] < 10 * 60 * MINUTE


async def test_what_counts_from_the_next_step_is_due_when_that_says_so(seen: Seen) -> None:
    moment = ago(seconds=1)
    who: dict[str, Any] = {"subsystem": "market", "entity": "quay", "name": "n"}
    seen = await seen.after(
        (moment, started()),
        (moment, WakeScheduled(**who, due_real_ms=500, from_next_step=True, in_real_ms=500)),
        (moment, EventScheduled(name="bell", due_world_ms=7, from_next_step=True, in_world_ms=7, every_world_ms=MINUTE)),
        (moment, WakeScheduled(subsystem="npc", entity="mira", name="pulse", due_world_ms=9)),
    )
    wakes = "SELECT name, due_world_ms, due_real_ms FROM wakes ORDER BY name"
    events = "SELECT name, due_world_ms, every_world_ms FROM scheduled_events"
    assert (await query(seen.reader, wakes)).rows == [("n", 0, 500), ("pulse", 9, 0)]
    assert (await query(seen.reader, events)).rows == [("bell", 7, MINUTE)]

    counted = [WishCounted(**who, due_real_ms=700), WishCounted(name="bell", due_world_ms=207)]
    seen = await seen.after((moment, step(200, real_ms=200, rests_ms=RESTS, counted=counted)))
    assert (await query(seen.reader, wakes)).rows == [("n", 0, 700), ("pulse", 9, 0)]
    assert (await query(seen.reader, events)).rows == [("bell", 207, MINUTE)]


async def test_the_view_reads_any_calendar_as_the_clock_does(database: str, connection: asyncpg.Connection) -> None:
    """Five hundred calendars and moments, those around the turns among them."""
    await Projector(database, PROJECTIONS).run(Listed([]))
    dice, wanted = random.Random(12), {}
    rows = []
    for number in range(500):
        calendar = _calendar(dice)
        turn = cal.next_turn(calendar, dice.randrange(10**12))
        world_ms = max(0, dice.choice((dice.randrange(10**12), turn - 1, turn, turn + 1)))
        rows.append((f"w{number:03}", world_ms, json.dumps(MessageToDict(calendar.to_proto(), preserving_proto_field_name=True))))
        wanted[f"w{number:03}"] = shown(calendar, world_ms)
    schema = await connection.fetchval("SELECT schema_name FROM worldbus.generations WHERE projection = 'clock'")
    await connection.executemany(
        f"INSERT INTO \"{schema}\".clock_steps (world, clock, running, world_ms, calendar) VALUES ($1, 'clock', true, $2, $3)", rows
    )

    found = await connection.fetch(NOW.replace("SELECT ", "SELECT world, ").replace("FROM clock", "FROM world.clock"))
    assert {row[0]: tuple(row)[1:] for row in found} == wanted


def _calendar(dice: random.Random) -> cal.Calendar:
    hours = dice.randint(1, 48)
    seasons = []
    for index in range(dice.randint(1, 5)):
        marks = sorted(dice.sample(range(hours * 60), 4))
        if dice.random() < 0.2:
            marks[0] = 0
        seasons.append(
            cal.Season(
                name=f"s{index}",
                days=dice.randint(1, 7),
                dawn_minute=marks[0],
                day_minute=marks[1],
                dusk_minute=marks[2],
                night_minute=marks[3],
            )
        )
    return cal.Calendar(hours_per_day=hours, seasons=tuple(seasons), offset_ms=dice.choice((0, dice.randrange(10**9))))
