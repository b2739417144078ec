"""An AsyncAPI 3 document from what handlers declare: who says which event where, and who listens.

`schemas` knows no handlers; whoever has them passes them in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from schemas.examples import example
from schemas.jsonschema import comments, schemas

Document = dict[str, Any]

CONTENT_TYPE: Final = "application/cloudevents+protobuf"
TOKENS: Final = "Matches [A-Za-z0-9_-]{1,64}."
EDGE: Final = "game"  # says what no handler says, unless `edges` knows better
ENVELOPE: Final = "CloudEvent"
"""The schema of what every event says beside its data."""
INTRODUCTION: Final = """The events of a world, in one log.

Every message is one CloudEvents 1.0 event, `io.cloudevents.v1.CloudEvent`: the bytes are its protobuf format (structured mode), without any
header of content. `payload` is that whole event, attributes and `data`, as CloudEvents' JSON format writes it, with the field names of the
.proto files. Publishers write `evt.<world>.<subsystem>.<entity>.<EventName>`, where the subsystem is the one who says it; the stream adds
the partition behind `evt`."""
_TEXT: Final = {"type": "string"}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_ENVELOPE: Final[Document] = {
    "type": "object",
    "description": "A CloudEvents 1.0 event without its data.",
    "required": ["specversion", "id", "source", "type", "subject", "world", "time"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0", "description": "Of CloudEvents."},
        "id": {**_TEXT, "description": "Its idempotency key."},
        "source": {**_TEXT, "description": "Who says it: `/worldbus/<subsystem>`."},
        "type": {**_TEXT, "description": "Full name of the type of `data`."},
        "subject": {**_TEXT, "description": "Who or what it is about: the entity."},
        "world": {**_TEXT, "description": "The world it happened in."},
        "time": {**_MOMENT, "description": "When it happened, by its publisher."},
        "causationid": {**_TEXT, "description": "Id of the event that led to this one."},
        "correlationid": {**_TEXT, "description": "Id of the root event of the chain."},
        "depth": {"type": "integer", "description": "Hops from the root event."},
        "deadline": {**_MOMENT, "description": "When an answer stops being useful."},
        "lane": {**_TEXT, "description": "Of a handler's output: the input that caused it, and which output it is."},
        "traceparent": {**_TEXT, "description": "W3C trace context."},
        "producerversion": {**_TEXT, "description": "Of a handler's output: the rules that decided."},
        "data": {"type": "object", "description": "The event itself, as its type says."},
    },
}


class HandlerLike(Protocol):
    """The parts of a handler that this document is made of."""

    @property
    def name(self) -> str: ...

    @property
    def listens_to(self) -> Sequence[type[Message]]: ...

    @property
    def emits(self) -> Sequence[type[Message]]: ...


def document(
    handlers: Iterable[HandlerLike],
    *,
    version: str = "0.1.0",
    server: str = "localhost:4222",
    edges: Mapping[str, Sequence[type[Message]]] | None = None,
    always: Sequence[type[Message]] = (),
) -> Document:
    """The document as plain data, the same for the same handlers in any order.

    `edges` are the events that come from outside, by edge; `always` those that every handler may say besides its own (`EventParked`).
    """
    known = sorted(handlers, key=lambda handler: handler.name)
    says = _who_says(known, {**(edges or {}), **{handler.name: (*handler.emits, *always) for handler in known}})
    events = sorted(says, key=lambda cls: cls.DESCRIPTOR.full_name)
    held = {ENVELOPE: _ENVELOPE} | {name: schema for cls in events for name, schema in schemas(cls).items()}
    return {
        "asyncapi": "3.1.0",
        "info": {"title": "worldbus", "version": version, "description": INTRODUCTION, "license": {"name": "Apache-2.0"}},
        "defaultContentType": CONTENT_TYPE,
        "servers": {"nats": {"host": server, "protocol": "nats", "description": "NATS with JetStream; the stream is LOG."}},
        "channels": {name: _channel(name, versions, says) for name, versions in _by_name(events).items()},
        "operations": {key: value for handler in known for key, value in _operations(handler)},
        "components": {
            "messages": {cls.DESCRIPTOR.full_name: _message(cls, says[cls][0]) for cls in events},
            "schemas": dict(sorted(held.items())),
        },
    }


def _who_says(handlers: Sequence[HandlerLike], speakers: Mapping[str, Sequence[type[Message]]]) -> dict[type[Message], list[str]]:
    """Every event that is said or listened to, with the subsystems and edges that say it."""
    says: dict[type[Message], set[str]] = defaultdict(set)
    for name, emits in speakers.items():
        for cls in emits:
            says[cls].add(name)
    for cls in {cls for handler in handlers for cls in handler.listens_to} - says.keys():
        says[cls].add(EDGE)
    return {cls: sorted(names) for cls, names in says.items()}


def _summary(cls: type[Message]) -> str:
    return comments().get(cls.DESCRIPTOR.full_name, "").replace("\n", " ")


def _by_name(events: Iterable[type[Message]]) -> dict[str, list[type[Message]]]:
    """Simple name → its versions: they share a subject, and so a channel."""
    found: dict[str, list[type[Message]]] = defaultdict(list)
    for cls in events:
        found[cls.DESCRIPTOR.name].append(cls)
    return dict(sorted(found.items()))


def _channel(name: str, versions: list[type[Message]], says: Mapping[type[Message], list[str]]) -> Document:
    return {
        "address": f"evt.{{world}}.{{subsystem}}.{{entity}}.{name}",
        "description": _summary(versions[-1]),
        "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in (cls.DESCRIPTOR.full_name for cls in versions)},
        "parameters": {
            "world": {"description": f"The world it happened in. {TOKENS}"},
            "subsystem": {"description": "Who says it.", "enum": sorted({one for cls in versions for one in says[cls]})},
            "entity": {"description": f"The entity it is about. {TOKENS}"},
        },
        "servers": [{"$ref": "#/servers/nats"}],
    }


def _operations(handler: HandlerLike) -> Iterable[tuple[str, Document]]:
    for action, verb, classes in (("receive", "hears", handler.listens_to), ("send", "says", handler.emits)):
        for name, versions in _by_name(dict.fromkeys(classes)).items():
            channel = f"#/channels/{name}"
            yield (
                f"{handler.name}-{verb}-{name}",
                {
                    "action": action,
                    "channel": {"$ref": channel},
                    "messages": [{"$ref": f"{channel}/messages/{cls.DESCRIPTOR.full_name}"} for cls in versions],
                    "tags": [{"name": handler.name}],
                },
            )


def _message(cls: type[Message], speaker: str) -> Document:
    full_name = cls.DESCRIPTOR.full_name
    return {
        "name": full_name,
        "title": cls.DESCRIPTOR.name,
        "summary": _summary(cls),
        "contentType": CONTENT_TYPE,
        "payload": {
            "allOf": [
                {"$ref": f"#/components/schemas/{ENVELOPE}"},
                {
                    "type": "object",
                    "properties": {"type": {"type": "string", "const": full_name}, "data": {"$ref": f"#/components/schemas/{full_name}"}},
                },
            ]
        },
        "examples": [{"payload": _example(cls, speaker)}],
    }


def _example(cls: type[Message], speaker: str) -> Document:
    return {
        "specversion": "1.0",
        "id": "01kdx2v0gq7n4zjq6m0yb8t3ha",
        "source": f"/worldbus/{speaker}",
        "type": cls.DESCRIPTOR.full_name,
        "subject": "mira",
        "world": "main",
        "time": "2026-01-01T12:00:00Z",
        "data": MessageToDict(example(cls), preserving_proto_field_name=True),
    }


def to_json(found: Document) -> str:
    """The document as JSON text."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def to_yaml(found: Document) -> str:
    """The document as YAML text. Needs PyYAML, of the extra `gateway`."""
    import yaml

    text: str = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=140)
    return text
