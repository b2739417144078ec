"""What the projections of the first subsystems say after a short history, as a reader sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bus.event import Event
from projections import Listed, Projector
from projections.query import query
from schemas.gen.worldbus.player.v1.player_pb2 import (
    PlayerArrived,
    PlayerDeparted,
    PlayerEnteredZone,
    PlayerSeen,
    PlayerSessionSummarised,
)
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventDeferred, EventParked, LaneInputDropped, LaneInputRetried, LaneRetryFailed
from schemas.gen.worldbus.state.v1.state_pb2 import SlotDeleted, StateChanged, StateLoaded, StateSaved
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockAdvanced,
    ClockPaused,
    ClockResumed,
    ClockScaleChanged,
    ClockStarted,
    DayBegan,
    EventScheduled,
    PausedTimePassed,
    ScheduledEventCancelled,
    ScheduledEventFired,
    SeasonChanged,
    TimeOfDayChanged,
    WakeCancelled,
    WakeFired,
    WakeScheduled,
)
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.gen.worldbus.weather.v1.types_pb2 import ForecastStep
from schemas.gen.worldbus.weather.v1.weather_pb2 import ForecastIssued, OverrideEnded, WeatherBegan, WeatherChanged, WeatherOverridden
from tests.duskmarket import PROJECTIONS
from tests.projected import event

Ask = Callable[[str], object]
MARK = "0:1:0:1"


class World:
    """Says things, one position after the other, and asks."""

    def __init__(self, owner: str, reader: str) -> None:
        self._owner, self._reader = owner, reader
        self._said: list[Event] = []

    def say(self, subsystem: str, entity: str, *messages: Message, lane: str = "") -> World:
        for message in messages:
            self._said.append(event(len(self._said) + 1, message, subsystem=subsystem, entity=entity, lane=lane))
        return self

    async def ask(self, sql: str) -> list[tuple[object, ...]]:
        """What readers see after all that was said; nothing of it was skipped."""
        projected = Projector(self._owner, PROJECTIONS)
        await projected.run(Listed(self._said, batch=3))
        assert (await query(self._reader, "SELECT position, projection, reason FROM skipped")).rows == []
        return (await query(self._reader, sql)).rows


@pytest.fixture
def world(database: str, reader: str) -> World:
    return World(database, reader)


def _at(ms: int, hour: int = 0, season: str = "spring") -> WorldTime:
    return WorldTime(world_ms=ms, year=1, season=season, day=2, hour=hour, minute=3, time_of_day="day")


async def test_the_clock_shows_the_time(world: World) -> None:
    world.say("time", "clock", ClockStarted(scale=1000, now=_at(0)), ClockAdvanced(now=_at(5000, 7), real_ms=5000, scale=1000))

    assert await world.ask("SELECT running, scale, world_ms, hour, season, real_ms FROM clock") == [(True, 1000, 5000, 7, "spring", 5000)]


async def test_the_clock_shows_its_turns(world: World) -> None:
    world.say("time", "clock", ClockStarted(scale=1000, now=_at(0)), DayBegan(now=_at(10)), SeasonChanged(now=_at(20, 1, "summer")))
    world.say("time", "clock", TimeOfDayChanged(now=_at(30, 2, "summer")), ClockScaleChanged(scale=9, now=_at(30, 2, "summer")))

    assert await world.ask("SELECT scale, world_ms, hour, season FROM clock") == [(9, 30, 2, "summer")]


async def test_a_paused_clock_stands_still(world: World) -> None:
    world.say("time", "clock", ClockStarted(scale=1000, now=_at(0)), ClockPaused(reason="lunch", now=_at(10)), PausedTimePassed(real_ms=77))
    assert await world.ask("SELECT running, paused_reason, world_ms, real_ms FROM clock") == [(False, "lunch", 10, 77)]

    world.say("time", "clock", ClockResumed(now=_at(10)))
    assert await world.ask("SELECT running, paused_reason FROM clock") == [(True, None)]


async def test_what_somebody_else_says_of_the_clock_does_not_count(world: World) -> None:
    world.say("game", "clock", ClockStarted(scale=1, now=_at(0)))

    assert await world.ask("SELECT * FROM clock") == []


async def test_scheduled_events_wait_and_repeat_and_go(world: World) -> None:
    for name in ("fair", "comet", "storm"):
        world.say("time", "clock", EventScheduled(name=name, due_world_ms=100, every_world_ms=50, times=2, note="n"))
    world.say("time", "clock", ScheduledEventFired(name="fair", occurrence=1, due_world_ms=100, next_world_ms=150))
    world.say("time", "clock", ScheduledEventFired(name="comet", occurrence=2, due_world_ms=100, next_world_ms=0))
    world.say("time", "clock", ScheduledEventCancelled(name="storm"))

    assert await world.ask("SELECT name, due_world_ms, occurrences, times FROM scheduled_events") == [("fair", 150, 1, 2)]
    world.say("time", "clock", EventScheduled(name="fair", due_world_ms=900))
    assert await world.ask("SELECT name, due_world_ms, occurrences, times FROM scheduled_events") == [("fair", 900, 0, 0)]


async def test_wakes_wait_until_they_fire_or_are_cancelled(world: World) -> None:
    for name in ("a", "b", "c"):
        world.say("time", "clock", WakeScheduled(subsystem="weather", entity="harbour", name=name, due_world_ms=5))
    world.say("time", "clock", WakeFired(subsystem="weather", entity="harbour", name="a"))
    world.say("time", "clock", WakeCancelled(subsystem="weather", entity="harbour", name="b"))

    assert await world.ask("SELECT subsystem, entity, name, due_world_ms FROM wakes") == [("weather", "harbour", "c", 5)]


async def test_weather_now_and_before(world: World) -> None:
    world.say("weather", "harbour", WeatherBegan(climate="coast", seed=2**64 - 1))
    assert await world.ask("SELECT climate, seed, sky FROM weather") == [("coast", 2**64 - 1, None)]

    world.say("weather", "harbour", WeatherChanged(sky="rain", intensity=0.5, level=2), WeatherChanged(sky="storm", level=3))
    assert await world.ask("SELECT sky, level, position FROM weather") == [("storm", 3, 3)]
    assert await world.ask("SELECT sky, position FROM weather_history ORDER BY position") == [("rain", 2), ("storm", 3)]


async def test_an_override_reigns_and_ends(world: World) -> None:
    world.say("weather", "harbour", WeatherBegan(climate="coast"), WeatherOverridden(number=1, sky="snow", reason="plot"))
    assert await world.ask("SELECT override_number, override_reason FROM weather") == [(1, "plot")]

    world.say("weather", "harbour", OverrideEnded(number=1, cause="expired"))
    assert await world.ask("SELECT override_number, override_reason FROM weather") == [(None, None)]


async def test_a_new_forecast_replaces_all_of_the_old_one(world: World) -> None:
    world.say("weather", "harbour", ForecastIssued(request_id="1", steps=[ForecastStep(at_world_ms=n, sky="rain") for n in (1, 2, 3)]))
    world.say("weather", "mill", ForecastIssued(request_id="2", steps=[ForecastStep(at_world_ms=9, sky="fog")]))
    world.say("weather", "harbour", ForecastIssued(request_id="3", steps=[ForecastStep(at_world_ms=7, sky="clear", confidence=0.5)]))

    found = await world.ask("SELECT zone, step, at_world_ms, sky FROM forecasts ORDER BY zone")
    assert found == [("harbour", 1, 7, "clear"), ("mill", 1, 9, "fog")]


async def test_players_come_move_and_go(world: World) -> None:
    world.say("player", "ada", PlayerArrived(session=1, display_name="Ada", platform="pc"), PlayerEnteredZone(zone="mill", session=1))
    world.say("player", "bob", PlayerArrived(session=1, display_name="Bob"), PlayerEnteredZone(zone="mill", session=1))
    assert await world.ask("SELECT zone, players FROM online") == [("mill", 2)]

    world.say("player", "ada", PlayerEnteredZone(zone="port", previous="mill", x=1.5), PlayerSeen(session=1))
    world.say("player", "ada", PlayerDeparted(session=1, cause="left", reason="tea"))
    world.say("player", "ada", PlayerSessionSummarised(session=1, duration_ms=900, zones_entered=2, last_zone="port"))
    world.say("player", "ada", PlayerArrived(session=2, display_name="Ada"))

    found = await world.ask("SELECT online, session, zone, x, sessions, zones_entered, played_ms FROM players WHERE player = 'ada'")
    assert found == [(True, 2, "port", 1.5, 2, 2, 900)]
    assert await world.ask(
        "SELECT session, cause, reason, duration_ms, ended_at IS NULL FROM sessions WHERE player = 'ada' ORDER BY 1"
    ) == [
        (1, "left", "tea", 900, False),
        (2, None, None, None, True),
    ]
    assert await world.ask("SELECT first_seen < last_seen FROM players WHERE player = 'ada'") == [(True,)]


async def test_state_changes_and_comes_back(world: World) -> None:
    world.say("state", "ada", StateChanged(version=1, set={"gold": StateValue(integer=5), "name": StateValue(text="A"), "x": StateValue()}))
    world.say("state", "ada", StateSaved(slot="one", version=1, values={"gold": StateValue(integer=5)}))
    world.say(
        "state", "ada", StateChanged(version=2, set={"big": StateValue(integer=2**62), "half": StateValue(number=0.5)}, removed=["name"])
    )
    asked = "SELECT version, \"values\"->>'gold', \"values\"->>'big', \"values\"->>'half', \"values\" ? 'name' FROM entity_state"
    assert await world.ask(asked) == [(2, "5", str(2**62), "0.5", False)]

    world.say("state", "ada", StateLoaded(slot="one", saved_version=1, version=3, values={"gold": StateValue(integer=5)}))
    assert await world.ask('SELECT version, "values"::text FROM entity_state') == [(3, '{"gold": 5}')]
    assert await world.ask('SELECT slot, version, "values"::text FROM saves') == [("one", 1, '{"gold": 5}')]

    world.say("state", "ada", SlotDeleted(slot="one"))
    assert await world.ask("SELECT * FROM saves") == []


async def test_parked_inputs_are_listed_until_they_are_decided_or_dropped(world: World) -> None:
    parked = EventParked(handler="weather", position=4, code="BROKEN_RULE", reason="why", attempts=3, first_failed_at=Timestamp(seconds=9))
    world.say(
        "weather", "mill", parked, EventDeferred(handler="weather", position=5), EventDeferred(handler="weather", position=6), lane=MARK
    )
    world.say("weather", "mill", LaneRetryFailed(handler="weather", position=4, code="STILL", reason="so"), lane=MARK)
    asked = "SELECT input, status, code, retries FROM parked ORDER BY input"
    assert await world.ask(asked) == [(4, "parked", "STILL", 1), (5, "deferred", None, 0), (6, "deferred", None, 0)]

    world.say(
        "weather", "mill", LaneInputDropped(handler="weather", position=4), LaneInputRetried(handler="weather", position=5), lane=MARK
    )
    assert await world.ask(asked) == [(6, "deferred", None, 0)]


async def test_nobody_parks_a_lane_that_is_not_his(world: World) -> None:
    """An event that a game server once could write with its token: a lane of that name cannot be retried, nor dropped."""
    forged = EventParked(handler="player", position=1, code="X", reason="forged")
    world.say("game", "mira", forged, EventDeferred(handler="player", position=2))
    world.say("game", "mira", EventParked(handler="game", position=1, code="X", reason="forged"))
    world.say("weather", "mill", EventParked(handler="player", position=3, code="X"), lane=MARK)

    assert await world.ask("SELECT * FROM parked") == []
