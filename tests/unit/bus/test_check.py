"""The rules at the edge, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import DoubleValue, StringValue

from bus.check import (
    FIRST_SECOND,
    LAST_SECOND,
    LONGEST_S,
    check_attributes,
    check_id,
    check_line,
    check_payload,
    check_shown,
    check_stored,
    check_time,
    check_type,
)
from bus.envelope import NANOS
from bus.errors import BadEvent, BadSubject, Rejected, UnknownType
from bus.event import Draft
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerMoved
from schemas.gen.worldbus.state.v1.state_pb2 import StateChangeRequested, StateSnapshotTaken
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from schemas.gen.worldbus.weather.v1.types_pb2 import ForecastStep
from schemas.gen.worldbus.weather.v1.weather_pb2 import ForecastIssued


def refused(message: object) -> str:
    with pytest.raises(Rejected) as error:
        check_payload(message, message.SerializeToString())  # type: ignore[arg-type, attr-defined] - any message
    return error.value.code


def test_a_float_that_is_a_number_may_contain_zero_bytes() -> None:
    """Zero bytes in the encoding alone are no NUL in a text."""
    for value in (0.5, 1.0, -0.0, 1e-300, 1.7e308):
        check_payload(PlayerMoved(zone="z", x=value), PlayerMoved(zone="z", x=value).SerializeToString())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["x", "y", "z"])
def test_every_float_field_is_looked_at(name: str, value: float) -> None:
    assert "NOT_FINITE" == refused(PlayerMoved(**{name: value}))  # type: ignore[arg-type] - x, y or z


def test_an_empty_event_is_an_event() -> None:
    check_payload(PlayerHeartbeat(), b"")


def test_a_message_that_is_no_event_is_refused() -> None:
    assert "UNKNOWN_TYPE" == refused(CloudEvent(id="x"))


@pytest.mark.parametrize(
    ("message", "code", "path"),
    [
        (StateSnapshotTaken(values={"hp": StateValue(number=float("nan"))}), "NOT_FINITE", "StateSnapshotTaken.values['hp'].number"),
        (
            StateSnapshotTaken(values={"ok": StateValue(number=1.0), "name": StateValue(text="a\0")}),
            "BAD_TEXT",
            "StateSnapshotTaken.values['name'].text",
        ),
        (StateSnapshotTaken(values={"a\0b": StateValue(flag=True)}), "BAD_TEXT", "StateSnapshotTaken.values"),
        (StateChangeRequested(remove=["fine", "not\0fine"]), "BAD_TEXT", "StateChangeRequested.remove"),
        (ForecastIssued(steps=[ForecastStep(), ForecastStep(intensity=float("inf"))]), "NOT_FINITE", "ForecastIssued.steps[1].intensity"),
    ],
)
def test_what_is_wrong_deep_inside_is_named_by_its_path(message: Message, code: str, path: str) -> None:
    with pytest.raises(BadEvent) as error:
        check_payload(message, message.SerializeToString())

    assert (code, path) == (error.value.code, error.value.facts["path"])


def test_nested_numbers_that_are_finite_pass() -> None:
    whole = StateSnapshotTaken(values={"hp": StateValue(number=0.25), "name": StateValue(text="Mira"), "zero": StateValue(integer=0)})

    check_payload(whole, whole.SerializeToString())


@pytest.mark.parametrize("value", ["x", "a" * 255, "!", "~", "urn:uuid:1-2", "01m81nahqc8gcxqqr375901djj"])
def test_ids_of_other_systems_are_taken(value: str) -> None:
    assert value == check_id(value)


@pytest.mark.parametrize(
    ("value", "code"), [("", "MISSING_ATTRIBUTE"), ("a" * 256, "BAD_HEADER"), ("a b", "BAD_HEADER"), ("é", "BAD_HEADER")]
)
def test_ids_that_cannot_be_a_header_are_refused(value: str, code: str) -> None:
    with pytest.raises(BadEvent) as error:
        check_id(value)

    assert code == error.value.code


def test_lines_may_be_any_language_but_one_line() -> None:
    assert "grüße 世界 🐍" == check_line("grüße 世界 🐍", "traceparent")
    for value in ("a\nb", "\x7f", "\0"):
        with pytest.raises(BadEvent, match="control characters"):
            check_line(value, "traceparent")


def test_the_first_and_the_last_moment_of_the_calendar() -> None:
    first, last = -62_135_596_800 * NANOS, 253_402_300_800 * NANOS - 1

    assert (first, last) == (check_time(first), check_time(last))
    for beyond in (first - 1, last + 1):
        with pytest.raises(BadEvent, match="years 1 to 9999"):
            check_time(beyond)


def test_types_by_full_and_by_simple_name() -> None:
    assert "worldbus.player.v1.PlayerMoved" == check_type("PlayerMoved") == check_type("worldbus.player.v1.PlayerMoved")
    with pytest.raises(UnknownType, match="did you mean"):
        check_type("playermoved")
    with pytest.raises(UnknownType, match="unsupported version") as error:
        check_type("worldbus.player.v9.PlayerMoved")
    assert "UNSUPPORTED_VERSION" == error.value.code


@pytest.mark.parametrize("subject", ["evt.w.s.e", "evt.0.w.s.e.N.x", "evt.x.w.s.e.N", "sig.w.s.e.N", "evt.w.s..N", "evt.w.*.e.N", ""])
def test_subjects_that_the_log_does_not_have(subject: str) -> None:
    with pytest.raises(BadSubject):
        check_stored(subject)


@pytest.mark.parametrize("lane", ["0:1:0:1", "7:9007199254740993:2:3"])
def test_lane_marks_that_a_fold_can_read(lane: str) -> None:
    check_attributes(Draft(data=PlayerMoved(), world="w", entity="e", lane=lane))


def _stamped(seconds: int, nanos: int) -> CloudEventBatch:
    """A moment inside a message, a map and a list."""
    batch = CloudEventBatch(events=[CloudEvent(id="a"), CloudEvent(id="b")])
    batch.events[1].attributes["time"].ce_timestamp.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
    return batch


def _packed(message: Message, deep: int = 1) -> Any:
    found: Any = message
    for _ in range(deep):
        holder = AnyMessage()
        holder.Pack(found)
        found = holder
    return found


IMPOSSIBLE: list[tuple[Message, str, str]] = [
    (_stamped(1_796_001_898_136, 0), "OUT_OF_RANGE", "x.events[1].attributes['time'].ce_timestamp"),
    (_stamped(LAST_SECOND + 1, 0), "OUT_OF_RANGE", "x.events[1].attributes['time'].ce_timestamp"),
    (_stamped(FIRST_SECOND - 1, 999_999_999), "OUT_OF_RANGE", "x.events[1].attributes['time'].ce_timestamp"),
    (_stamped(0, -1), "OUT_OF_RANGE", "x.events[1].attributes['time'].ce_timestamp"),
    (_stamped(0, 1_000_000_000), "OUT_OF_RANGE", "x.events[1].attributes['time'].ce_timestamp"),
    (_stamped(-(1 << 63), 0), "OUT_OF_RANGE", "x.events[1].attributes['time'].ce_timestamp"),
    (Duration(seconds=LONGEST_S + 1), "OUT_OF_RANGE", "x"),
    (Duration(seconds=-LONGEST_S - 1), "OUT_OF_RANGE", "x"),
    (Duration(seconds=1, nanos=-1), "OUT_OF_RANGE", "x"),
    (Duration(nanos=1_000_000_000), "OUT_OF_RANGE", "x"),
    (_packed(Timestamp(seconds=1 << 62)), "OUT_OF_RANGE", "x.value"),
    (_packed(_stamped(1 << 62, 0), 3), "OUT_OF_RANGE", "x.value.value.value.events[1].attributes['time'].ce_timestamp"),
    (AnyMessage(type_url="type.googleapis.com/com.example.Unknown"), "UNKNOWN_TYPE", "x"),
    (AnyMessage(type_url="type.googleapis.com/google.protobuf.Timestamp", value=b"\xff"), "BAD_PAYLOAD", "x"),
    (Value(number_value=float("nan")), "NOT_FINITE", "x.number_value"),
    (DoubleValue(value=float("inf")), "NOT_FINITE", "x.value"),
    (StringValue(value="a\0b"), "BAD_TEXT", "x.value"),
    (FieldMask(paths=["camelCase"]), "BAD_PAYLOAD", "x"),
    (_packed(Timestamp(), 40), "TOO_DEEP", "x" + ".value" * 32),
]


@pytest.mark.parametrize(("message", "code", "path"), IMPOSSIBLE)
def test_what_json_cannot_say_is_refused_wherever_it_is(message: Message, code: str, path: str) -> None:
    with pytest.raises(BadEvent) as refused:
        check_shown(message, "x")

    assert (refused.value.code, refused.value.facts["path"]) == (code, path)
    assert path[:200] in str(refused.value)


@pytest.mark.parametrize(
    "message",
    [
        _stamped(FIRST_SECOND, 0),
        _stamped(LAST_SECOND, 999_999_999),
        Duration(seconds=LONGEST_S),
        Duration(seconds=-1, nanos=-999_999_999),
        _packed(Timestamp(seconds=5), 20),
        AnyMessage(),
        Value(),
        FieldMask(paths=["a.b_c"]),
    ],
)
def test_what_json_can_say_passes(message: Message) -> None:
    check_shown(message, "x")
    json_format.MessageToJson(message)
