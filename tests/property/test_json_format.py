"""Laws of the JSON form: what is written is read back as the same event, and no text breaks the reader."""

from __future__ import annotations

import contextlib
import json

import pytest
from google.protobuf import json_format
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.check import MAX_DEPTH
from bus.envelope import NANOS
from bus.errors import BadEvent, Rejected
from bus.event import Draft, Event
from bus.json_format import format_time, from_json, parse, parse_time, to_json
from bus.json_payload import _plain
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from schemas.registry import all_messages
from tests.property.test_envelope import drafts

TIMES = st.integers(-62_135_596_800 * NANOS, 253_402_300_800 * NANOS - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(drafts())
def test_an_event_written_as_json_is_read_back_as_the_same_event(draft: Draft) -> None:
    event = Event.stored(draft.encode(), f"evt.0.{'.'.join(draft.subject)}", 7, 5)
    again = from_json(to_json(event))

    assert draft == again
    assert draft.encode() == again.encode()


@given(TIMES)
def test_times_keep_every_nanosecond(ns: int) -> None:
    assert ns == parse_time(format_time(ns))


@given(JSON)
def test_strict_reading_agrees_with_lenient_reading_where_both_read(value: object) -> None:
    text = json.dumps(value)
    refused = ""
    try:
        assert json.loads(text) == parse(text)
    except BadEvent as error:
        refused = error.code

    assert refused in ("", "BAD_TEXT")  # NUL is valid JSON; Postgres cannot hold it


@given(st.text(max_size=200) | st.binary(max_size=200) | JSON.map(json.dumps))
@example("[" * 100_000)
@example('{"a":' * 50_000)
@example('"\\ud800"')
@example("\ufeff{}")
@example('{"type":{},"data":[]}')
def test_no_text_breaks_the_reader(raw: str | bytes) -> None:
    with pytest.raises(Rejected):
        from_json(raw)


@given(drafts(), st.data())
def test_a_damaged_document_is_refused_or_is_another_event(draft: Draft, data: st.DataObject) -> None:
    text = to_json(Event.stored(draft.encode(), f"evt.0.{'.'.join(draft.subject)}", 7, 5))
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.sampled_from(["", "\0", '"', "{", "}", ",", "9", "\\", "e", "-", "\ud800"])) + text[at + 1 :]
    with contextlib.suppress(Rejected):
        from_json(damaged)


@given(
    drafts(),
    JSON,
    st.sampled_from(["id", "type", "subject", "world", "time", "data", "depth", "deadline", "source", "extra", "causationid"]),
)
def test_any_value_in_any_attribute_is_taken_or_refused(draft: Draft, value: object, name: str) -> None:
    document = json.loads(to_json(Event.stored(draft.encode(), f"evt.0.{'.'.join(draft.subject)}", 7, 5)))
    document[name] = value
    with contextlib.suppress(Rejected):
        from_json(json.dumps(document))


@settings(deadline=None)  # the registry is read at the first example
@given(st.text(st.sampled_from('[]{}"\\\\ab'), max_size=12), st.integers(1, 40), st.sampled_from(["[]", "{}"]))
def test_brackets_inside_texts_are_no_depth_and_depth_is_never_missed(text: str, depth: int, kind: str) -> None:
    value: object = text
    for _ in range(depth):
        value = [text, value, text] if kind == "[]" else {text: 1, "inner" + text: value}
    document = json.dumps({"filler": ["{}", "[]"] * 20, "value": value})
    if depth + 1 > MAX_DEPTH:
        with pytest.raises(BadEvent) as error:
            parse(document)
        assert error.value.code == "TOO_DEEP"
    else:
        assert parse(document)["value"] == value


MESSAGES = {cls.DESCRIPTOR.full_name: cls for cls in all_messages() if cls.DESCRIPTOR.fields}
ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just([1])
)


@settings(deadline=None)  # the registry is read at the first example
@given(st.data(), st.sampled_from(sorted(MESSAGES)))
def test_plain_fields_are_read_as_protobufs_own_mapping_reads_them(data: st.DataObject, name: str) -> None:
    names = [field.name for field in MESSAGES[name].DESCRIPTOR.fields]
    value = data.draw(st.dictionaries(st.sampled_from(names), ODD, max_size=4))
    plain = _plain(name, value)
    if plain is not None:
        assert plain == json_format.ParseDict(value, MESSAGES[name](), max_recursion_depth=MAX_DEPTH)


def test_most_events_are_plain() -> None:
    assert _plain("worldbus.player.v1.PlayerMoved", {"zone": "quay", "x": 1, "y": 2.5}) == PlayerMoved(zone="quay", x=1, y=2.5)
    assert _plain("worldbus.player.v1.PlayerMoved", {"zone": 5}) is None
    assert _plain("worldbus.player.v1.PlayerMoved", {"nosuch": 5}) is None
