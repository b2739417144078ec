"""`--type` and `event=` mean a type under every name under which its events were recorded."""

from __future__ import annotations

import pytest

from tests.upcasts import INPUTS, ship
from worldbus.cli.read import Filter
from worldbus.gateway.subscribe import _names


def test_tail_and_replay_choose_by_every_recorded_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Filter(type="PlayerMoved", world="w").subjects() == ["evt.*.w.*.*.PlayerMoved"]

    ship(monkeypatch, INPUTS)

    assert Filter(type="PlayerMoved", world="w").subjects() == [
        "evt.*.w.*.*.PlayerJoined",
        "evt.*.w.*.*.PlayerLeftZone",
        "evt.*.w.*.*.PlayerMoved",
    ]
    assert Filter(type="worldbus.player.v1.PlayerJoined").subjects() == ["evt.*.*.*.*.PlayerJoined"], "what was recorded can be asked for"


def test_a_subscription_to_a_type_is_one_to_its_older_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, INPUTS)

    assert _names("PlayerMoved") == {"PlayerMoved", "PlayerLeftZone", "PlayerJoined"}
