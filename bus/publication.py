"""One event on its way into the log, from the bytes that go out to the answer that ends it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from bus.check import check_attributes, check_payload
from bus.draft import Draft, Now
from bus.errors import BadEvent, TooLarge, WorldbusError
from bus.subjects import lane_filter, partition_of, wire_subject

WAITING, AGAIN, LOOKING = 0.0, -1.0, float("inf")
"""Values of `sent_at`: not sent yet, to be sent again, being looked up in the log."""
HEADROOM = 512  # bytes for the header lines that a batch or a fence adds


class Parcel(NamedTuple):
    """The bytes that go out for a draft that keeps every rule."""

    subject: bytes
    lines: bytes
    """Header lines, each with its line end."""
    payload: bytes
    timeless: bool = False
    """True if the time is of our own clock: no part of what makes two events the same."""


def pack(draft: Draft, max_payload: int) -> Parcel:
    """Check and encode a draft; raises `Rejected` with the rule it breaks. `max_payload` is the server's limit in bytes, headers
    included.
    """
    subject = wire_subject(draft.world, draft.subsystem, draft.entity, draft.data.DESCRIPTOR.name)
    check_attributes(draft)
    payload = draft.encode()
    check_payload(draft.data, payload)
    lines = b"Nats-Msg-Id: %b\r\n" % draft.id.encode()
    if len(payload) + len(lines) + HEADROOM > max_payload:
        raise TooLarge(
            f"event {draft.id} of {len(payload)} bytes and its header exceed the server's {max_payload}: send a reference instead",
            limit=max_payload,
            found=len(payload) + len(lines),
        )
    return Parcel(subject, lines, payload, type(draft.time_ns) is Now)


def fence_of(draft: Draft, partitions: int) -> str:
    """The stored subjects of everything that the draft's subsystem said about its entity."""
    return lane_filter(partition_of(draft.world, draft.entity, partitions), draft.world, draft.subsystem, draft.entity)


def fence_lines(fence: str, expected: int) -> bytes:
    """The header pair that lets a write in only if the last event on `fence` is at position `expected`. Raises `BadEvent`."""
    if not isinstance(expected, int) or isinstance(expected, bool) or not 0 <= expected < 2**63:
        raise BadEvent(
            f"expected position must be a whole number, 0 for a lane without events, found {ascii(expected)[:40]}: look where it is",
            code="OUT_OF_RANGE",
            field="expected",
        )
    return b"Nats-Expected-Last-Subject-Sequence: %d\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n" % (expected, fence.encode())


class Desk(Protocol):
    """The sender of publications, which takes their answers: the publisher."""

    def position_in(self, payload: bytes) -> int:
        """The position in a plain acknowledgement, 0 for any other answer."""

    def judge(self, publication: Publication, header: bytes | None, payload: bytes) -> None:
        """Any other answer."""

    def end(self, publication: Publication) -> None:
        """Forget a publication that has its outcome."""


class Publication:
    """One publish that has not ended yet; `future` ends with the position or the error."""

    __slots__ = (
        "deadline",
        "desk",
        "expected",
        "fence",
        "fenced",
        "future",
        "id",
        "lane",
        "lines",
        "number",
        "payload",
        "refusals",
        "refused",
        "sent_at",
        "subject",
        "timeless",
        "tries",
    )

    def __init__(
        self, desk: Desk, id: str, parcel: Parcel, future: asyncio.Future[int], deadline: float, *, fence: str = "", expected: int = 0
    ) -> None:
        self.desk = desk
        self.id = id
        self.subject, self.lines, self.payload, self.timeless = parcel
        self.lane = self.subject.rpartition(b".")[0]
        self.fence = fence
        self.expected = expected
        self.fenced = bool(fence)
        if fence:
            self.lines += fence_lines(fence, expected)
        self.future = future
        self.number = 0
        self.deadline = deadline
        self.sent_at = WAITING
        self.tries = 0
        self.refused: WorldbusError | None = None
        """The reason for which the log has not taken it so far."""
        self.refusals = 0
        """Sendings that the log certainly did not take; if those are all, it is not recorded."""

    @property
    def parcel(self) -> Parcel:
        """The bytes that are in the log once it is stored."""
        return Parcel(self.subject, b"", self.payload, self.timeless)

    @property
    def ended(self) -> bool:
        """Return whether its caller has been told, or does not wait any more."""
        return self.future.done()

    def stored(self, position: int) -> None:
        """End as recorded at `position`."""
        self.desk.end(self)
        if not self.future.done():
            self.future.set_result(position)

    def failed(self, error: WorldbusError) -> None:
        """End as not recorded or as unknown; the error says which."""
        self.desk.end(self)
        if not self.future.done():
            self.future.set_exception(error)

    def answered(self, header: bytes | None, payload: bytes) -> None:
        """The server's own words about it."""
        position = self.desk.position_in(payload)
        if position:
            self.stored(position)
        else:
            self.desk.judge(self, header, payload)
