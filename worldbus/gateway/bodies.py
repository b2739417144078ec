"""From a request's body to drafts: CloudEvents in every format and mode, each event under the rules of `worldbus publish`.

A batch is read as a whole before anything of it is published; whoever sent it hears of everything that is wrong with it at once.
"""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from google.protobuf.message import DecodeError

from bus.check import check_id
from bus.envelope import MAX_EVENT, TYPE_URL
from bus.errors import BadEvent, Rejected, TooLarge
from bus.event import EDGE, Draft, new_id
from bus.json_format import MAX_JSON, from_document, parse
from bus.protobuf_format import from_protobuf
from bus.publication import pack
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from worldbus.gateway import expected
from worldbus.gateway.problem import Problem, problem_of

JSON: Final = "application/cloudevents+json"
JSON_BATCH: Final = "application/cloudevents-batch+json"
PROTOBUF: Final = "application/cloudevents+protobuf"
PROTOBUF_BATCH: Final = "application/cloudevents-batch+protobuf"
PLAIN_JSON: Final = "application/json"
PLAIN_PROTOBUF: Final = "application/protobuf"
FORMATS: Final = (JSON, JSON_BATCH, PROTOBUF, PROTOBUF_BATCH, PLAIN_JSON, PLAIN_PROTOBUF)
BINARY: Final = ("ce-type", "ce-specversion", "ce-id", "ce-source")
"""Headers that tell binary mode."""
ROOM: Final = MAX_EVENT - 8192  # bytes of payload beside which any attributes fit
SHOWN: Final = 100  # errors of one batch that are told


