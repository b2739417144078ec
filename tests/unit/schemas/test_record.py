"""The corpus grows by itself, never changes, and its examples set every field."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.message import Message

from schemas.errors import BadCorpus
from schemas.examples import example
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventDeferred, EventParked
from schemas.record import Recorded, add, forget, gaps, load, missing
from schemas.registry import all_events

PARKED = Recorded.of(EventParked(handler="weather", position=7))


def test_an_example_sets_every_field_and_is_always_the_same() -> None:
    for cls in all_events():
        found = example(cls)
        unset = {field.name for field in cls.DESCRIPTOR.fields} - {field.name for field, _ in found.ListFields()}

        assert found == example(cls)
        assert not {name for name in unset if cls.DESCRIPTOR.fields_by_name[name].containing_oneof is None}, cls


def test_an_example_takes_the_case_that_was_asked_for() -> None:
    assert example(CloudEvent).WhichOneof("data") == "binary_data"
    assert example(CloudEvent, prefer=["text_data"]).WhichOneof("data") == "text_data"


def test_a_line_reads_back_as_it_was() -> None:
    assert Recorded.parse(PARKED.line()) == PARKED
    assert PARKED.read() == EventParked(handler="weather", position=7)


def test_events_are_added_once_and_at_the_end(tmp_path: Path) -> None:
    deferred = Recorded.of(EventDeferred(handler="weather"))

    assert add([PARKED, deferred, PARKED], tmp_path) == 2
    assert add([PARKED, Recorded.of(EventParked(handler="time"))], tmp_path) == 1
    assert [one.meaning["handler"] for one in load(tmp_path)] == ["weather", "weather", "time"]
    assert [path.name for path in tmp_path.iterdir()] == ["worldbus.runtime.v1.jsonl"]


def test_what_is_missing_closes_every_gap_and_nothing_more() -> None:
    wanted = list(missing([]))

    assert {cls.DESCRIPTOR.full_name for cls in all_events()} == {one.type for one in wanted}
    assert all(gaps(cls, wanted) == [] for cls in all_events())
    assert list(missing(wanted)) == []


def test_gaps_are_named() -> None:
    assert gaps(EventDeferred, []) == ["(no event)"]
    assert gaps(EventDeferred, [Recorded.of(EventDeferred(handler="weather", position=7))]) == ["partition", "event_id", "type"]


def broken(cls: type[Message], raw: bytes, meaning: dict[str, str]) -> Recorded:
    return Recorded(type=cls.DESCRIPTOR.full_name, raw=raw, meaning=meaning)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (Recorded(type="worldbus.gone.v1.Gone", raw=b"", meaning={}), r"a recorded worldbus.gone.v1.Gone cannot be read any more"),
        (broken(EventParked, b"\x0a\xff", {}), r"a recorded worldbus.runtime.v1.EventParked cannot be read any more"),
        (broken(EventParked, b"", {"handler": "weather"}), r"changed its meaning: wanted {'handler': 'weather'}, found {}"),
    ],
    ids=["type", "bytes", "meaning"],
)
def test_an_event_that_no_longer_reads_as_recorded_is_refused(entry: Recorded, line: str, tmp_path: Path) -> None:
    with pytest.raises(BadCorpus, match=line):
        entry.read()

    add([entry, PARKED], tmp_path)
    assert forget(tmp_path) == 1
    assert load(tmp_path) == [PARKED]
