"""The test kit itself: a rehearsal keeps the rules of production, and complains as production would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

from bus.event import Event, LaneMark, output_id
from bus.handler import MAX_DEPTH, MAX_OUTPUTS, Handler
from bus.testing import Rehearsal, given
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerLeft, PlayerSeen


@dataclass(frozen=True, slots=True)
class Count:
    seen: int = 0


def counting(
    decide: Callable[[Event, Count], Sequence[Message]],
    *,
    name: str = "counter",
    hears: tuple[type[Message], ...] = (PlayerHeartbeat,),
    concerns: Callable[[Event], Sequence[str]] = lambda event: (event.entity,),
) -> Handler[Count]:
    return Handler(
        name=name,
        listens_to=hears,
        emits=(PlayerSeen,),
        initial=lambda entity: Count(),
        decide=decide,
        evolve=lambda count, event: Count(count.seen + 1),
        entities=concerns,
    )


def twice(event: Event, count: Count) -> Sequence[Message]:
    return PlayerSeen(session=count.seen), PlayerSeen(session=count.seen + 1)


def test_outputs_have_the_ids_causes_and_times_of_production() -> None:
    town = Rehearsal(counting(twice))
    town.say(PlayerHeartbeat(), entity="mira", id="beat", time_ns=7)

    cause, one, other = town.log
    assert [event.id for event in town.log] == ["beat", output_id("beat", "counter", "mira", 0), output_id("beat", "counter", "mira", 1)]
    assert (one.cause, one.correlation, one.depth, one.time_ns, one.subsystem) == ("beat", "beat", 1, 7, "counter")
    assert other.lane == LaneMark(cause.partition, cause.position, 1, 2)
    assert [event.position for event in town.log] == [1, 2, 3]


def test_what_is_said_comes_back_and_can_be_asked_for() -> None:
    handler = counting(twice)
    town = Rehearsal(handler)
    assert town.say(PlayerHeartbeat(), entity="mira") == (PlayerSeen(), PlayerSeen(session=1))
    assert town.say(PlayerHeartbeat(), entity="tam") == (PlayerSeen(), PlayerSeen(session=1))

    assert len(town.said(PlayerSeen)) == 4
    assert town.said(PlayerSeen, PlayerHeartbeat, entity="tam") == (PlayerHeartbeat(), PlayerSeen(), PlayerSeen(session=1))
    assert (town.state(handler, "mira"), town.state(handler, "nobody")) == (Count(2), Count())
    assert town.refold() == {("counter", "mira"): Count(2), ("counter", "tam"): Count(2)}


def test_what_is_not_heard_yet_is_heard_at_the_next_occasion_in_order() -> None:
    town = Rehearsal(counting(lambda event, count: (PlayerSeen(session=count.seen),)))
    assert town.say(PlayerHeartbeat(), entity="mira", hear=False) == ()
    town.say(PlayerHeartbeat(), entity="mira")

    assert [event.name for event in town.log] == ["PlayerHeartbeat"] * 2 + ["PlayerSeen"] * 2
    assert town.said(PlayerSeen) == (PlayerSeen(), PlayerSeen(session=1))


def test_one_event_may_concern_several_lanes_each_once() -> None:
    handler = counting(twice, concerns=lambda event: ("a", "b", "a"))
    town = Rehearsal(handler)
    town.say(PlayerHeartbeat(), entity="mira")

    assert [event.entity for event in town.log] == ["mira", "a", "a", "b", "b"]


def test_a_handler_that_answers_itself_for_ever_is_caught() -> None:
    echo = counting(lambda event, count: (PlayerSeen(),), hears=(PlayerHeartbeat, PlayerSeen))

    with pytest.raises(AssertionError, match=f"chain of {MAX_DEPTH}"):
        Rehearsal(echo).say(PlayerHeartbeat(), entity="mira")


@pytest.mark.parametrize(
    ("said", "words"), [([PlayerSeen()] * (MAX_OUTPUTS + 1), f"at most {MAX_OUTPUTS}"), ([PlayerLeft()], "does not declare PlayerLeft")]
)
def test_what_production_would_park_fails_the_test(said: list[Message], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        Rehearsal(counting(lambda event, count: said)).say(PlayerHeartbeat(), entity="mira")


def test_nobody_speaks_in_a_handlers_name() -> None:
    with pytest.raises(AssertionError, match="only the handler counter"):
        Rehearsal(counting(twice)).say(PlayerSeen(), entity="mira", subsystem="counter")


def test_a_case_fails_on_anything_more_less_or_in_another_order() -> None:
    case = given(counting(twice), entity="mira").when(PlayerHeartbeat())
    case.then(PlayerSeen(), PlayerSeen(session=1)).then_types(PlayerSeen, PlayerSeen).then_state(seen=2)

    wrong: list[Callable[[], Any]] = [
        lambda: case.then(PlayerSeen()),
        lambda: case.then(PlayerSeen(session=1), PlayerSeen()),
        case.then_nothing,
        lambda: case.then_types(PlayerSeen),
        lambda: case.then_state(seen=1),
        lambda: case.when(PlayerLeft()),
    ]
    for claim in wrong:
        with pytest.raises(AssertionError):
            claim()
