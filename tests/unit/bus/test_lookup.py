"""The one meaning of "the same event"."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from bus.draft import Now, now
from bus.event import Draft, Event
from bus.json_format import to_dict
from bus.lookup import differences, id_reused, quick_id
from bus.publication import pack
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined

FIRST = Draft(data=PlayerJoined(zone="quay"), world="w", entity="mira", id="e1", time_ns=1_795_348_800_250_000_000, cause="c")
STORED = Event.stored(FIRST.encode(), "evt.3.w.game.mira.PlayerJoined", 7, 5)
AS_JSON = Event.stored(json.dumps(to_dict(STORED)).encode(), "evt.3.w.game.mira.PlayerJoined", 7, 5)


def differing(event: Event = STORED, **changes: Any) -> list[str]:
    return differences(event, pack(replace(FIRST, **changes), 1 << 20))


@pytest.mark.parametrize("event", [STORED, AS_JSON])
def test_a_repetition_is_the_same_event_in_any_format_and_at_any_time_of_our_clock(event: Event) -> None:
    assert differing(event) == []
    assert differing(event, time_ns=now()) == []


@pytest.mark.parametrize("event", [STORED, AS_JSON])
@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"data": PlayerJoined(zone="moor")}, ["data"]),
        ({"time_ns": 5}, ["time"]),
        ({"entity": "oto"}, ["subject"]),
        ({"world": "v"}, ["subject"]),
        ({"subsystem": "tools"}, ["subject"]),
        ({"id": "e2"}, ["id"]),
        ({"cause": ""}, ["causationid"]),
        ({"tracestate": "a=1", "origin": "urn:x"}, ["origin", "tracestate"]),
        ({"extensions": (("sequence", 1),), "depth": 3}, ["depth", "sequence"]),
        ({"deadline_ns": 9, "data": PlayerJoined()}, ["data", "deadline"]),
    ],
)
def test_whatever_was_said_otherwise_is_named(event: Event, changes: dict[str, Any], names: list[str]) -> None:
    assert differing(event, **changes) == names


def test_the_error_says_where_the_first_is_and_what_differs() -> None:
    error = id_reused("e1", STORED, pack(replace(FIRST, data=PlayerJoined(), depth=2), 1 << 20))

    assert "at position 7 (w.game.mira.PlayerJoined), which differs in data, depth; nothing was recorded" in str(error)
    assert (error.facts, "new id" in str(error)) == ({"id": "e1", "position": 7}, False)


def test_a_time_that_nobody_gave_stays_marked_and_one_that_was_given_is_not() -> None:
    draft = Draft(data=PlayerJoined(), world="w", entity="e")

    assert draft.timeless
    assert replace(draft, id="x").timeless
    assert not replace(draft, time_ns=int(draft.time_ns)).timeless
    assert isinstance(draft.time_ns, Now)
    assert draft.encode() == replace(draft, time_ns=int(draft.time_ns)).encode()


@pytest.mark.parametrize("event", [STORED, AS_JSON, Event.stored(b"\n" + AS_JSON.raw, "evt.3.w.game.mira.PlayerJoined", 7, 5)])
def test_the_quick_way_to_an_id_is_the_right_one(event: Event) -> None:
    assert quick_id(event) == event.id == "e1"


def test_an_event_in_binary_mode_is_not_taken_for_an_envelope() -> None:
    header = b"NATS/1.0\r\nce-id: e9\r\nce-type: PlayerJoined\r\ncontent-type: application/protobuf\r\n\r\n"
    event = Event.stored(PlayerJoined(display_name="Mira").SerializeToString(), "evt.3.w.game.mira.PlayerJoined", 7, 5, header)

    assert event.raw[0] == 10
    assert quick_id(event) == event.id == "e9"
