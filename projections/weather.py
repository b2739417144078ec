"""Weather as tables: now, forecast and history, per zone."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.weather.v1 import weather_pb2 as said

NOW = Table("weather", key=("world", "zone"))
FORECASTS = Table("forecasts", key=("world", "zone", "step"))
HISTORY = Table("weather_history", key=("world", "zone", "position"))


def began(event: Event, it: said.WeatherBegan) -> Change:
    return NOW.put(event.world, event.entity, climate=it.climate, seed=it.seed)


def changed(event: Event, it: said.WeatherChanged) -> list[Change]:
    both = {
        "sky": it.sky,
        "level": it.level,
        "intensity": it.intensity,
        "temperature_c": it.temperature_c,
        "season": it.season,
        "since_world_ms": it.since_world_ms,
        "cause": it.cause,
        "changed_at": event.time_ns,
    }
    return [
        NOW.put(event.world, event.entity, wind_mps=it.wind_mps, expected_until_world_ms=it.expected_until_world_ms, **both),
        HISTORY.put(event.world, event.entity, event.position, **both),
    ]


def overridden(event: Event, it: said.WeatherOverridden) -> Change:
    return NOW.put(event.world, event.entity, override_number=it.number, override_reason=it.reason)


def override_ended(event: Event, it: said.OverrideEnded) -> Change:
    return NOW.put(event.world, event.entity, override_number=None, override_reason=None)


def forecast(event: Event, it: said.ForecastIssued) -> list[Change]:
    place = (event.world, event.entity)
    return [
        FORECASTS.drop(*place),
        *(
            FORECASTS.put(
                *(*place, number),
                at_world_ms=step.at_world_ms,
                sky=step.sky,
                confidence=step.confidence,
                intensity=step.intensity,
                request_id=it.request_id,
            )
            for number, step in enumerate(it.steps, start=1)
        ),
    ]


weather = Projection(
    name="weather",
    version=1,
    said_by="weather",
    schema=sql_beside(__file__),
    tables=(NOW, FORECASTS, HISTORY),
    on={
        said.WeatherBegan: began,
        said.WeatherChanged: changed,
        said.WeatherOverridden: overridden,
        said.OverrideEnded: override_ended,
        said.ForecastIssued: forecast,
    },
)
