"""Recorded events read for ever as they did on the day they were recorded, by both codecs."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict

from schemas.record import Recorded, gaps, load
from schemas.registry import all_events, message_class
from worldbus_client.received import class_of

CORPUS = load()
TYPES = sorted({entry.type for entry in CORPUS})
by_type = pytest.mark.parametrize("name", TYPES)


def of_type(name: str) -> list[Recorded]:
    return [entry for entry in CORPUS if entry.type == name]


@by_type
def test_recorded_bytes_mean_what_they_meant(name: str) -> None:
    for entry in of_type(name):
        entry.read()  # raises BadCorpus


@by_type
def test_recorded_json_is_accepted_and_means_the_same(name: str) -> None:
    for entry in of_type(name):
        assert ParseDict(entry.meaning, message_class(name)()) == entry.read()


@pytest.mark.parametrize("name", [name for name in TYPES if name.startswith("worldbus.")])
def test_recorded_bytes_pass_through_both_codecs_unchanged(name: str) -> None:
    for entry in of_type(name):
        assert entry.read().SerializeToString(deterministic=True) == entry.raw
        assert bytes(class_of(name).parse(entry.raw)) == entry.raw


def test_every_field_of_every_event_type_is_recorded() -> None:
    """Next step when this fails: `python -m schemas.record`."""
    assert {cls.DESCRIPTOR.full_name: found for cls in all_events() if (found := gaps(cls, CORPUS))} == {}
