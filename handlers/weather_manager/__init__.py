"""The weather of zones as a handler, `weather`.

    ZoneDeclared ──▶ WeatherBegan, WakeRequested          WakeFired ──▶ WeatherChanged, WakeRequested (the next step)
    WeatherOverrideRequested ──▶ WeatherOverridden, WeatherChanged … OverrideEnded, WeatherChanged
    ForecastRequested ──▶ ForecastIssued

The rules are data: `weather_manager(tables)` makes the handler under given ones; a game gives `weather` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.plausible import UNBOUNDED, Bounds
from handlers.weather_manager.climate import prepare
from handlers.weather_manager.decide import decide
from handlers.weather_manager.state import Zone, evolve
from handlers.weather_manager.tables import Tables
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.weather.v1 import weather_pb2 as said

if TYPE_CHECKING:
    from handlers.content import Content


def entities(event: Event) -> Sequence[str]:
    """A wake concerns the zone it names, if this handler asked the clock for it; everything else the zone it is said about."""
    if event.kind != "WakeFired":
        return (event.entity,)
    woken = event.data
    assert isinstance(woken, WakeFired)
    return (woken.entity,) if woken.subsystem == "weather" and event.subsystem == "time" else ()


weather: Final[ByWorld[Content]] = ByWorld(
    name="weather",
    listens_to=(
        WakeFired,
        said.ZoneDeclared,
        said.WeatherOverrideRequested,
        said.OverrideCancelRequested,
        said.ForecastRequested,
    ),
    emits=(
        said.WeatherBegan,
        said.WeatherChanged,
        said.WeatherOverridden,
        said.OverrideEnded,
        said.ForecastIssued,
        said.WeatherRequestRefused,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: weather_manager(content.weather, content.bounds),
)


def weather_manager(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Zone]:
    """The handler under the given tables."""
    handler = weather.with_rules(
        initial=lambda entity: Zone(),
        decide=partial(decide, prepare(tables)),
        evolve=partial(evolve, tables.step_ms),
        entities=entities,
    )
    return answering(handler, bounds)