class Item(NamedTuple):
    """One event of a request."""

    draft: Draft
    fresh: bool
    """Its id was made here a moment ago: nobody can have used it."""
    timeless: bool
    """Its time was not given but taken from our clock, so it is no part of what makes two events the same."""
    expected: int | None = None
    """Where the last event of its lane has to be, if that matters."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a body says."""

    items: list[Item]
    batch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What a request says beside its body: the header fields, and the world that is meant where none is named."""

    headers: Mapping[str, str]
    world: str = ""
    key: str = ""
    """`Idempotency-Key`: the id of an event without one; events of a batch get `.<index>` behind it."""
    most: int = 1000


def read(body: bytes, sender: Sender) -> Reading:
    """The events of a body. Raises `Problem`, or `Rejected` for a single event that breaks a rule."""
    given = sender.headers.get("Content-Type", "")
    kind = given.partition(";")[0].strip().lower()
    encoding = sender.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(
            415, "UNSUPPORTED_ENCODING", f"wanted a body as it is, found it packed as {encoding[:40]!r}: send it without Content-Encoding"
        )
    if (charset := _charset(given)) not in ("", "utf-8", "utf8"):
        raise Problem(415, "UNSUPPORTED_CHARSET", f"wanted UTF-8, found charset {charset[:40]!r}: JSON is always UTF-8")
    match kind:
        case _ if kind in (PLAIN_JSON, PLAIN_PROTOBUF) and any(name in sender.headers for name in BINARY):
            return Reading([_binary(body, kind, sender)], batch=False)
        case "application/cloudevents+json" | "application/cloudevents-batch+json" | "application/json":
            return _json(body, kind, sender)
        case "application/cloudevents+protobuf":
            return Reading([_single(body, sender)], batch=False)
        case "application/cloudevents-batch+protobuf":
            return Reading(_each(_split(body), _of_message, sender), batch=True)
        case _:
            raise Problem(
                415,
                "UNSUPPORTED_FORMAT",
                f"wanted Content-Type {JSON}, found {kind[:80] or 'none'!r}: send one of those listed, or binary mode with ce- headers",
                formats=list(FORMATS),
            )


def _charset(given: str) -> str:
    for part in given.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def _json(body: bytes, kind: str, sender: Sender) -> Reading:
    batch = kind == JSON_BATCH or (kind == PLAIN_JSON and body.lstrip()[:1] == b"[")
    document = _parsed(body, max(len(body), MAX_JSON) if batch else MAX_JSON)
    if not batch:
        return Reading([_of_document(document, sender, sender.key)], batch=False)
    if not isinstance(document, list):
        raise Problem(
            400, "BAD_PAYLOAD", f"wanted a JSON array of CloudEvents, found {type(document).__name__}: a single event goes as {JSON}"
        )
    return Reading(_each(document, _of_document, sender), batch=True)


def _parsed(body: bytes, limit: int = MAX_JSON) -> Any:
    try:
        return parse(body, limit)
    except TooLarge:
        raise
    except BadEvent as error:
        raise Problem(400, error.code, str(error), path=str(error.facts.get("path", "$"))) from error


def _of_document(document: Any, sender: Sender, key: str) -> Item:
    where: int | None = None
    if isinstance(document, dict):
        document, where = expected.of_document(document)
        if sender.world and document.get("world") is None:
            document = {**document, "world": sender.world}
        if key:
            document = _with_key(document, key)
        if document.get("data_base64") is not None:
            return _of_base64(document, sender, key)._replace(expected=where)
        item = Item(from_document(document), document.get("id") is None, document.get("time") is None)
    else:
        item = Item(from_document(document), True, True)
    return _fits(item if where is None else item._replace(expected=where), sender)


def _with_key(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get("id")
    if found is None:
        return {**document, "id": key}
    if found != key:
        raise BadEvent(
            f"id and Idempotency-Key must agree, found {ascii(found)[:80]} and {ascii(key)[:80]}: the event's id is the key, send one",
            code="KEY_MISMATCH",
        )
    return document


def _single(body: bytes, sender: Sender) -> Item:
    if len(body) > MAX_EVENT:
        raise TooLarge(
            f"event of {len(body)} bytes, wanted at most {MAX_EVENT}: send a reference instead", limit=MAX_EVENT, found=len(body)
        )
    return _of_bytes(body, sender, sender.key)


def _of_bytes(body: bytes, sender: Sender, key: str) -> Item:
    if body:
        with suppress(DecodeError):  # said better below
            return _of_message(CloudEvent.FromString(body), sender, key)
    return _fits(Item(from_protobuf(body), False, False), sender)


def _of_message(event: Any, sender: Sender, key: str) -> Item:
    fresh, timeless = not (event.id or key), "time" not in event.attributes
    where = expected.of_message(event)
    if not event.id:
        event.id = check_id(key, "Idempotency-Key") if key else new_id()
    if key and event.id != key:
        raise BadEvent(f"id and Idempotency-Key must agree, found {event.id!r} and {key!r}: send one of them", code="KEY_MISMATCH")
    if sender.world and "world" not in event.attributes:
        event.attributes["world"].ce_string = sender.world
    if not event.source:
        event.source = f"/worldbus/{EDGE}"
    if timeless:
        event.attributes["time"].ce_timestamp.FromNanoseconds(time.time_ns())
    return _fits(Item(from_protobuf(event.SerializeToString()), fresh, timeless, where), sender)


def _split(body: bytes) -> list[Any]:
    if not body:
        raise Problem(400, "BAD_PAYLOAD", "wanted a CloudEventBatch, found an empty body")
    try:
        return list(CloudEventBatch.FromString(body).events)
    except DecodeError as error:
        raise Problem(400, "BAD_PAYLOAD", f"wanted a CloudEventBatch, found {len(body)} bytes that are none ({error})") from error


def _binary(body: bytes, kind: str, sender: Sender) -> Item:
    """One event in binary mode: attributes as `ce-` headers, the body is its data."""
    attributes: dict[str, Any] = {
        name.lower()[3:]: unquote(value, errors="replace") for name, value in sender.headers.items() if name.lower().startswith("ce-")
    }
    if "data" in attributes:
        raise BadEvent("ce-data is no attribute: in binary mode the body is the data", code="UNKNOWN_ATTRIBUTE")
    for name in ("depth", expected.ATTRIBUTE):
        if name in attributes:
            attributes[name] = _whole(name, attributes[name])
    if kind == PLAIN_PROTOBUF:
        return _with_payload(body, attributes, sender, sender.key)
    data = _parsed(body) if body.strip() else {}
    return _of_document({**attributes, "data": data}, sender, sender.key)


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadEvent(f"ce-{name} must be a whole number, found {ascii(text)[:40]}", code="OUT_OF_RANGE", field=name)
    return int(text)


def _of_base64(document: dict[str, Any], sender: Sender, key: str) -> Item:
    """A JSON document whose payload is bytes: those of protobuf."""
    attributes = {name: value for name, value in document.items() if name != "data_base64"}
    if attributes.get("data") is not None:
        raise BadEvent("wanted data or data_base64, found both: which one counts?", code="BAD_PAYLOAD", field="data_base64")
    if attributes.get("datacontenttype") != PLAIN_PROTOBUF:
        detail = f"data_base64 is for datacontenttype {PLAIN_PROTOBUF}, found {ascii(attributes.get('datacontenttype'))[:80]}"
        raise BadEvent(f"{detail}: send data as a JSON object", code="BAD_PAYLOAD", field="data_base64")
    try:
        payload = b64decode(document["data_base64"], validate=True)
    except (ValueError, TypeError) as error:
        raise BadEvent(f"data_base64 is no base64: {error}", code="BAD_PAYLOAD", field="data_base64") from error
    return _with_payload(payload, attributes, sender, key)


def _with_payload(body: bytes, attributes: dict[str, Any], sender: Sender, key: str) -> Item:
    """The attributes go through the rules of JSON, the payload through those of protobuf."""
    item = _of_document({**attributes, "data": {}}, sender, key)
    name = item.draft.data.DESCRIPTOR.full_name
    event = CloudEvent(id=item.draft.id, source=f"/worldbus/{item.draft.subsystem}", spec_version="1.0", type=name)
    event.proto_data.type_url, event.proto_data.value = TYPE_URL + name, body
    event.attributes["world"].ce_string, event.attributes["subject"].ce_string = item.draft.world, item.draft.entity
    payload = from_protobuf(event.SerializeToString()).data
    values = {field: getattr(item.draft, field) for field in Draft.__struct_fields__}
    return _fits(item._replace(draft=Draft(**{**values, "data": payload})), sender)


def _fits(item: Item, sender: Sender) -> Item:
    """Everything that publishing would refuse is refused now, before anything else of the batch is in the log."""
    draft = item.draft
    if draft.lane:
        raise BadEvent("lane is written by handlers alone: leave it out", code="RESERVED_ATTRIBUTE", field="lane")
    draft.subject.published()
    if draft.data.ByteSize() > ROOM:
        pack(draft, 2 * MAX_EVENT)
    return item


def _each(events: list[Any], read_one: Callable[[Any, Sender, str], Item], sender: Sender) -> list[Item]:
    """The events of a batch. Raises a problem that lists all that is wrong."""
    if not events:
        raise Problem(422, "EMPTY_BATCH", f"wanted 1 to {sender.most} events, found none")
    if len(events) > sender.most:
        detail = f"wanted at most {sender.most} events in a batch, found {len(events)}: split it"
        raise Problem(413, "BATCH_TOO_LARGE", detail, events=len(events), limit=sender.most, found=len(events))
    items: list[Item] = []
    wrong: list[dict[str, Any]] = []
    for index, event in enumerate(events):
        try:
            items.append(read_one(event, sender, f"{sender.key}.{index}" if sender.key else ""))
        except Rejected as error:
            wrong.append({"index": index, **problem_of(error).document()})
    if wrong:
        raise Problem(
            max(one["status"] for one in wrong),
            wrong[0]["code"] if len({one["code"] for one in wrong}) == 1 else "BAD_BATCH",
            f"wanted {len(events)} valid events, found {len(wrong)} that are not; nothing was recorded: mend them and send the batch again",
            events=len(events),
            refused=len(wrong),
            errors=wrong[:SHOWN],
        )
    return items
