"""Rights to ask, and somebody who answers for every request of this world. The exploits by name."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from bus.errors import BadSettings
from bus.handler import of_subject
from bus.testing import given, recorded
from handlers.permissions import ROLES, SPECIAL
from handlers.plausible import implausible, parse
from handlers.rights import HANDLERS, RIGHTS, owner_of, problem, scope
from schemas.gen.worldbus.capability.v1 import capability_pb2 as capability
from schemas.gen.worldbus.capability.v1.types_pb2 import Offer
from schemas.gen.worldbus.coupon.v1.coupon_pb2 import CouponDefinitionRequested
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, GiftGiven, ItemCollected
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemReserveRequested
from schemas.gen.worldbus.models.v1.models_pb2 import ModelAddRequested, RolloutStartRequested
from schemas.gen.worldbus.models.v1.types_pb2 import Stage
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeRequested, CreditRequested, RefundRequested
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryChoiceRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeRequested
from schemas.registry import all_events
from tests.duskmarket import ALL, by_name


def test_every_request_has_a_row_and_somebody_who_answers() -> None:
    handlers = by_name()
    for kind in all_events():
        if kind.DESCRIPTOR.name.endswith("Requested"):
            assert kind in RIGHTS, f"{kind.DESCRIPTOR.full_name} needs a row in handlers/rights.py"
    for kind, right in RIGHTS.items():
        assert not right.answers or kind in handlers[right.answers].listens_to, kind
        assert right.may.keys() <= ROLES


def test_the_rows_name_the_handlers_of_this_world_and_give_them_what_they_emit() -> None:
    assert {handler.name for handler in ALL} == HANDLERS
    assert not HANDLERS & (ROLES | SPECIAL)
    for handler in ALL:
        for kind in handler.emits:
            assert not problem(handler.name, kind.DESCRIPTOR.full_name), (handler.name, kind)


def refused(handler: str, message: Message, entity: str, by: str) -> RequestRefused:
    (answer,) = given(by_name()[handler], entity=entity).when(message, entity=entity, subsystem=by).said
    assert isinstance(answer, RequestRefused)
    return answer


STAGES = [Stage(percent=100, soak_ms=1000)]


@pytest.mark.parametrize(
    ("handler", "message", "entity", "by"),
    [
        pytest.param("coupon", CouponDefinitionRequested(percent=100), "FREE", "game", id="coupon printed by a game server"),
        pytest.param("coupon", CouponDefinitionRequested(percent=100), "FREE", "client", id="coupon printed in a browser"),
        pytest.param("models", RolloutStartRequested(model="m", stages=STAGES), "gold", "game", id="rollout by a game"),
        pytest.param("models", ModelAddRequested(), "gold", "client", id="model by a browser"),
        pytest.param("payment", RefundRequested(purchase_id="p1"), "mira", "game", id="refund anybody"),
        pytest.param("payment", CreditRequested(currency="crowns", amount_minor=1), "mira", "game", id="credit by a game"),
        pytest.param("payment", ChargeRequested(currency="crowns", amount_minor=1), "mira", "client", id="charge by a browser"),
    ],
)
def test_who_may_not_ask_is_refused_by_gate_and_handler_alike(handler: str, message: Any, entity: str, by: str) -> None:
    answer = refused(handler, message, entity, by)

    assert (answer.handler, answer.request, answer.code) == (handler, message.DESCRIPTOR.name, "NOT_ALLOWED")
    assert by in answer.reason
    assert problem(by, message.DESCRIPTOR.full_name), "the gate says the same"


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        pytest.param("inventory", ItemCollected(item="leech-jar", quantity=1_000_000), id="a million jars at once"),
        pytest.param("inventory", ItemCollected(item="leech-jar", quantity=-5), id="less than nothing"),
        pytest.param("quest", CreatureSlain(creature="moor-hound", quantity=2_000_000_000), id="two billion slain"),
        pytest.param("quest", CreatureSlain(creature="moor-hound", quantity=-1), id="raised from the dead"),
        pytest.param("inventory", GiftGiven(npc="widow-hask", item="lantern", value_minor=2**62), id="a priceless lantern"),
    ],
)
def test_what_cannot_be_true_is_refused_and_heard_by_nobody(handler: str, message: Any) -> None:
    assert refused(handler, message, "mira", "game").code == "IMPLAUSIBLE"
    for other in ALL:
        if type(message) in other.listens_to and other.name != handler:
            event = recorded(message, entity="mira")
            assert not [said for lane in other.entities(event) for said in other.decide(event, other.initial(lane))], other.name


def test_who_may_not_ask_and_names_no_owner_is_refused_about_its_own_entity() -> None:
    """Whatever the payload names would be the lane: no lane is called so, and the request would be parked instead of refused."""
    request = ItemReserveRequested(owner="no such > name", reference="r")

    assert tuple(by_name()["inventory"].entities(recorded(request, entity="mira"))) == ("mira",)
    assert refused("inventory", request, "mira", "game").code == "NOT_ALLOWED"


def test_a_handler_of_its_subjects_entities_stays_one_when_it_answers() -> None:
    """The runtime knows it by the function, and then neither asks whom an event concerns nor looks at the log before it is silent."""
    assert by_name()["state"].entities is of_subject


def test_a_table_of_bounds_names_real_fields() -> None:
    for table in (
        {"any": {"CreatureSlane": {"quantity": 1}}},
        {"any": {"CreatureSlain": {"size": 1}}},
        {"any": {"CreatureSlain": {"creature": 1}}},
        {"any": {"PartyFormed": {"members": 1}}},
        {"somebody": {"CreatureSlain": 3}},
    ):
        with pytest.raises(BadSettings):
            parse(table, "bounds.toml")
    bounds = parse({"any": {"CreatureSlain": {"quantity": 9}}, "client": {"CreatureSlain": {"quantity": 2}}}, "bounds.toml")
    three = CreatureSlain(quantity=3)
    assert implausible(bounds, "client", three)
    assert not implausible(bounds, "game", three)


def test_a_service_of_another_source_is_neither_replaced_nor_removed() -> None:
    registry = by_name()["capability"]
    evil = capability.ServiceRegisterRequested(endpoint="http://evil", offers=[Offer(capability="tts")])
    good = capability.ServiceRegisterRequested(endpoint="http://good", offers=[Offer(capability="tts")])
    listed = given(registry, entity="registry").when(good, entity="voice", subsystem="service")

    for theft in (evil, capability.ServiceUnregisterRequested(), capability.ServiceHeartbeat()):
        (no,) = listed.when(theft, entity="voice", subsystem="game").said
        assert no.code == "NOT_YOURS"  # type: ignore[attr-defined]
    listed.when(evil, entity="voice", subsystem="operator").then_types(WakeCancelRequested, capability.ServiceRegistered, WakeRequested)


def test_a_browser_speaks_about_its_own_alone_and_the_studio_about_any() -> None:
    name = RefundRequested.DESCRIPTOR.full_name

    assert scope("client", name) == "own"
    assert scope("operator", name) == "any"
    assert scope("game", capability.ServiceRegisterRequested.DESCRIPTOR.full_name) == "own"
    choice = StoryChoiceRequested(player="ben", choice="c")
    assert owner_of(choice.DESCRIPTOR.full_name, "arc", choice) == "ben"
