"""The envelope: one CloudEvents 1.0 protobuf message per event, as every publisher of the bus writes it."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import NamedTuple

import betterproto2

from schemas.gen_better.google.protobuf import Any as AnyMessage
from schemas.gen_better.io.cloudevents.v1 import CloudEvent
from schemas.gen_better.io.cloudevents.v1 import CloudEventCloudEventAttributeValue as Attribute
from schemas.gen_better.message_pool import default_message_pool
from worldbus_client.errors import BadEvent
from worldbus_client.rules import MAX_EVENT, check_id, check_payload, check_token

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - engines' Pythons may be older than 3.11
_counter = count(int.from_bytes(os.urandom(2), "big"))


def _digits(value: int, length: int) -> str:
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(length)))


def new_id() -> str:
    """A fresh id: 10 characters of milliseconds, 12 of randomness, 4 of a count, so that ids sort by time."""
    return _digits(time.time_ns() // 1_000_000, 10) + _digits(int.from_bytes(os.urandom(8), "big"), 12) + _digits(next(_counter), 4)


class Parcel(NamedTuple):
    """What goes out for one event."""

    id: str
    subject: str
    payload: bytes


def pack(
    world: str, subsystem: str, entity: str, message: betterproto2.Message, *, id: str, cause: str, correlation: str, time_ns: int
) -> Parcel:
    """Check and encode one event. Raises `BadEvent`."""
    check_token(entity, "entity")
    for name, value in (("id", id), ("cause", cause), ("correlation", correlation)):
        if value:
            check_id(value, name)
    url = default_message_pool.type_to_url.get(type(message))
    if url is None:
        raise BadEvent(f"wanted an event of schemas.gen_better.worldbus.*, found a {type(message).__module__}.{type(message).__qualname__}")
    check_payload(message)
    full_name = url.rpartition("/")[2]
    attributes = {"subject": Attribute(ce_string=entity), "world": Attribute(ce_string=world)}
    attributes["time"] = Attribute(ce_timestamp=_EPOCH + timedelta(microseconds=(time_ns or time.time_ns()) // 1000))
    if cause:
        attributes["causationid"] = Attribute(ce_string=cause)
    if correlation:
        attributes["correlationid"] = Attribute(ce_string=correlation)
    event_id = id or new_id()
    try:
        raw = bytes(
            CloudEvent(
                id=event_id,
                source=f"/worldbus/{subsystem}",
                spec_version="1.0",
                type=full_name,
                attributes=attributes,
                proto_data=AnyMessage(type_url=url, value=bytes(message)),
            )
        )
    except (TypeError, ValueError, AttributeError) as error:  # a field that was given a value of another type
        raise BadEvent(f"{full_name} cannot be encoded: {error}") from error
    if len(raw) > MAX_EVENT:
        raise BadEvent(f"event {full_name} of {len(raw)} bytes, wanted at most {MAX_EVENT}: send a reference instead")
    return Parcel(event_id, f"evt.{world}.{subsystem}.{entity}.{full_name.rpartition('.')[2]}", raw)
