"""Laws of the envelope: what we write by hand is what protobuf reads, the same event has the same bytes, and no bytes break the reader."""

from __future__ import annotations

import contextlib

from google.protobuf.message import Message
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bus.check import check_attributes, check_payload
from bus.envelope import NANOS, decode
from bus.errors import BadEvent, Rejected
from bus.event import Draft, Event, LaneMark, new_id
from bus.protobuf_format import from_protobuf
from bus.subjects import Subject
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.registry import all_events
from worldbus.testing.drawing import messages

TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
LINES = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=255)
TIMES = st.integers(-62_135_596_800 * NANOS, 253_402_300_800 * NANOS - 1)
MARKS = st.tuples(st.integers(0, 999), st.integers(0, 1 << 53), st.integers(0, 5), st.integers(6, 9)).map(lambda mark: str(LaneMark(*mark)))


def payloads() -> SearchStrategy[Message]:
    """Any event that may be published."""

    def allowed(message: Message) -> bool:
        try:
            check_payload(message, message.SerializeToString())
        except BadEvent:
            return False
        return True

    return st.sampled_from(all_events()).flatmap(messages).filter(allowed)


def drafts() -> SearchStrategy[Draft]:
    """Any draft that keeps the rules."""
    return st.builds(
        Draft,
        data=payloads(),
        world=TOKENS,
        entity=TOKENS,
        subsystem=TOKENS,
        id=IDS,
        time_ns=TIMES,
        cause=st.just("") | IDS,
        correlation=st.just("") | IDS,
        lane=st.just("") | MARKS,
        depth=st.integers(0, (1 << 31) - 1),
        deadline_ns=TIMES,
        traceparent=LINES,
        producer_version=LINES,
    )


def by_protobuf(draft: Draft) -> CloudEvent:
    """The same envelope, built by protobuf itself."""
    event = CloudEvent(id=draft.id, source=f"/worldbus/{draft.subsystem}", spec_version="1.0", type=draft.data.DESCRIPTOR.full_name)
    texts = {
        "subject": draft.entity,
        "world": draft.world,
        "causationid": draft.cause,
        "correlationid": draft.correlation,
        "lane": draft.lane,
        "traceparent": draft.traceparent,
        "producerversion": draft.producer_version,
    }
    for name, text in texts.items():
        if text:
            event.attributes[name].ce_string = text
    stamps = {"time": draft.time_ns} | ({"deadline": draft.deadline_ns} if draft.deadline_ns else {})
    for name, ns in stamps.items():
        event.attributes[name].ce_timestamp.seconds, event.attributes[name].ce_timestamp.nanos = divmod(ns, NANOS)
    if draft.depth:
        event.attributes["depth"].ce_integer = draft.depth
    event.proto_data.Pack(draft.data, deterministic=True)
    return event


@given(drafts())
def test_what_we_write_by_hand_is_what_protobuf_reads(draft: Draft) -> None:
    assert by_protobuf(draft) == CloudEvent.FromString(draft.encode())


@given(drafts())
def test_the_same_event_has_the_same_bytes(draft: Draft) -> None:
    again = Draft(**{name: getattr(draft, name) for name in draft.__struct_fields__})

    assert draft.encode() == again.encode()


@given(drafts(), st.integers(0, 7), st.integers(1, 1 << 53))
def test_an_event_says_what_its_draft_said(draft: Draft, partition: int, position: int) -> None:
    event = Event.stored(draft.encode(), f"evt.{partition}.{'.'.join(draft.subject)}", position)

    assert (draft.id, draft.data, draft.subject, draft.time_ns) == (event.id, event.data, event.subject, event.time_ns)
    assert (draft.cause, draft.correlation or draft.id, draft.depth) == (event.cause, event.correlation, event.depth)
    assert (draft.deadline_ns, draft.traceparent) == (event.deadline_ns, event.traceparent)
    assert draft.lane == ("" if event.lane is None else str(event.lane))
    assert (partition, position) == (event.partition, event.position)


@given(drafts())
def test_what_comes_from_outside_comes_back_as_it_was(draft: Draft) -> None:
    assert draft == from_protobuf(draft.encode())
    assert draft == from_protobuf(by_protobuf(draft).SerializeToString())


@given(drafts())
def test_every_draft_that_can_be_built_so_keeps_the_rules(draft: Draft) -> None:
    check_attributes(draft)
    check_payload(draft.data, draft.data.SerializeToString())


@given(st.binary(max_size=300))
@example(b"\x0a\xff\xff\xff\xff\x7f")
@example(b"\x2a\x00")
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    for read in (decode, from_protobuf, lambda body: Event.stored(body, "evt.0.w.s.e.N", 1).data):
        try:
            read(raw)
        except Rejected:
            continue
        raise AssertionError(f"random bytes were taken for an event: {raw!r}")


@given(drafts(), st.data())
def test_damaged_bytes_are_refused_or_are_another_event(draft: Draft, data: st.DataObject) -> None:
    """Never another error than our own: a reader must be able to park what it cannot read."""
    raw = bytearray(draft.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    event = Event.stored(bytes(raw), f"evt.0.{'.'.join(draft.subject)}", 1)
    for look in ("envelope", "data", "id", "time_ns", "cause", "correlation", "depth", "lane", "deadline_ns"):
        try:
            getattr(event, look)
        except BadEvent:
            continue
    with contextlib.suppress(Rejected):
        from_protobuf(bytes(raw))


@given(st.lists(st.integers(0, 10**18), min_size=2, max_size=50))
def test_ids_sort_by_time_and_never_repeat(times: list[int]) -> None:
    ids = [new_id(ns) for ns in sorted(times)]

    assert len(set(ids)) == len(ids)
    assert [one[:10] for one in ids] == sorted(one[:10] for one in ids)
    assert {26} == {len(one) for one in ids}


@given(TOKENS, TOKENS, TOKENS)
def test_a_subject_is_read_back_from_where_it_is_stored(world: str, subsystem: str, entity: str) -> None:
    subject = Subject(world, subsystem, entity, "PlayerMoved")
    event = Event.stored(b"x", f"evt.3.{'.'.join(subject)}", 1)

    assert subject == event.subject
