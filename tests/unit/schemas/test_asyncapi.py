"""The document is valid AsyncAPI 3, complete, and tells the truth about the JSON it describes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.event import Event
from bus.json_format import from_document, to_dict
from schemas.asyncapi import ENVELOPE, document, to_json, to_yaml
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventDeferred, EventParked, LaneDropRequested, LaneRetryRequested
from schemas.jsonschema import schemas
from schemas.registry import all_events, subsystem
from tests.laws import examples
from worldbus.testing.drawing import messages


@dataclass(frozen=True)
class Says:
    """As much of a handler as the document asks for."""

    name: str
    listens_to: tuple[type[Message], ...]
    emits: tuple[type[Message], ...]


LANES = Says("lanes", (LaneRetryRequested, LaneDropRequested, EventParked), (EventDeferred, EventParked))
OTHER = Says("other", (EventDeferred,), (EventParked,))
EVERYTHING = [
    Says(name, tuple(all_events())[:5], tuple(cls for cls in all_events() if subsystem(cls) == name))
    for name in sorted({subsystem(cls) for cls in all_events()})
]

# The fixed fields of AsyncAPI 3.1.0 (https://www.asyncapi.com/docs/reference/specification/v3.1.0) for the objects that we write.
FIELDS: dict[str, tuple[set[str], set[str]]] = {  # object → required, allowed
    "document": ({"asyncapi", "info"}, {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}),
    "info": ({"title", "version"}, {"title", "version", "description", "termsOfService", "contact", "license", "tags", "externalDocs"}),
    "server": ({"host", "protocol"}, {"host", "protocol", "protocolVersion", "pathname", "description", "title", "variables", "security"}),
    "channel": (set(), {"address", "messages", "title", "summary", "description", "servers", "parameters", "tags", "bindings"}),
    "parameter": (set(), {"enum", "default", "description", "examples", "location"}),
    "operation": (
        {"action", "channel"},
        {"action", "channel", "title", "summary", "description", "tags", "messages", "bindings", "traits"},
    ),
    "message": (
        set(),
        {"headers", "payload", "correlationId", "contentType", "name", "title", "summary", "description", "tags", "examples"},
    ),
}


def check(kind: str, found: Mapping[str, Any]) -> None:
    required, allowed = FIELDS[kind]
    assert required <= found.keys() <= allowed, f"{kind} {found}"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            assert set(node) <= {"$ref", "description", "x-oneof"}
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(root: dict[str, Any], reference: str) -> Any:
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


@pytest.mark.parametrize("handlers", [[], [LANES], [LANES, OTHER], EVERYTHING], ids=["none", "one", "two", "all"])
def test_the_document_has_the_shape_of_asyncapi_3(handlers: list[Says]) -> None:
    found = document(handlers)

    check("document", found)
    check("info", found["info"])
    assert found["asyncapi"] == "3.1.0"
    for server in found["servers"].values():
        check("server", server)
    for channel in found["channels"].values():
        check("channel", channel)
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])
        for parameter in channel["parameters"].values():
            check("parameter", parameter)
    for operation in found["operations"].values():
        check("operation", operation)
        assert operation["action"] in {"send", "receive"}
        # An operation names messages of its own channel, by the way through the channel.
        assert all(one["$ref"].startswith(operation["channel"]["$ref"] + "/messages/") for one in operation["messages"])
    for message in found["components"]["messages"].values():
        check("message", message)
    for name in [*found["components"]["messages"], *found["components"]["schemas"], *found["operations"]]:
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
    for reference in references(found):
        assert resolve(found, reference) is not None


def test_who_says_and_who_hears_is_told() -> None:
    found = document([OTHER, LANES], edges={"operator": (LaneRetryRequested,)})

    says = {name: channel["parameters"]["subsystem"]["enum"] for name, channel in found["channels"].items()}
    assert says == {
        "EventDeferred": ["lanes"],
        "EventParked": ["lanes", "other"],
        "LaneDropRequested": ["game"],
        "LaneRetryRequested": ["operator"],
    }
    assert {name: one["action"] for name, one in found["operations"].items()} == {
        "lanes-hears-EventParked": "receive",
        "lanes-hears-LaneDropRequested": "receive",
        "lanes-hears-LaneRetryRequested": "receive",
        "lanes-says-EventDeferred": "send",
        "lanes-says-EventParked": "send",
        "other-hears-EventDeferred": "receive",
        "other-says-EventParked": "send",
    }


def test_what_every_handler_may_say_is_said_by_all_of_them() -> None:
    found = document([OTHER, LANES], always=(EventDeferred,))

    assert found["channels"]["EventDeferred"]["parameters"]["subsystem"]["enum"] == ["lanes", "other"]


def test_the_order_of_the_handlers_does_not_matter() -> None:
    assert to_json(document([OTHER, LANES])) == to_json(document([LANES, OTHER]))


def test_json_and_yaml_say_the_same() -> None:
    found = document(EVERYTHING)

    assert json.loads(to_json(found)) == yaml.safe_load(to_yaml(found)) == found


def test_every_message_and_field_is_explained() -> None:
    found = document(EVERYTHING)

    assert all(message["summary"] for message in found["components"]["messages"].values())
    assert all(one.get("description") for schema in found["components"]["schemas"].values() for one in schema["properties"].values())


def test_examples_are_valid() -> None:
    found = document(EVERYTHING)

    for name, message in found["components"]["messages"].items():
        for example in message["examples"]:
            known = {**found["components"]["schemas"], "payload": message["payload"]}
            jsonschema_rs.validator_for({"components": {"schemas": known}, "$ref": "#/components/schemas/payload"}).validate(
                example["payload"]
            )
            event, data = found["components"]["schemas"][ENVELOPE], found["components"]["schemas"][name]
            assert list(violations(example["payload"], {**event, "properties": {**event["properties"], "data": data}}, known)) == []


def test_the_payload_is_what_is_on_the_wire() -> None:
    """The whole event: what a client would parse, type it as its examples do and publish, is what the log takes and gives back."""
    found = document(EVERYTHING)

    for name, message in found["components"]["messages"].items():
        (example,) = message["examples"]
        draft = from_document(example["payload"])
        wire = CloudEvent.FromString(draft.encode())
        event = Event(raw=draft.encode(), subject=draft.subject, partition=0, position=1)
        assert (wire.type, wire.proto_data.type_url) == (name, f"type.googleapis.com/{name}")
        back = to_dict(event)
        assert {key: back[key] for key in example["payload"]} == example["payload"]
        assert set(back) - {"position", "partition", "recorded", "datacontenttype"} <= set(
            found["components"]["schemas"][ENVELOPE]["properties"]
        )


KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}


def violations(value: Any, schema: dict[str, Any], known: dict[str, Any], path: str = "$") -> Iterator[str]:
    """The part of JSON Schema that we write, read strictly: a property that is not declared is a violation as well."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type", list(KINDS))
    if not any(isinstance(value, KINDS[kind]) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{path}: wanted {kinds}, found {value!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {value} is out of range"
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from violations(inner, schema["properties"][key], known, f"{path}.{key}")
            elif "@type" not in schema["properties"]:
                yield f"{path}.{key}: not declared"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from violations(inner, schema.get("additionalProperties", {}), known, f"{path}.{key}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from violations(inner, schema.get("items", {}), known, f"{path}[{index}]")


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_any_event_in_json_fits_its_schema(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(all_events()))
    message = data.draw(messages(cls))
    known = schemas(cls)

    assert list(violations(MessageToDict(message, preserving_proto_field_name=True), known[cls.DESCRIPTOR.full_name], known)) == []
