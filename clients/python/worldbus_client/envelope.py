"""The envelope: one CloudEvents 1.0 protobuf message per event, as every publisher of the bus writes it."""

from __future__ import annotations

import os
import time
from itertools import count
from typing import NamedTuple

import betterproto2

from worldbus_client.cloudevent import LAST_SECOND, write
from worldbus_client.errors import BadEvent
from worldbus_client.gen.message_pool import default_message_pool
from worldbus_client.rules import MAX_EVENT, RUNTIME, check_id, check_payload, check_token

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_counter = count(int.from_bytes(os.urandom(2), "big"))


def _digits(value: int, length: int) -> str:
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(length)))


def new_id() -> str:
    """A fresh id: 10 characters of milliseconds, 12 of randomness, 4 of a count, so that ids sort by time."""
    return _digits(time.time_ns() // 1_000_000, 10) + _digits(int.from_bytes(os.urandom(8), "big"), 12) + _digits(next(_counter), 4)


class Parcel(NamedTuple):
    """The bytes that go out for one event, and where to."""

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
        found = f"{type(message).__module__}.{type(message).__qualname__}"
        raise BadEvent(f"wanted an event of worldbus_client.gen.worldbus.*, or one of a game's own dataclasses, found a {found}")
    full_name = url.rpartition("/")[2]
    if full_name.startswith(RUNTIME):
        raise BadEvent(f"{full_name} is the runtime's own record of a handler's lane: nobody else publishes it")
    check_payload(message)
    time_us = (time_ns or time.time_ns()) // 1000
    if not 0 <= time_us // 1_000_000 <= LAST_SECOND:
        raise BadEvent(f"time_ns must lie between 1970 and the year 9999, found {time_ns}")
    event_id = id or new_id()
    try:
        payload = bytes(message)
    except (TypeError, ValueError, AttributeError) as error:  # a field that was given a value of another type
        raise BadEvent(f"{full_name} cannot be encoded: {error}") from error
    raw = write(
        id=event_id,
        subsystem=subsystem,
        full_name=full_name,
        world=world,
        entity=entity,
        time_us=time_us,
        cause=cause,
        correlation=correlation,
        payload=payload,
    )
    if len(raw) > MAX_EVENT:
        raise BadEvent(f"event {full_name} of {len(raw)} bytes, wanted at most {MAX_EVENT}: send a reference instead")
    return Parcel(event_id, f"evt.{world}.{subsystem}.{entity}.{full_name.rpartition('.')[2]}", raw)
