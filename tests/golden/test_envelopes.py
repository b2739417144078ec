"""Recorded envelopes, as the bus once wrote them, are read for ever, and are written again byte for byte.

A decision that was cut short by a crash is made again, perhaps by a newer version: its outputs have to be the bytes already in the log.
"""

from __future__ import annotations

import pytest

from bus.envelope import NANOS, decode, encode
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.record import Recorded, load
from worldbus_client.received import class_of

ENVELOPES = [entry for entry in load() if entry.type == "io.cloudevents.v1.CloudEvent"]
every_envelope = pytest.mark.parametrize("entry", ENVELOPES, ids=range(len(ENVELOPES)))


def text(event: CloudEvent, name: str) -> str:
    return event.attributes[name].ce_string if name in event.attributes else ""


def moment(event: CloudEvent, name: str) -> int:
    if name not in event.attributes:
        return 0
    stamp = event.attributes[name].ce_timestamp
    return stamp.seconds * NANOS + stamp.nanos


def test_envelopes_are_recorded() -> None:
    assert len(ENVELOPES) >= 4


@every_envelope
def test_a_recorded_envelope_means_what_it_meant(entry: Recorded) -> None:
    assert decode(entry.raw) == entry.read()


@every_envelope
def test_the_same_event_is_written_with_the_same_bytes(entry: Recorded) -> None:
    event = decode(entry.raw)

    again = encode(
        id=event.id,
        source=event.source,
        type_name=event.type,
        world=text(event, "world"),
        entity=text(event, "subject"),
        time_ns=moment(event, "time"),
        data=event.proto_data.value,
        cause=text(event, "causationid"),
        correlation=text(event, "correlationid"),
        lane=text(event, "lane"),
        depth=event.attributes["depth"].ce_integer if "depth" in event.attributes else 0,
        deadline_ns=moment(event, "deadline"),
        traceparent=text(event, "traceparent"),
        producer_version=text(event, "producerversion"),
    )

    assert again == entry.raw


@every_envelope
def test_the_second_codec_reads_the_same_envelope(entry: Recorded) -> None:
    twin = class_of(entry.type).parse(entry.raw)

    assert CloudEvent.FromString(bytes(twin)) == decode(entry.raw)
