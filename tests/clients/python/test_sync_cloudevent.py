"""The envelope written and read by hand, beside the library's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worldbus_client import BadEvent, Event
from worldbus_client.cloudevent import LAST_SECOND, URL, read, write
from worldbus_client.envelope import pack
from worldbus_client.gen.google.protobuf import Any as AnyMessage
from worldbus_client.gen.io.cloudevents.v1 import CloudEvent
from worldbus_client.gen.io.cloudevents.v1 import CloudEventCloudEventAttributeValue as Attribute
from worldbus_client.gen.worldbus.player.v1 import PlayerJoined

IDS = st.text("abcXYZ019-_.:", min_size=1, max_size=255)
TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=64)
MOMENTS = st.integers(0, (LAST_SECOND + 1) * 1_000_000 - 1)
PAYLOADS = st.binary(max_size=40) | st.integers(0, 70_000).map(bytes)


def by_library(
    *, id: str, subsystem: str, full_name: str, world: str, entity: str, time_us: int, cause: str, correlation: str, payload: bytes
) -> bytes:
    attributes = {"subject": Attribute(ce_string=entity), "world": Attribute(ce_string=world)}
    attributes["time"] = Attribute(ce_timestamp=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us))
    if cause:
        attributes["causationid"] = Attribute(ce_string=cause)
    if correlation:
        attributes["correlationid"] = Attribute(ce_string=correlation)
    held = AnyMessage(type_url=URL + full_name, value=payload)
    event = CloudEvent(id=id, source=f"/worldbus/{subsystem}", spec_version="1.0", type=full_name, attributes=attributes, proto_data=held)
    return bytes(event)


ENVELOPES = st.fixed_dictionaries(
    {
        "id": IDS,
        "subsystem": TOKENS,
        "full_name": st.just("worldbus.player.v1.PlayerJoined"),
        "world": TOKENS,
        "entity": TOKENS,
        "time_us": MOMENTS,
        "cause": st.just("") | IDS,
        "correlation": st.just("") | IDS,
        "payload": PAYLOADS,
    }
)


@given(ENVELOPES)
def test_it_is_written_byte_for_byte_as_the_library_writes_it(about: dict[str, object]) -> None:
    assert write(**about) == by_library(**about)  # type: ignore[arg-type]


@given(ENVELOPES)
def test_what_is_written_is_read_without_the_library(about: dict[str, object]) -> None:
    assert read(write(**about)) == (about["id"], about["full_name"], about["cause"], about["payload"])  # type: ignore[arg-type]


def told(raw: bytes) -> tuple[str, str, object] | None:
    """What an event of these bytes says; None where it says that they are damaged."""
    event = Event(1, "w1", "game", "p", "PlayerJoined", raw)
    try:
        return event.id, event.cause, event.data
    except BadEvent:
        return None


def told_by_library(raw: bytes) -> tuple[str, str, object] | None:
    try:
        event = CloudEvent.parse(raw)
        cause = event.attributes["causationid"].ce_string or "" if "causationid" in event.attributes else ""
        assert event.proto_data is not None
        assert event.type == "worldbus.player.v1.PlayerJoined"
        return event.id, cause, PlayerJoined.parse(event.proto_data.value)
    except Exception:
        return None


VALID = bytes(PlayerJoined(display_name="Ünal", x=2.5))
PLAIN = {
    "id": "i1",
    "subsystem": "game",
    "full_name": "worldbus.player.v1.PlayerJoined",
    "world": "w1",
    "entity": "p",
    "time_us": 1_700_000_000_000_000,
    "cause": "c1",
    "correlation": "",
    "payload": VALID,
}


@given(place=st.integers(0, 400), byte=st.integers(0, 255), length=st.integers(0, 400))
def test_damaged_bytes_say_what_the_library_makes_of_them_or_that_they_are_damaged(place: int, byte: int, length: int) -> None:
    raw = bytearray(write(**PLAIN))  # type: ignore[arg-type]
    raw[place % len(raw)] = byte
    damaged = bytes(raw[: length or None])
    by_hand = read(damaged)
    if by_hand is not None and (of_library := told_by_library(damaged)) is not None:
        assert told(damaged) == of_library
    told(damaged)  # raises nothing but what it promises


@given(st.binary(max_size=200))
@example(b"@\x00")  # a number where the payload belongs
def test_any_bytes_are_read_or_said_to_be_damaged(raw: bytes) -> None:
    assert told(raw) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.attributes.update(sequence=Attribute(ce_integer=7), partitionkey=Attribute(ce_uri="x")),
        lambda event: event.attributes.clear(),
        lambda event: event.attributes.update(causationid=Attribute(ce_integer=7)),
        lambda event: setattr(event, "source", ""),
    ],
)
def test_envelopes_of_other_publishers_say_what_the_library_reads(change: object) -> None:
    event = CloudEvent.parse(write(**PLAIN))  # type: ignore[arg-type]
    change(event)  # type: ignore[operator]
    raw = bytes(event)
    assert told(raw) == told_by_library(raw) is not None
    unknown = raw + b"\x7a\x01x"  # a field of a newer release
    assert told(unknown) == told(raw)


def test_an_envelope_without_a_payload_has_an_id_and_no_data() -> None:
    event = Event(7, "w1", "game", "p", "PlayerJoined", bytes(CloudEvent(id="i1", text_data="words")))
    assert (event.id, event.cause) == ("i1", "")
    with pytest.raises(BadEvent, match="event 7 carries no payload"):
        _ = event.data


@pytest.mark.parametrize("time_ns", [-1, (LAST_SECOND + 1) * 10**9])
def test_a_moment_that_no_timestamp_can_say_is_refused(time_ns: int) -> None:
    with pytest.raises(BadEvent, match="between 1970 and the year 9999"):
        pack("w1", "game", "p", PlayerJoined(), id="", cause="", correlation="", time_ns=time_ns)
