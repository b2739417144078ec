"""Addresses that the client finds by itself: as WORLDBUS_NATS_URL and WORLDBUS_WORLD say, unless the program says something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bus.event import Event
from worldbus.embedded import NatsServer
from worldbus_client import BadSettings, Client
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved


def test_the_environment_says_where(server: NatsServer, recorded: Callable[[], list[Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDBUS_NATS_URL", server.url)
    monkeypatch.setenv("WORLDBUS_WORLD", "w1")
    with Client() as bus:
        bus.publish("mira", PlayerMoved(zone="quay"))
    monkeypatch.setenv("WORLDBUS_NATS_URL", "nats://127.0.0.1:1")
    with Client(server.url, world="w2") as bus:
        bus.publish("mira", PlayerMoved(zone="moor"))

    assert [event.world for event in recorded()] == ["w1", "w2"]


def test_a_world_is_named_by_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLDBUS_WORLD", raising=False)

    with pytest.raises(BadSettings, match="wanted a world, found none: name it, or say it in WORLDBUS_WORLD"):
        Client("nats://127.0.0.1:1")
