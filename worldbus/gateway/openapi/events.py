"""Events as schemas: one for each type that a game server may publish, told apart by `type`; and one for all that are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import Message

from bus.attributes import MAX_ORIGIN, MAX_STATE
from schemas.jsonschema import comments, schemas
from schemas.registry import package
from worldbus.gateway.limits import Limits
from worldbus.gateway.openapi.parts import COUNT, ID, OPEN, POSITION, TOKEN, Schema, ref

TEXT: Final[Schema] = {"type": "string", "maxLength": 255}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
DEPTH: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "description": "Hops from the root event."}
ATTRIBUTES: Final = "EventAttributes"

EXAMPLE: Final = {
    "specversion": "1.0",
    "id": "unreal-eu-1-000017",
    "source": "/worldbus/game",
    "type": "worldbus.player.v1.PlayerJoined",
    "subject": "mira",
    "world": "main",
    "time": "2026-11-22T12:00:00Z",
    "data": {"display_name": "Mira", "zone": "quay"},
}


def event_schemas(types: Sequence[type[Message]]) -> dict[str, Schema]:
    """The schemas of events of these types, of their data, and of events in general."""
    found: dict[str, Schema] = {}
    for cls in types:
        event, data = f"{schema_name(cls.DESCRIPTOR)}Event", schemas(cls, schema_name)
        for name, schema in {**data, event: _event(cls)}.items():
            if found.setdefault(name, schema) != schema:
                raise ValueError(f"two schemas are called {name}: give one of the types another name")
    names = {cls.DESCRIPTOR.full_name: f"{schema_name(cls.DESCRIPTOR)}Event" for cls in types}
    return {
        "CloudEvent": {
            "description": "A CloudEvents 1.0 event to be published, by its type. Types that only worldbus itself says are not among them.",
            "oneOf": [ref(name) for name in names.values()],
            "discriminator": {"propertyName": "type", "mapping": {full: ref(name)["$ref"] for full, name in names.items()}},
        },
        "CloudEventBatch": {"type": "array", "items": ref("CloudEvent"), "minItems": 1, "maxItems": Limits().batch},
        ATTRIBUTES: _ATTRIBUTES,
        "RecordedEvent": RECORDED_EVENT,
        **dict(sorted(found.items())),
    }


def schema_name(descriptor: Any) -> str:
    """The name of a message's schema, which never changes: an event's simple name; a part of events has its package before it.

    Of worldbus's own packages that is the subsystem, of a game's the whole name: two games may have parts of one name.
    """
    family, subsystem, version = package(descriptor.file.package)
    name = descriptor.full_name.removeprefix(f"{descriptor.file.package}.").replace(".", "")
    if descriptor.file.name.endswith("/types.proto") or descriptor.containing_type is not None:
        owner = subsystem if family.startswith("worldbus.") else family or descriptor.file.package
        name = "".join(word.capitalize() for word in owner.split(".")) + name
    return f"{name}{f'V{version}' if version > 1 else ''}"


def _event(cls: type[Message]) -> Schema:
    full_name = cls.DESCRIPTOR.full_name
    return {
        "description": comments().get(full_name, ""),
        "allOf": [
            ref(ATTRIBUTES),
            {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"type": "string", "const": full_name}, "data": ref(schema_name(cls.DESCRIPTOR))},
            },
        ],
    }


_ATTRIBUTES: Final[Schema] = {
    "type": "object",
    "description": (
        "What an event of any type says beside its data. An attribute that is null counts as left out. Further ones (names of a-z 0-9; "
        "text, a whole number or a boolean) are kept and given back."
    ),
    "required": ["subject"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {**ID, "description": "Its idempotency key, for ever. Without one, sending again is another event."},
        "source": {
            "type": "string",
            "format": "uri-reference",
            "maxLength": MAX_ORIGIN,
            "description": "Who says it: `/worldbus/<subsystem>` of the token; any other is kept as `origin`. Left out, `/worldbus/game`.",
        },
        "subject": {**TOKEN, "description": "Who or what it is about: the entity."},
        "world": {**TOKEN, "description": "May be left out by a token with one world."},
        "time": {**MOMENT, "description": "When it happened; left out, now."},
        "datacontenttype": {"type": "string", "pattern": "^(application/(json|protobuf)|text/json|[a-z]+/[a-z0-9.-]+[+]json) *(;.*)?$"},
        "dataschema": {"type": "string"},
        "causationid": {**ID, "description": "Id of the event that led to this one."},
        "correlationid": {**ID, "description": "Id of the root event of the chain."},
        "traceparent": TEXT,
        "tracestate": {"type": "string", "maxLength": MAX_STATE, "pattern": "^[ -~]*$"},
        "origin": {"type": "string", "format": "uri-reference", "maxLength": MAX_ORIGIN},
        "producerversion": TEXT,
        "depth": DEPTH,
        "deadline": {**MOMENT, "description": "When an answer stops being useful."},
        "data_base64": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "In place of `data`: bytes of the `datacontenttype`, protobuf or JSON.",
        },
        "expected": {
            "type": "integer",
            "format": "int64",
            "minimum": 0,
            "description": "A condition, not recorded: where the last event of this source about this subject has to be; 0: there is none.",
        },
    },
}
RECORDED_EVENT: Final[Schema] = {
    "type": "object",
    "description": "An event of the log. `data` is protobuf's JSON form of `type`; docs/reference/asyncapi.yaml has the schema of each.",
    "required": ["specversion", "id", "source", "type", "subject", "world", "position", "partition", "recorded", "data"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string", "description": "Who says it: `/worldbus/<subsystem>`."},
        "type": {"type": "string", "examples": ["worldbus.player.v1.PlayerJoined"]},
        "subject": {"type": "string", "description": "Who or what it is about: the entity."},
        "world": {"type": "string"},
        "time": {**MOMENT, "description": "When it happened, by its publisher."},
        "datacontenttype": {"type": "string"},
        "causationid": {"type": "string"},
        "correlationid": {"type": "string"},
        "traceparent": {"type": "string"},
        "tracestate": {"type": "string"},
        "origin": {"type": "string", "description": "The source as its producer wrote it, where that is not `/worldbus/<subsystem>`."},
        "producerversion": {"type": "string"},
        "lane": {"type": "string", "description": "Of a handler's output: the input that caused it, and which output it is."},
        "depth": DEPTH,
        "deadline": MOMENT,
        "position": POSITION,
        "partition": COUNT,
        "recorded": {**MOMENT, "description": "When the log took it."},
        "data": OPEN,
    },
}
