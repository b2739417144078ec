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

from schemas.errors import ToolMissing
from schemas.examples import example
from schemas.jsonschema import comments, schemas

Document = dict[str, Any]

CONTENT_TYPE: Final = "application/cloudevents+protobuf"
TOKENS: Final = "Matches [A-Za-z0-9_-]{1,64}."
EDGE: Final = "game"  # says what no handler says, unless `edges` knows better
INTRODUCTION: Final = """The events of a world, in one log.

Every message is one CloudEvents 1.0 event in protobuf format (structured mode); `payload` describes its `data`, in protobuf's JSON form.
Publishers write `evt.<world>.<subsystem>.<entity>.<EventName>`, where the subsystem is the one who says it; the stream adds the partition
behind `evt`. JSON (`application/cloudevents+json`) is accepted on the way in and stored as protobuf."""


class HandlerLike(Protocol):
    """What this document needs to know of a handler."""

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
    held = {name: schema for cls in events for name, schema in schemas(cls).items()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "worldbus", "version": version, "description": INTRODUCTION, "license": {"name": "Apache-2.0"}},
        "defaultContentType": CONTENT_TYPE,
        "servers": {"nats": {"host": server, "protocol": "nats", "description": "NATS with JetStream; the stream is LOG."}},
        "channels": {name: _channel(name, versions, says) for name, versions in _by_name(events).items()},
        "operations": {key: value for handler in known for key, value in _operations(handler)},
        "components": {
            "messages": {cls.DESCRIPTOR.full_name: _message(cls) for cls in events},
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


def _message(cls: type[Message]) -> Document:
    full_name = cls.DESCRIPTOR.full_name
    return {
        "name": full_name,
        "title": cls.DESCRIPTOR.name,
        "summary": _summary(cls),
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"#/components/schemas/{full_name}"},
        "examples": [{"payload": MessageToDict(example(cls))}],
    }


def to_json(found: Document) -> str:
    """The document as JSON text."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def to_yaml(found: Document) -> str:
    """The document as YAML text. Raises `ToolMissing` without PyYAML, which is a development package."""
    try:
        import yaml
    except ImportError as error:
        raise ToolMissing("wanted PyYAML to write YAML, found none: run `make setup`, or ask for JSON") from error
    text: str = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=140)
    return text
