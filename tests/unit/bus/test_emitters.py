"""The types that each subsystem may emit: facts are one's own, requests are anybody's, and the runtime's records are the handlers'."""

from __future__ import annotations

import pytest

from bus.decision import CONTROL
from bus.emitters import RUNTIME, Emitters
from schemas.registry import all_events, by_name
from tests.duskmarket import ALL
from worldbus.emitters import EDGES
from worlds.duskmarket import game

HANDLERS = [handler.name for handler in ALL]


@pytest.mark.parametrize(
    ("subsystem", "name", "may"),
    [
        ("game", "PlayerJoined", True),
        ("tools", "PlayerJoined", True),
        ("game", "CreatureSlain", True),
        ("weather", "WeatherChanged", True),
        ("game", "WeatherChanged", False),
        ("operator", "WeatherChanged", False),
        ("npc", "WeatherChanged", False),
        ("weather", "PlayerJoined", False),
        ("game", "WakeRequested", True),
        ("game", "CouponDefinitionRequested", False),
        ("client", "CouponDefinitionRequested", False),
        ("studio", "CouponDefinitionRequested", True),
        ("game", "RolloutStartRequested", False),
        ("game", "RefundRequested", False),
        ("client", "RefundRequested", True),
        ("client", "PlayerJoined", False),
        ("client", "PlayerSpoke", True),
        ("npc", "ChargeRequested", False),
        ("broker", "ChargeRequested", True),
        ("npc", "WakeRequested", True),
        ("language", "WakeRequested", False),
        ("payment", "CouponClaimed", True),
        ("coupon", "CouponClaimed", False),
        ("game", "EventParked", False),
        ("operator", "EventParked", False),
        ("player", "EventParked", True),
        ("operator", "LaneRetryRequested", True),
        ("game", "LaneRetryRequested", False),
        ("player", "LaneRetryRequested", False),
        ("inference", "InferenceCompleted", True),
        ("game", "InferenceCompleted", False),
        ("game", "InferenceRequested", True),
        ("payments-provider", "PaymentReceived", True),
        ("game", "PaymentReceived", False),
        ("lore", "LoreChunkAdded", True),
        ("game", "LoreChunkAdded", False),
    ],
)
def test_a_fact_is_its_own_subsystems(subsystem: str, name: str, may: bool) -> None:
    assert game.emitters.may(subsystem, by_name(name)) == may
    assert (game.emitters.problem(subsystem, by_name(name)) == "") == may


def test_every_handler_may_say_what_it_emits_and_every_type_has_somebody() -> None:
    table = game.emitters
    for handler in ALL:
        assert all(table.may(handler.name, kind.DESCRIPTOR.full_name) for kind in handler.emits)
        assert all(table.may(handler.name, name) for name in RUNTIME)
    speakers = ["game", "client", "studio", "service", *EDGES, *HANDLERS]
    for kind in all_events():
        assert any(table.may(speaker, kind.DESCRIPTOR.full_name) for speaker in speakers), kind


def test_no_edge_is_named_like_a_handler_and_none_has_a_handlers_fact() -> None:
    emitted = {kind for handler in ALL for kind in handler.emits}

    assert not set(EDGES) & set(HANDLERS)
    assert not {kind for kinds in EDGES.values() for kind in kinds} & emitted


def test_the_edges_are_those_that_speak_in_this_world() -> None:
    from inference.outcome import EDGE as INFERENCE
    from worldbus.cli.requests import OPERATOR
    from worldbus.edges.lore.revision import EDGE as LORE
    from worldbus.edges.payments import EDGE as PROVIDER
    from worldbus.edges.release_feed import EDGE as FEED
    from worldbus.edges.search import EDGE as KNOWLEDGE

    assert set(EDGES) == {INFERENCE, OPERATOR, LORE, PROVIDER, FEED, KNOWLEDGE}
    assert EDGES[OPERATOR] == CONTROL


def test_a_world_without_handlers_lets_nobody_speak_for_the_runtime() -> None:
    table = Emitters([], {})

    assert not any(table.may("game", name) for name in RUNTIME)
    assert table.may("game", by_name("WeatherChanged"))
