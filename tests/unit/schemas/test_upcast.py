"""Old types are read as the newest, over any number of steps."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bus.event import Event
from bus.subjects import Subject
from schemas.errors import BadUpcast
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventDeferred, EventParked, LaneInputRetried
from schemas.upcast import Upcast, Upcasters, upcast


def weather(version: int, *fields: tuple[str, str]) -> type[Message]:
    """The class worldbus.test.v<version>.WeatherChanged with these fields, as a later release might declare it."""
    file = FileDescriptorProto(name=f"worldbus/test/v{version}/test.proto", package=f"worldbus.test.v{version}", syntax="proto3")
    message = file.message_type.add(name="WeatherChanged")
    for number, (name, kind) in enumerate(fields, 1):
        message.field.add(name=name, number=number, type=f"TYPE_{kind}", label="LABEL_OPTIONAL")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"worldbus.test.v{version}.WeatherChanged"))


V1 = weather(1, ("sky", "STRING"), ("celsius", "DOUBLE"))
V2 = weather(2, ("sky", "STRING"), ("kelvin", "DOUBLE"))
V3 = weather(3, ("sky", "STRING"), ("kelvin", "DOUBLE"), ("cloudy", "BOOL"))


def to_kelvin(old: Any) -> Message:
    return V2(sky=old.sky, kelvin=old.celsius + 273.15)


def with_clouds(old: Any) -> Message:
    return V3(sky=old.sky, kelvin=old.kelvin, cloudy=old.sky != "clear")


UPCASTERS = Upcasters([Upcast(V2, V3, with_clouds), Upcast(V1, V2, to_kelvin)])
NAME = "worldbus.test.v{}.WeatherChanged".format


def test_every_step_on_the_way_is_applied() -> None:
    old = V1(sky="rain", celsius=10.0)

    assert UPCASTERS.upcast(NAME(1), old) == V3(sky="rain", kelvin=283.15, cloudy=True)
    assert UPCASTERS.upcast(NAME(2), V2(sky="clear", kelvin=1.0)) == V3(sky="clear", kelvin=1.0, cloudy=False)
    assert old == V1(sky="rain", celsius=10.0), "the old message is left as it is"


def test_todays_types_are_handed_back_untouched() -> None:
    message = V3(sky="fog")

    assert UPCASTERS.upcast(NAME(3), message) is message
    assert upcast(NAME(3), message) is message


def test_the_newest_type_is_known_without_a_message() -> None:
    assert [UPCASTERS.newest(NAME(version)) for version in (1, 2, 3)] == [NAME(3)] * 3


def test_two_ways_out_of_one_type_are_refused() -> None:
    with pytest.raises(BadUpcast, match=r"wanted one step from worldbus.test.v1.WeatherChanged, found two"):
        Upcasters([Upcast(V1, V2, to_kelvin), Upcast(V1, V3, with_clouds)])


def test_a_ring_is_refused() -> None:
    with pytest.raises(BadUpcast, match="come back to where they began"):
        Upcasters([Upcast(V1, V2, to_kelvin), Upcast(V2, V1, to_kelvin)])


def test_a_step_that_returns_something_else_is_refused() -> None:
    broken = Upcasters([Upcast(V1, V3, to_kelvin)])

    with pytest.raises(BadUpcast, match=r"promised worldbus.test.v3.WeatherChanged, returned WeatherChanged"):
        broken.upcast(NAME(1), V1())


def test_an_event_from_the_log_is_read_in_its_newest_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds an `Event`, also one that is read again because it was parked, sees the newest type."""
    from bus.event import Draft

    steps = Upcasters([Upcast(EventDeferred, LaneInputRetried, lambda old: LaneInputRetried(handler=old.handler, position=old.position))])
    monkeypatch.setattr("bus.event.upcast", steps.upcast)
    draft = Draft(data=EventDeferred(handler="weather", position=7), world="w", entity="e")

    event = Event(raw=draft.encode(), subject=Subject("w", "game", "e", "EventDeferred"), partition=0, position=9)

    assert event.data == LaneInputRetried(handler="weather", position=7)
    assert event.type == "worldbus.runtime.v1.EventDeferred", "what was recorded stays visible"
    assert not isinstance(event.data, EventParked)


def test_the_names_under_which_a_type_was_recorded_are_those_of_every_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas import upcast as upcasting

    steps = Upcasters([Upcast(EventDeferred, EventParked, EventParked), Upcast(EventParked, LaneInputRetried, LaneInputRetried)])
    monkeypatch.setattr(upcasting, "_SHIPPED", steps)

    assert upcasting.recorded_names((LaneInputRetried,)) == {"LaneInputRetried", "EventParked", "EventDeferred"}
    assert upcasting.names_through("worldbus.runtime.v1.EventParked") == {"EventParked", "EventDeferred"}
    assert upcasting.names_through("worldbus.runtime.v1.EventDeferred") == {"EventDeferred"}
    assert [upcasting.read_as(name) for name in ("EventDeferred", "EventParked", "LaneInputRetried", "Other")] == [
        "LaneInputRetried",
        "LaneInputRetried",
        "LaneInputRetried",
        "Other",
    ]
    with pytest.raises(BadUpcast, match=r"nothing is read as worldbus.runtime.v1.EventParked any more"):
        upcasting.recorded_names((EventParked,))


def test_versions_of_one_name_are_recorded_under_that_name() -> None:
    assert UPCASTERS.recorded((V3,)) == {"WeatherChanged"}
    assert UPCASTERS.renamed == {}
