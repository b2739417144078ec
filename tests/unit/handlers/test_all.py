"""What must be true of every handler that ships."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bus.handler import Handler
from bus.testing import Rehearsal, recorded
from handlers.names import is_token
from handlers.state_manager import typed
from schemas.examples import example
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined
from schemas.gen.worldbus.state.v1.state_pb2 import SaveRequested, StateChangeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, ScheduledEventRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherOverrideRequested, ZoneDeclared
from schemas.registry import all_events, subsystem
from tests.duskmarket import ALL, by_name

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


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_lane_without_history_answers_anything_without_failing(handler: Handler[Any]) -> None:
    """Whatever comes first, with every field set to something: an answer, a refusal or silence, and only what is declared."""
    for cls in handler.listens_to:
        for message in (example(cls), cls()):
            for sayer in ("game", "time"):
                event = recorded(message, entity="e1", subsystem=sayer)
                for entity in handler.entities(event):
                    said = handler.decide(event, handler.initial(entity))
                    assert {type(one) for one in said} <= set(handler.emits)
                    assert is_token(entity)


def test_evolving_leaves_the_earlier_state_as_it_was() -> None:
    town = busy_town()
    states: dict[tuple[str, str], Any] = {}
    for event in town.log:
        if event.subsystem in town.handlers:
            handler, lane = town.handlers[event.subsystem], (event.subsystem, event.entity)
            state = states.setdefault(lane, handler.initial(event.entity))
            before = repr(state)
            states[lane] = handler.evolve(state, event)
            assert repr(state) == before, f"{event.name} changed a state in place"

    assert states == town.refold()


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_state_survives_its_snapshot(handler: Handler[Any]) -> None:
    town = busy_town()
    for (name, entity), state in town.refold().items():
        if name == handler.name:
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state)) == state
            assert state != handler.initial(entity)


def test_deciding_twice_says_the_same_bytes() -> None:
    one, other = busy_town(), busy_town()

    assert [event.raw for event in one.log] == [event.raw for event in other.log]


def test_deciding_leaves_event_and_state_as_they_were() -> None:
    town = busy_town()
    for event in town.log:
        for handler in ALL:
            if type(event.data) in handler.listens_to:
                for entity in handler.entities(event):
                    state = town.state(handler, entity)
                    before = (event.data.SerializeToString(deterministic=True), repr(state))
                    handler.decide(event, state)
                    assert (event.data.SerializeToString(deterministic=True), repr(state)) == before
