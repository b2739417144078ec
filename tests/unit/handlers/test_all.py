"""What must be true of every handler that ships."""

from __future__ import annotations

from typing import Any

import pytest

from bus.event import Event
from bus.handler import Handler
from bus.testing import Rehearsal
from handlers.state_manager import typed
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined
from schemas.gen.worldbus.state.v1.state_pb2 import SaveRequested, StateChangeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, ScheduledEventRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherOverrideRequested, ZoneDeclared
from schemas.registry import all_events, subsystem
from tests.duskmarket import ALL, by_name
from tests.laws import examples
from worldbus.testing import assert_handler_laws

HANDLERS = [pytest.param(handler, id=handler.name) for handler in ALL]


def busy_town() -> Rehearsal:
    """Every handler has something to remember."""
    town = Rehearsal(*ALL)
    town.say(ClockStartRequested(scale=3_600_000), entity="clock")
    town.say(ScheduledEventRequested(name="bell", in_world_ms=10**9, every_world_ms=10**8), entity="clock")
    town.say(ZoneDeclared(climate="harbour", seed=3), entity="quay")
    town.say(PlayerJoined(display_name="Mira", zone="quay"), entity="mira")
    town.say(RealTimePassed(real_ms=50_000), entity="clock")
    town.say(PlayerHeartbeat(), entity="mira")
    town.say(WeatherOverrideRequested(sky="storm", intensity=1, for_world_ms=10**7), entity="quay")
    town.say(StateChangeRequested(set=typed({"gold": 3, "name": "Mira", "luck": 0.5, "alive": True})), entity="mira")
    town.say(SaveRequested(slot="camp"), entity="mira")
    return town


def test_names_are_unique_and_found() -> None:
    assert {"time", "weather", "player", "state"} <= by_name().keys()
    assert list(by_name().values()) == list(ALL)


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_says_something_of_its_own_and_every_wish_of_its_package_is_heard(handler: Handler[Any]) -> None:
    own = [cls for cls in all_events() if subsystem(cls) == handler.name]
    wishes = [cls for cls in own if cls.DESCRIPTOR.name.endswith("Requested")]
    heard = {cls for other in ALL for cls in other.listens_to}

    assert set(own) & set(handler.emits)
    assert set(wishes) <= heard, "a wish that nobody hears"
    assert set(own) <= heard | set(handler.emits), "an event that nobody says or hears"


@pytest.fixture(scope="module")
def lived() -> tuple[Event, ...]:
    """A history in which every handler has something to remember."""
    return tuple(busy_town().log)


@pytest.mark.hypothesis
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_keeps_the_laws(handler: Handler[Any], lived: tuple[Event, ...]) -> None:
    assert_handler_laws(handler, history=lived, examples=examples(12))


def test_a_busy_town_leaves_something_to_remember_and_folds_again_to_the_same() -> None:
    town = busy_town()
    states = {(name, entity): town.state(town.handlers[name], entity) for name, entity in town.refold()}

    assert states == town.refold()
    assert {"time", "weather", "player", "state"} <= {name for name, _ in states}
    assert [lane for lane, state in states.items() if state == town.handlers[lane[0]].initial(lane[1])] == []


def test_deciding_twice_says_the_same_bytes() -> None:
    one, other = busy_town(), busy_town()

    assert [event.raw for event in one.log] == [event.raw for event in other.log]
