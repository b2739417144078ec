"""Upcasts of real types for tests: steps that a later release might ship."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from google.protobuf.message import Message

from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerJoined, PlayerLeftZone, PlayerMoved
from schemas.upcast import Upcast, Upcasters


def zone_as(new: Callable[..., Message]) -> Callable[[Message], Message]:
    """A change that keeps the zone and the place, as far as both types have them."""

    def change(old: Message) -> Message:
        names = [field.name for field in new.DESCRIPTOR.fields if field.name in old.DESCRIPTOR.fields_by_name]  # type: ignore[attr-defined]
        return new(**{name: getattr(old, name) for name in names if name in ("zone", "x", "y", "session")})

    return change


INPUTS = (
    Upcast(PlayerJoined, PlayerLeftZone, zone_as(PlayerLeftZone)),
    Upcast(PlayerLeftZone, PlayerMoved, zone_as(PlayerMoved)),
)
"""PlayerMoved was PlayerLeftZone once, and PlayerJoined before that."""

ENTERED = (
    Upcast(PlayerJoined, PlayerLeftZone, zone_as(PlayerLeftZone)),
    Upcast(PlayerLeftZone, PlayerEnteredZone, zone_as(PlayerEnteredZone)),
)
"""PlayerEnteredZone was PlayerLeftZone once, and PlayerJoined before that."""


def ship(monkeypatch: pytest.MonkeyPatch, steps: Iterable[Upcast]) -> None:
    """Let this process be of the release that has these steps."""
    upcasters = Upcasters(steps)
    monkeypatch.setattr("schemas.upcast._SHIPPED", upcasters)
    monkeypatch.setattr("bus.event.upcast", upcasters.upcast)
