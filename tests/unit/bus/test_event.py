"""Events and drafts: what is said once stays said, and what is damaged says so when it is looked at."""

from __future__ import annotations

import os

import pytest

from bus.errors import BadEvent, TooLarge, UnknownType
from bus.event import Draft, Event, LaneMark, new_id, output_id
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved


def draft(**fields: object) -> Draft:
    return Draft(**{"data": PlayerMoved(zone="market"), "world": "w", "entity": "p1", "id": "fixed", "time_ns": 1_500_000_000} | fields)  # type: ignore[arg-type]


def test_a_draft_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        draft().id = "other"  # type: ignore[misc] - that is the point


def test_the_bytes_of_an_event_are_these_for_ever() -> None:
    """The log holds them; a change here would make old ids look like other events."""
    wanted = (
        "0a056669786564120e2f776f726c646275732f67616d651a03312e30221e776f726c646275732e706c617965722e76312e506c617965724d6f766564"
        "2a0f0a077375626a65637412041a0270312a0c0a05776f726c6412031a01772a120a0474696d65120a3a0808011080cab5ee01"
        "423e0a32747970652e676f6f676c65617069732e636f6d2f776f726c646275732e706c617965722e76312e506c617965724d6f76656412080a066d61726b6574"
    )

    assert wanted == draft().encode().hex()


def test_an_output_has_the_same_id_whenever_it_is_decided() -> None:
    """A hash that must never change: redelivered inputs are recognised by it."""
    assert "a5186bf71398f8e467616fab9f240600" == output_id("a", "weather", "harbour", 0)
    assert 5 == len(
        {output_id(*key) for key in [("a", "h", "e", 0), ("b", "h", "e", 0), ("a", "i", "e", 0), ("a", "h", "f", 0), ("a", "h", "e", 1)]}
    )


def test_an_event_over_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(TooLarge) as error:
        draft(data=PlayerMoved(zone="x" * 262_144)).encode()

    assert error.value.facts["found"] > error.value.facts["limit"] == 262_144  # type: ignore[operator] - numbers


def test_a_damaged_event_can_be_named_and_not_read() -> None:
    event = Event.stored(b"\xff\xff", "evt.3.w.game.p1.PlayerMoved", 7)

    assert (3, 7, "p1", "PlayerMoved") == (event.partition, event.position, event.entity, event.name)
    with pytest.raises(BadEvent):
        _ = event.data


def test_the_envelope_must_agree_with_its_subject() -> None:
    event = Event.stored(draft().encode(), "evt.3.w.game.p1.PlayerLeft", 7)
    with pytest.raises(BadEvent, match="must agree") as error:
        _ = event.envelope

    assert "TYPE_MISMATCH" == error.value.code


def test_an_unknown_type_is_named_when_its_payload_is_wanted() -> None:
    envelope = CloudEvent.FromString(draft().encode())
    envelope.type = "worldbus.player.v9.PlayerMoved"
    envelope.proto_data.type_url = f"type.googleapis.com/{envelope.type}"
    event = Event.stored(envelope.SerializeToString(), "evt.3.w.game.p1.PlayerMoved", 7)

    assert "fixed" == event.id
    with pytest.raises(UnknownType):
        _ = event.data


@pytest.mark.parametrize("text", ["", "1:2:3", "1:2:3:4:5", "a:b:c:d", "1:2:1:1", "-1:2:0:1", "1:2:-1:1"])
def test_a_lane_mark_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadEvent):
        LaneMark.parse(text)


def test_a_lane_mark_is_read_as_it_is_written() -> None:
    mark = LaneMark(7, 1 << 53, 2, 5)

    assert mark == LaneMark.parse(str(mark))


def test_a_forked_process_does_not_go_on_with_its_parents_ids() -> None:
    reading, writing = os.pipe()
    before = new_id(10**18)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.write(writing, new_id(10**18).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 26).decode()
    os.close(reading)
    os.close(writing)

    assert before[:22] != theirs[:22]
    assert theirs != new_id(10**18)
