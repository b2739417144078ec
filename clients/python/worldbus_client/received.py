"""Received: events of the log, and signals."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import betterproto2

from worldbus_client.cloudevent import Envelope, read
from worldbus_client.errors import BadEvent
from worldbus_client.gen.io.cloudevents.v1 import CloudEvent
from worldbus_client.gen.message_pool import default_message_pool


def class_of(full_name: str) -> type[betterproto2.Message]:
    """The dataclass of a full protobuf name. Raises `BadEvent` for one that this client does not know."""
    url = f"type.googleapis.com/{full_name}"
    if url not in default_message_pool.url_to_type:
        with suppress(ImportError):
            import_module(f"worldbus_client.gen.{full_name.rpartition('.')[0]}")
    try:
        return default_message_pool.url_to_type[url]
    except KeyError:
        raise BadEvent(f"{full_name} is not known here: {_next_step(full_name)}") from None


def _next_step(full_name: str) -> str:
    if full_name.startswith("worldbus."):
        return "it is of a newer release; update the client"
    return "it is a game's own; import that game's dataclasses first (`dataclasses` in its [tool.worldbus], then `worldbus proto`)"


@dataclass(frozen=True)
class Event:
    """One event as it lies in the log. `data` and `id` are read when first looked at; damaged bytes raise `BadEvent` then."""

    position: int
    world: str
    subsystem: str
    """The subsystem that published it."""
    entity: str
    """About whom."""
    name: str
    """Simple name of its type."""
    raw: bytes

    @cached_property
    def envelope(self) -> CloudEvent:
        """The CloudEvent."""
        if self.raw[:1] == b"{":
            raise BadEvent(f"event {self.position} is written as JSON, which this client does not read: follow it through the gateway")
        try:
            return CloudEvent.parse(self.raw)
        except Exception as error:  # the decoder raises whatever it stumbles over
            raise BadEvent(f"event {self.position} is damaged: {error!r}") from error

    @cached_property
    def _said(self) -> Envelope:
        """The part of the envelope that is asked for here."""
        if (said := read(self.raw)) is not None:
            return said
        envelope = self.envelope
        try:
            about = envelope.attributes.get("causationid")
            held = envelope.proto_data
            return Envelope(envelope.id, envelope.type, (about and about.ce_string) or "", None if held is None else held.value)
        except Exception as error:  # a field of another kind than the decoder believes
            raise BadEvent(f"event {self.position} is damaged: {error!r}") from error

    @property
    def id(self) -> str:
        return self._said.id

    @property
    def cause(self) -> str:
        """Id of the event that led to this one; empty for none."""
        return self._said.cause

    @cached_property
    def data(self) -> Any:
        """The payload, a dataclass of `worldbus_client.gen`."""
        said = self._said
        if said.payload is None:
            raise BadEvent(f"event {self.position} carries no payload")
        try:
            return class_of(said.type).parse(said.payload)
        except BadEvent:
            raise
        except Exception as error:
            raise BadEvent(f"event {self.position}: not a valid {said.type}: {error!r}") from error


def id_of(raw: bytes) -> str:
    """The id of an event's bytes; empty if they are damaged."""
    try:
        return Event(0, "", "", "", "", raw).id
    except BadEvent:
        return ""


@dataclass(frozen=True)
class Signal:
    """One signal `sig.<world>.<kind>.<key>`: never stored. That of the world's clock has an empty key."""

    world: str
    kind: str
    key: str
    payload: bytes

    def read(self, message: type[betterproto2.Message]) -> Any:
        """The payload as a `message`. Raises `BadEvent`."""
        try:
            return message.parse(self.payload)
        except Exception as error:
            raise BadEvent(f"the signal on {self.kind}.{self.key} is no {message.__name__}: {error!r}") from error
