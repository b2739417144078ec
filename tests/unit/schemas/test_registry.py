"""Event types are found by full or simple name, and a wrong name gets help."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from google.protobuf.message import Message

from schemas.errors import UnknownMessage
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked
from schemas.generate import sources
from schemas.registry import GEN, all_events, all_messages, by_name, full_name, message_class, subsystem


def test_a_full_name_leads_to_its_class_and_back() -> None:
    for cls in all_messages():
        assert message_class(full_name(cls)) is cls


def test_nested_messages_are_found_by_full_name() -> None:
    assert message_class("io.cloudevents.v1.CloudEvent.CloudEventAttributeValue") is CloudEvent.CloudEventAttributeValue


def test_a_simple_name_leads_to_the_full_one() -> None:
    assert by_name("EventParked") == by_name("worldbus.runtime.v1.EventParked") == "worldbus.runtime.v1.EventParked"


def test_every_source_is_loaded() -> None:
    loaded = {cls.DESCRIPTOR.file.name for cls in all_messages()}

    assert sorted(loaded) == sources()


def test_simple_names_are_unique_over_all_subsystems() -> None:
    seen = Counter(name for name, _ in {(cls.DESCRIPTOR.name, subsystem(cls)) for cls in all_events()})

    assert [name for name, count in seen.items() if count > 1] == []


def test_the_envelope_and_parts_of_events_are_no_events() -> None:
    names = {full_name(cls) for cls in all_events()}

    assert all(name.startswith("worldbus.") and name.count(".") == 3 and not name.endswith("State") for name in names)
    assert not any(cls.DESCRIPTOR.file.name.endswith("/types.proto") for cls in all_events())
    with pytest.raises(UnknownMessage):
        by_name("io.cloudevents.v1.CloudEvent")


@pytest.mark.parametrize(
    ("asked", "near"),
    [("EventParkd", "EventParked"), ("eventparked", "EventParked"), ("worldbus.runtime.v2.EventParked", "worldbus.runtime.v1.EventParked")],
)
def test_a_wrong_name_gets_the_nearest_right_one(asked: str, near: str) -> None:
    for look_up in (by_name, message_class):
        with pytest.raises(UnknownMessage, match=f"found '{asked}': did you mean {near}") as caught:
            look_up(asked)

        assert caught.value.name == asked
        assert caught.value.suggestions[0] == near
        assert isinstance(caught.value, KeyError)


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownMessage) as caught:
        by_name("zzzzqqqq")

    assert str(caught.value) == "wanted a known event type, found 'zzzzqqqq'"


def test_classes_know_where_they_live() -> None:
    """`pickle`, `repr` and debuggers follow `__module__`; protoc alone would write one that cannot be imported."""
    assert EventParked.__module__ == "schemas.gen.worldbus.runtime.v1.runtime_pb2"
    assert isinstance(EventParked(), Message)


def test_schemas_stand_alone() -> None:
    """A fresh interpreter: `io` stays the standard library's, and no module of `schemas` imports anything else of ours."""
    modules = ", ".join(f"schemas.{path.stem}" for path in sorted(GEN.parent.glob("*.py")) if path.stem != "__init__")
    code = f"import sys, io, {modules}; io.BytesIO(); print(sorted({{'bus', 'handlers', 'projections', 'worldbus'}} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", code], cwd=GEN.parents[1], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
