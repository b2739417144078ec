"""The rights of a token: its world, its sources, the types of these, and its own entities."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.message import Message

from bus.draft import Draft
from bus.errors import BadSettings
from schemas.gen.worldbus.capability.v1.capability_pb2 import ServiceRegisterRequested
from schemas.gen.worldbus.coupon.v1.coupon_pb2 import CouponDefinitionRequested
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.models.v1.models_pb2 import RolloutStartRequested
from schemas.gen.worldbus.payment.v1.payment_pb2 import RefundRequested
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryChoiceRequested
from worldbus.games import current
from worldbus.gateway.bodies import Item
from worldbus.gateway.events import authorise
from worldbus.gateway.grants import Grant, digest, read
from worldbus.gateway.problem import Problem

SERVER = Grant(name="server", sha256=digest("s"), worlds=("main",))
SHARD = Grant(name="shard", sha256=digest("d"), worlds=("main",), entities=("mira", "voice"))
BROWSER = Grant(name="browser", sha256=digest("b"), worlds=("main",), says=("client",), entities=("mira",))
DESIGNER = Grant(name="designer", sha256=digest("g"), worlds=("main",), says=("studio",))


def code(grant: Grant, message: Message, entity: str) -> str:
    try:
        authorise([Item(Draft(data=message, world="main", entity=entity, subsystem=grant.says[0]), True)], grant)
    except Problem as problem:
        return f"{problem.status} {problem.code}"
    return ""


@pytest.mark.parametrize(
    ("grant", "message", "entity", "expected"),
    [
        pytest.param(SERVER, CouponDefinitionRequested(percent=100), "FREE", "TYPE_NOT_ALLOWED", id="coupon printed by a game server"),
        pytest.param(BROWSER, CouponDefinitionRequested(percent=100), "mira", "TYPE_NOT_ALLOWED", id="coupon printed in a browser"),
        pytest.param(DESIGNER, CouponDefinitionRequested(percent=10), "SPRING", "", id="coupon of the studio"),
        pytest.param(SERVER, RolloutStartRequested(model="m"), "gold", "TYPE_NOT_ALLOWED", id="rollout by a game"),
        pytest.param(SERVER, RefundRequested(purchase_id="p"), "ben", "TYPE_NOT_ALLOWED", id="refund by a game server"),
        pytest.param(BROWSER, RefundRequested(purchase_id="p"), "ben", "ENTITY_NOT_ALLOWED", id="refund anybody"),
        pytest.param(BROWSER, RefundRequested(purchase_id="p"), "mira", "", id="refund of one's own"),
        pytest.param(SERVER, ServiceRegisterRequested(), "voice", "ENTITY_NOT_ALLOWED", id="service of another"),
        pytest.param(SHARD, ServiceRegisterRequested(), "voice", "", id="service of its own"),
        pytest.param(SERVER, PlayerJoined(), "ben", "", id="any player of a game server"),
        pytest.param(SHARD, PlayerJoined(), "ben", "ENTITY_NOT_ALLOWED", id="another shard's player"),
        pytest.param(BROWSER, PlayerJoined(), "mira", "TYPE_NOT_ALLOWED", id="a fact by a browser"),
        pytest.param(BROWSER, PlayerSpoke(npc="x"), "mira", "", id="words of one's own"),
        pytest.param(BROWSER, StoryChoiceRequested(player="ben", choice="c"), "mira", "ENTITY_NOT_ALLOWED", id="another player's choice"),
        pytest.param(BROWSER, StoryChoiceRequested(player="mira", choice="c"), "arc", "", id="one's own choice about an arc"),
    ],
)
def test_a_token_says_what_its_role_may_about_what_is_its_own(grant: Grant, message: Message, entity: str, expected: str) -> None:
    assert code(grant, message, entity) == (f"403 {expected}" if expected else "")


def test_a_clients_token_names_its_entities() -> None:
    table = {"sha256": digest("x"), "worlds": ["main"], "says": ["client"]}

    with pytest.raises(BadSettings, match="entities is missing"):
        read({"browser": table}, frozenset())
    (grant,) = read({"browser": {**table, "entities": ["mira"]}}, frozenset())
    assert grant.owns("mira")


def test_another_games_world_is_refused_whatever_the_token_says(monkeypatch: pytest.MonkeyPatch) -> None:
    north = replace(current(), plays=frozenset({"north"}))
    monkeypatch.setattr("worldbus.gateway.events.current", lambda: north)

    assert code(SERVER, PlayerJoined(), "ben") == "403 WORLD_NOT_PLAYED"
