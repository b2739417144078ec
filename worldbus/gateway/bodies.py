"""From a request's body to drafts: CloudEvents in every format and mode, each event under the rules of `worldbus publish`.

A batch is read as a whole before anything of it is published; whoever sent it hears of everything that is wrong with it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from msgspec.structs import replace

from bus.attributes import SOURCE
from bus.binary_mode import STRUCTURED, TELLING, attributes
from bus.check import check_id
from bus.draft import EDGE, Draft, new_id, now
from bus.envelope import MAX_EVENT
from bus.errors import BadEvent, Rejected, TooLarge
from bus.json_format import MAX_JSON, from_document, from_parts, parse
from bus.payload import JSON as JSON_DATA
from bus.payload import looks_like_json, media
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
ROOM: Final = MAX_EVENT - 16_384  # bytes of payload beside which any attributes fit
SHOWN: Final = 100  # errors of one batch that are told


class Item(NamedTuple):
    """One event of a request."""

    draft: Draft
    fresh: bool
    """True if its id was made here a moment ago: nobody can have used it."""
    expected: int | None = None
    """Position at which the last event of its lane has to be, if that matters."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The events of a body."""

    items: list[Item]
    batch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The words of a request beside its body: the header fields, and the world that is meant where none is named."""

    headers: Mapping[str, str]
    world: str = ""
    key: str = ""
    """`Idempotency-Key`: the id of an event without one; events of a batch get `.<index>` behind it."""
    most: int = 1000
    subsystem: str = EDGE
    """Subsystem of events that come without a source of ours."""


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
        case _ if not kind.startswith(STRUCTURED) and any(name in sender.headers for name in TELLING):
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
                f"wanted Content-Type {', '.join(FORMATS)}, found {kind[:80] or 'none'}: or send binary mode, with the header ce-type",
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


def _of_document(document: Any, sender: Sender, key: str, body: bytes | None = None) -> Item:
    fresh, where = True, None
    if isinstance(document, dict):
        document, where = expected.of_document(document)
        if sender.world and document.get("world") is None:
            document = {**document, "world": sender.world}
        if key:
            document = _with_key(document, key)
        fresh = document.get("id") is None
    if body is None:
        return _fits(Item(from_document(document, subsystem=sender.subsystem), fresh, where))
    return _fits(Item(from_parts(document, body, subsystem=sender.subsystem), fresh, where))


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
    return _fits(Item(from_protobuf(body), False))


def _of_message(event: Any, sender: Sender, key: str) -> Item:
    fresh, where = not (event.id or key), expected.of_message(event)
    if not event.id:
        event.id = check_id(key, "Idempotency-Key") if key else new_id()
    if key and event.id != key:
        raise BadEvent(f"id and Idempotency-Key must agree, found {event.id!r} and {key!r}: send one of them", code="KEY_MISMATCH")
    if sender.world and "world" not in event.attributes:
        event.attributes["world"].ce_string = sender.world
    if not event.source:
        event.source = SOURCE + sender.subsystem
    draft = from_protobuf(event.SerializeToString(), subsystem=sender.subsystem)
    return _fits(Item(draft if "time" in event.attributes else replace(draft, time_ns=now()), fresh, where))


def _split(body: bytes) -> list[Any]:
    if not body:
        raise Problem(400, "BAD_PAYLOAD", "wanted a CloudEventBatch, found an empty body")
    try:
        return list(CloudEventBatch.FromString(body).events)
    except DecodeError as error:
        raise Problem(400, "BAD_PAYLOAD", f"wanted a CloudEventBatch, found {len(body)} bytes that are none ({error})") from error


def _binary(body: bytes, given_type: str, sender: Sender) -> Item:
    """One event in binary mode: attributes as `ce-` headers, the body is its data."""
    given = attributes(sender.headers.items())
    if expected.ATTRIBUTE in given:
        given[expected.ATTRIBUTE] = expected.of_header(given[expected.ATTRIBUTE])
    try:
        kind = media(given["datacontenttype"], "Content-Type")
    except BadEvent as error:
        detail = f"wanted Content-Type {PLAIN_JSON} or {PLAIN_PROTOBUF} beside the ce- headers, found {ascii(given_type)[:80]}"
        raise Problem(415, "UNSUPPORTED_FORMAT", f"{detail}: it says what the body is", formats=[PLAIN_JSON, PLAIN_PROTOBUF]) from error
    if kind == JSON_DATA or (not kind and looks_like_json(body)) or not body.strip():
        return _of_document({**given, "datacontenttype": PLAIN_JSON, "data": _parsed(body) if body.strip() else {}}, sender, sender.key)
    return _of_document({**given, "datacontenttype": PLAIN_PROTOBUF}, sender, sender.key, body)


def _fits(item: Item) -> Item:
    """Refuse everything that publishing would refuse now, before anything else of the batch is in the log."""
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
