"""The table of stations, `stations.toml`: their berths, and what customs make of each good."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from worldbus import Content, errors


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
    """The stations in a TOML file. Raises `BadSettings` with what is wrong."""
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise errors.BadSettings(
            f"{path} is no table of stations: {error!r}; compare it with `Stations` in spaceport/stations.py"
        ) from error


def parse(table: Mapping[str, Any]) -> Stations:
    """The stations in a parsed table. Raises what Python raises where something is missing, and `ValueError`."""
    stations = Stations(
        berths={name: body["berths"] for name, body in table["stations"].items()},
        tariffs={good: Tariff(**body) for good, body in table["tariffs"].items()},
        inspection_minutes=table["inspection_minutes"],
    )
    if stations.inspection_minutes < 1 or not all(1 <= berths <= 1000 for berths in stations.berths.values()):
        raise ValueError("wanted inspection_minutes of 1 or more, and 1 to 1000 berths for each station")
    return stations
