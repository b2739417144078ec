"""Refused decisions: undeclared, too many, or the next hop of a chain without an end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.message import Message

from bus.decision import decide
from bus.errors import BrokenRule
from bus.event import Draft, Event
from bus.handler import MAX_DEPTH, MAX_OUTPUTS, Handler
from bus.lane import Lane
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerHeartbeat, PlayerMoved


def _answer(event: Event, state: int) -> Sequence[Message]:
    zone: str = event.data.zone  # type: ignore[attr-defined]
    return [PlayerHeartbeat()] if zone == "undeclared" else [PlayerEnteredZone(zone=zone)] * (int(zone) if zone.isdigit() else 1)


echo = Handler(
    name="echo",
    listens_to=(PlayerMoved, PlayerEnteredZone),
    emits=(PlayerEnteredZone,),
    initial=lambda entity: 0,
    decide=_answer,
    evolve=lambda state, event: state + 1,
)


def moved(zone: str = "quay", depth: int = 0) -> Event:
    draft = Draft(data=PlayerMoved(zone=zone), world="w", entity="a", id="in", depth=depth)
    return Event(raw=draft.encode(), subject=draft.subject, partition=1, position=9)


def answered(event: Event) -> list[Draft]:
    return decide(Lane(echo, "w", "a", 8), event)


def test_an_answer_is_one_hop_further_from_the_root_than_its_input() -> None:
    assert [draft.depth for draft in answered(moved(depth=3))] == [4]
    assert [draft.depth for draft in answered(moved(depth=MAX_DEPTH - 1))] == [MAX_DEPTH]


def test_a_chain_without_an_end_is_cut() -> None:
    """Two handlers that answer each other would fill the log."""
    with pytest.raises(BrokenRule, match=f"is {MAX_DEPTH} hops from its root") as cut:
        answered(moved(depth=MAX_DEPTH))

    assert cut.value.code == "LOOP_GUARD"
    assert cut.value.facts == {"depth": MAX_DEPTH, "root": "in"}


def test_silence_ends_a_chain_of_any_length() -> None:
    assert answered(moved("0", depth=MAX_DEPTH + 1)) == []


def test_so_many_outputs_are_one_decision_and_no_more() -> None:
    assert len(answered(moved(str(MAX_OUTPUTS)))) == MAX_OUTPUTS
    with pytest.raises(BrokenRule, match=f"wanted at most {MAX_OUTPUTS}"):
        answered(moved(str(MAX_OUTPUTS + 1)))


def test_what_was_not_declared_is_not_said() -> None:
    with pytest.raises(BrokenRule, match="PlayerHeartbeat, which it does not declare"):
        answered(moved("undeclared"))
