"""The table of stations, `stations.toml`: their berths, and what customs make of each good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from worldbus import Content, toml

MOST_BERTHS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """The customs' rule for a good: `duty_minor` for each tonne in hundredths of a mark; whether it is inspected first, or forbidden."""

    duty_minor: int = 0
    inspected: bool = False
    forbidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stations:
    """Station -> number of berths, good -> tariff, and the length of an inspection in world minutes."""

    berths: Mapping[str, int]
    tariffs: Mapping[str, Tariff]
    inspection_minutes: int


class Port(Content):
    """The content of a port: the standard tables, and the stations."""

    @cached_property
    def stations(self) -> Stations:
        """The stations. Raises `BadSettings` where the table cannot be read."""
        return load(self.folder / "stations.toml")


def load(path: Path) -> Stations:
    """The stations in a TOML file. Raises `BadSettings` with file, line and key of what is wrong."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Stations:
    """The stations in a parsed table of the file `name`. Raises `BadSettings`."""
    root = toml.of(table, name)
    root.only("inspection_minutes", "stations", "tariffs")
    stations = Stations(
        berths={station: _berths(body) for station, body in root.tables("stations").items()},
        tariffs={good: body.into(Tariff) for good, body in root.tables("tariffs").items()},
        inspection_minutes=root.value("inspection_minutes", int),
    )
    root.refuse(_problems(stations))
    return stations


def _berths(body: toml.Table) -> int:
    body.only("berths")
    berths: int = body.value("berths", int)
    return berths


def _problems(stations: Stations) -> Iterator[str]:
    if not stations.berths:
        yield "stations: wanted at least one station, found none"
    if stations.inspection_minutes < 1:
        yield f"inspection_minutes: wanted 1 or more, found {stations.inspection_minutes}"
    for name, berths in stations.berths.items():
        if not 1 <= berths <= MOST_BERTHS:
            yield f"stations.{name}.berths: wanted 1 to {MOST_BERTHS}, found {berths}"
    for good, tariff in stations.tariffs.items():
        if tariff.duty_minor < 0:
            yield f"tariffs.{good}.duty_minor: wanted 0 or more, found {tariff.duty_minor}"
        if tariff.forbidden and (tariff.inspected or tariff.duty_minor):
            yield f"tariffs.{good}: wanted no duty and no inspection for what is forbidden, found one"
