"""Laws of events in other formats: whatever can be published says the same in each of them, and whatever a log can hold can be shown."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from bus import binary_mode
from bus.attributes import MAX_BYTES, MOST, TAKEN
from bus.errors import BadEvent, Rejected
from bus.event import Draft, Event
from bus.json_format import from_document, to_dict
from bus.lookup import differences
from bus.publication import pack
from bus.showing import UNREADABLE, line, shown
from bus.unreadable import from_edge, undecodable
from projections.chain import record
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.registry import all_events
from tests.property.test_envelope import drafts, payloads
from worldbus.cli.read import line as one_line
from worldbus.gateway.subscribe import line as block
from worldbus.testing.drawing import messages

NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name not in TAKEN and not name.startswith("nats"))
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)
VALUES = WORDS | st.integers(-(1 << 31), (1 << 31) - 1) | st.booleans()
EXTENSIONS = st.dictionaries(NAMES, VALUES, max_size=8).map(lambda found: tuple(sorted(found.items())))
URIS = st.from_regex(r"[a-z]{1,8}://[a-z0-9./?#-]{1,40}", fullmatch=True)
STATES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=100)


def decorated() -> st.SearchStrategy[Draft]:
    """Any draft that keeps the rules, with whatever others may add."""

    def with_more(draft: Draft, extensions: Any, origin: str, tracestate: str) -> Draft:
        fields = {name: getattr(draft, name) for name in draft.__struct_fields__}
        return Draft(**fields | {"extensions": extensions, "origin": origin, "tracestate": tracestate})

    return st.builds(with_more, drafts(), EXTENSIONS, st.just("") | URIS, STATES)


def at(draft: Draft, raw: bytes | None = None, header: bytes | None = None) -> Event:
    return Event.stored(draft.encode() if raw is None else raw, f"evt.0.{'.'.join(draft.subject)}", 7, 5, header)


def in_headers(document: dict[str, Any], content_type: str) -> bytes:
    lines = [f"ce-{name}: {quote(str(value), safe='')}" for name, value in document.items() if name not in ("data", "datacontenttype")]
    return "\r\n".join(["NATS/1.0", *lines, f"content-type: {content_type}", "", ""]).encode()


def said(event: Event) -> dict[str, Any]:
    """The event as a document; binary mode knows text only."""
    return {name: str(value) if name not in ("data", "depth", "position", "partition") else value for name, value in to_dict(event).items()}


@given(decorated())
def test_what_can_be_published_says_the_same_in_every_format(draft: Draft) -> None:
    ours = at(draft)
    document = to_dict(ours)
    foreign = [
        at(draft, json.dumps(document).encode()),
        at(draft, json.dumps(document["data"]).encode(), in_headers(document, "application/json")),
        at(draft, draft.data.SerializeToString(), in_headers(document, "application/protobuf")),
    ]
    for event in foreign:
        assert said(event) == said(ours)
        assert event.data == ours.data
        assert undecodable(event) is None
    assert foreign[0].envelope == CloudEvent.FromString(draft.encode())
    assert differences(foreign[0], pack(draft, 1 << 20)) == []


@given(decorated())
def test_what_a_reader_shows_publishes_the_same_event_again(draft: Draft) -> None:
    document = shown(at(draft))

    assert UNREADABLE not in document
    assert from_document(json.loads(json.dumps(document))).encode() == draft.encode()


@given(st.sampled_from((CloudEvent,)).flatmap(messages))
def test_no_protobuf_cloudevent_begins_with_a_brace(event: CloudEvent) -> None:
    """Nor with what else JSON may begin with, but for the line feed, which is the tag of the id: protobuf is tried first there."""
    assert event.SerializeToString()[:1] in (b"", *(bytes((field.number << 3 | 2,)) for field in CloudEvent.DESCRIPTOR.fields))
    assert not {field.number << 3 | 2 for field in CloudEvent.DESCRIPTOR.fields} & set(b'{[ \t\r"') - set(b'"')


HEADER_NAMES = ["ce-id", "ce-type", "CE-TIME", "ce-specversion", "content-type", "Content-Type", "Nats-Msg-Id", "ce-recorded", "ce-", "x"]
HEADER_VALUES = [b"1.0", b"application/json", b"PlayerMoved", b"%", b"%ff", b'"', b"2026-11-22T12:00:00Z", b"\xff", b""]
HEADER_LINES = st.builds(
    lambda name, value: name.encode() + b": " + value + b"\r\n",
    st.sampled_from(HEADER_NAMES),
    st.sampled_from(HEADER_VALUES) | st.binary(max_size=8),
)
HEADERS = st.none() | st.lists(HEADER_LINES, max_size=8).map(lambda lines: b"NATS/1.0\r\n" + b"".join(lines) + b"\r\n")
SUBJECTS = st.sampled_from([cls.DESCRIPTOR.name for cls in all_events()]).map(lambda name: f"evt.3.w.game.mira.{name}") | st.sampled_from(
    ["evt.x", "evt.3.w.game.mi\0ra.PlayerMoved", "evt.99.a.b.c.d.e", ""]
)
TIMES = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([1_796_001_898_136, -62_135_596_801, 253_402_300_800, 0])
NANOS = st.integers(-(1 << 31), (1 << 31) - 1) | st.sampled_from([-1, 1_000_000_000])


def with_odd_attributes(raw: bytes, seconds: int, nanos: int, name: str, text: str) -> bytes:
    event = CloudEvent.FromString(raw)
    for attribute in ("time", "deadline", name or "x"):
        event.attributes[attribute].ce_timestamp.seconds, event.attributes[attribute].ce_timestamp.nanos = seconds, nanos
    event.attributes["lane"].ce_string = text
    event.attributes["depth"].ce_integer = nanos
    return event.SerializeToString()


@st.composite
def anything(draw: st.DrawFn) -> tuple[bytes, str]:
    """Bytes and a subject: an event, an event with impossible parts, half of one, or nothing of the kind."""
    data = draw(payloads() | st.sampled_from(all_events()).flatmap(messages))
    draft = Draft(data=data, world="w", entity="mira", id="i", time_ns=draw(st.integers(0, 10**18)))
    raw = draw(
        st.just(draft.encode())
        | st.binary(max_size=60)
        | st.text(max_size=40).map(str.encode)
        | st.just(json.dumps(to_dict(Event.stored(draft.encode(), f"evt.0.{'.'.join(draft.subject)}", 1))).encode())
        | st.builds(with_odd_attributes, st.just(draft.encode()), TIMES, NANOS, st.text(max_size=20), st.text(max_size=20))
    )
    cut = draw(st.just(len(raw)) | st.integers(0, len(raw)))
    return raw[:cut], draw(st.just(f"evt.3.{'.'.join(draft.subject)}") | SUBJECTS)


@given(anything(), HEADERS, st.integers(-(1 << 63), (1 << 63) - 1))
@example((b"\n{", "evt.3.w.game.mira.PlayerMoved"), None, 0)
@example((b'{"time": 1}', "evt.3.w.game.mira.PlayerMoved"), None, -1)
@example((b"", "evt.3.w.game.mira.PlayerMoved"), b"NATS/1.0\r\nce-type: PlayerMoved\r\n\r\n", 1 << 62)
def test_whatever_a_log_can_hold_is_shown_by_every_renderer(held: tuple[bytes, str], header: bytes | None, recorded_ns: int) -> None:
    event = Event.stored(held[0], held[1], 7, recorded_ns, header)
    document = shown(event)

    assert (document["position"], document["partition"]) == (7, event.partition)
    assert json.loads(line(event)) == document
    assert one_line(event, document).startswith("       7 ")
    assert block(event).startswith((b"id: 7\ndata: {", b"id: 7\nevent: damaged\ndata: {"))
    assert (undecodable(event) is None) or UNREADABLE in document
    record(event, bytes(32))
    from_edge(event, {"weather"})
    for look in ("time_ns", "deadline_ns", "depth", "correlation", "origin", "extensions", "traceparent"):
        try:
            getattr(event, look)
        except BadEvent:
            assert UNREADABLE in document
    assert 0 <= _quiet(event, "depth") < 1 << 31
    assert -62_135_596_800 * 10**9 <= _quiet(event, "time_ns") < 253_402_300_800 * 10**9


def _quiet(event: Event, name: str) -> int:
    try:
        return int(getattr(event, name))
    except BadEvent:
        return 0


@given(st.binary(max_size=80), HEADERS)
def test_the_lines_that_are_kept_say_the_same_as_the_whole_block(raw: bytes, header: bytes | None) -> None:
    kept = None if header is None else binary_mode.kept(header, raw)

    assert kept is None or binary_mode.kept(kept, raw) == kept
    assert kept is None or b"Nats-" not in kept
    one, other = [Event.stored(raw, "evt.3.w.game.mira.PlayerMoved", 7, 5, block) for block in (header, kept)]
    assert shown(one) == shown(other)


@given(st.dictionaries(st.text(max_size=21), VALUES | st.none() | st.floats() | st.lists(st.text()), max_size=40))
def test_attributes_are_taken_or_refused_and_never_too_many(found: dict[str, Any]) -> None:
    document = {"type": "PlayerHeartbeat", "world": "w", "subject": "e", **found}
    draft = None
    with suppress(Rejected):
        draft = from_document(document)
    names = [name for name, _ in draft.extensions] if draft else []
    assert names == sorted(names)
    assert len(names) <= MOST
    assert draft is None or sum(len(name) + len(str(value).encode()) for name, value in draft.extensions) <= 2 * MAX_BYTES
