"""Laws of the protocol parser: however the stream is cut into reads, the same messages come out in the same order, byte for byte."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bus.answers import Delivered, header_value, parse_ack, parse_stamp, status_of
from bus.connection import _Client
from bus.json_format import format_time

Message = tuple[bytes, bytes, bytes | None, bytes]
SUBJECTS = st.from_regex(rb"[a-zA-Z0-9_$.-]{1,40}", fullmatch=True)
HEADERS = st.none() | st.lists(st.from_regex(rb"[A-Za-z-]{1,12}: [ -~]{0,20}", fullmatch=True), max_size=3).map(
    lambda lines: b"NATS/1.0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
)
PAYLOADS = st.binary(max_size=60) | st.sampled_from([b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n", b"-ERR 'x'\r\n", b""])
MESSAGES = st.tuples(SUBJECTS, st.just(b"") | SUBJECTS, HEADERS, PAYLOADS)


def frame(message: Message) -> bytes:
    subject, reply, header, payload = message
    words = [subject, b"7", *([reply] if reply else [])]
    if header is None:
        return b"MSG %b %d\r\n%b\r\n" % (b" ".join(words), len(payload), payload)
    return b"HMSG %b %d %d\r\n%b%b\r\n" % (b" ".join(words), len(header), len(header) + len(payload), header, payload)


@given(st.lists(MESSAGES, max_size=8), st.data())
def test_the_same_messages_come_out_however_the_stream_is_cut(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(frame(message) + data.draw(st.sampled_from([b"", b"+OK\r\n"])) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    got: list[Message] = []

    async def feed() -> None:
        client = _Client()
        client.listeners[b"7"] = lambda *message: got.append(message)
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            await client._ps.parse(stream[start:end])

    asyncio.run(feed())

    assert messages == got


@given(st.integers(1, 1 << 60), st.integers(1, 1 << 60), st.integers(0, 1 << 62), st.integers(0, 1 << 60), st.integers(1, 99))
def test_both_forms_of_an_acknowledgement_say_the_same(position: int, seq: int, ns: int, pending: int, tries: int) -> None:
    numbers = f"{tries}.{position}.{seq}.{ns}.{pending}"
    forms = (f"$JS.ACK.LOG.h_0.{numbers}", f"$JS.ACK._.hash.LOG.h_0.{numbers}", f"$JS.ACK.hub.hash.LOG.h_0.{numbers}.random")

    assert {Delivered(position, seq, ns, pending)} == {parse_ack(form.encode()) for form in forms}


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9))
def test_stamps_keep_every_nanosecond(ns: int) -> None:
    assert ns == parse_stamp(format_time(ns))


@given(st.lists(st.tuples(st.sampled_from([b"A", b"Nats-Sequence", b"B"]), st.from_regex(rb"[0-9]{0,9}", fullmatch=True)), max_size=6))
def test_the_last_header_of_a_name_counts(pairs: list[tuple[bytes, bytes]]) -> None:
    """The server appends its own headers behind the stored ones, which anybody may have written."""
    block = b"NATS/1.0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in pairs) + b"\r\n"

    for name in (b"A", b"Nats-Sequence", b"Sequence"):
        values = [value for found, value in pairs if found == name]
        assert (values[-1] if values else b"") == header_value(block, name)
    assert 0 == status_of(block)
    assert 404 == status_of(b"NATS/1.0 404 Message Not Found\r\n\r\n")
