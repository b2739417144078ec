"""Heartbeats: understood by older and newer releases, bounded in size, and truthful about the parts of a process."""

from __future__ import annotations

import json

import msgspec
import pytest

from bus.membership import ANSWER_BYTES, Membership, decode
from bus.presence import HandlerReport, Heartbeat, Hold, Presence
from worldbus.roll_call import RollCall, holders


class Wire:
    """The messages of a member, in order."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, frames: bytes) -> None:
        self.sent.append(frames.split(b"\r\n", 1)[1].removesuffix(b"\r\n"))


def reports(handlers: int, partitions: int) -> list[HandlerReport]:
    holds = [Hold(partition, 1_796_000_000_000, 17, 1_796_000_000_123, 987_654_321, True) for partition in range(partitions)]
    return [HandlerReport(f"handler-{number}", holds, 12_345, 987_654_321, 1_796_000_000_456) for number in range(handlers)]


async def answers(said: list[HandlerReport], presence: Presence | None = None, asked: bytes = b"q-1") -> list[bytes]:
    """The answers of a member to a question."""
    wire = Wire()
    member = Membership(wire, "LOG", ["handler-0"], lambda: None, presence=presence or Presence("9.9.9"), reports=lambda: said)  # type: ignore[arg-type]
    member._on_ask(b"", b"", None, asked)
    return wire.sent


def test_a_heartbeat_of_an_older_release_is_understood() -> None:
    call = RollCall()
    call.hear(b'{"member": "old", "handlers": ["player"], "leaving": false}')

    (member,) = call.members.values()
    assert (member.handlers, member.speaks, member.version) == (["player"], False, "")
    assert call.complete, "nobody waits for an answer that an older release cannot give"


def test_an_older_release_understands_a_heartbeat_of_this_one() -> None:
    class Before(msgspec.Struct):
        member: str
        handlers: list[str]
        leaving: bool = False

    beat = msgspec.json.encode(Heartbeat("new", ["player"], host="there", pid=7, version="9.9.9", started_ms=1))

    assert msgspec.json.decode(beat, type=Before) == Before("new", ["player"])


async def test_a_heartbeat_says_only_who_is_there_until_somebody_asks() -> None:
    member = Membership(Wire(), "LOG", ["player"], lambda: None, presence=Presence("9.9.9"), reports=lambda: reports(20, 256))  # type: ignore[arg-type]

    assert len(msgspec.json.encode(member._beat())) < 300


@pytest.mark.parametrize(("handlers", "partitions"), [(18, 8), (40, 256), (1, 256), (0, 0)])
async def test_an_answer_comes_whole_in_messages_of_bounded_size(handlers: int, partitions: int) -> None:
    said = reports(handlers, partitions)
    one = max((len(msgspec.json.encode(report)) for report in said), default=0)

    sent = await answers(said)
    call = RollCall()
    call.asked = "q-1"
    for payload in sent:
        assert not call.complete
        call.hear(payload)

    assert max(map(len, sent)) < ANSWER_BYTES + one + 1024
    assert call.complete
    (member,) = call.members.values()
    assert list(member.reports.values()) == said


async def test_somebody_elses_answer_completes_nothing() -> None:
    call = RollCall()
    for payload in await answers(reports(2, 8), asked=b"another question"):
        call.hear(payload)

    assert not call.complete


async def test_who_asks_too_often_is_not_answered_each_time() -> None:
    wire = Wire()
    member = Membership(wire, "LOG", ["player"], lambda: None, reports=lambda: reports(1, 8))  # type: ignore[arg-type]
    for _ in range(100):
        member._on_ask(b"", b"", None, b"q")

    assert len(wire.sent) < 10


def test_a_member_that_leaves_is_forgotten() -> None:
    call = RollCall()
    call.hear(json.dumps({"member": "m", "handlers": []}).encode())
    call.hear(json.dumps({"member": "m", "handlers": [], "leaving": True}).encode())

    assert call.members == {}


def test_what_is_no_heartbeat_is_passed_over() -> None:
    call = RollCall()
    for payload in (b"", b"{", b'{"member": 1}', b"\xff\xfe", b"[]"):
        call.hear(payload)

    assert call.members == {}


def test_of_two_holders_the_later_one_counts_and_who_stands_by_does_not() -> None:
    call = RollCall()
    for name, hold in (("a", Hold(3, 100, 5, 1, 9, True)), ("b", Hold(3, 200, 0, 0, 12, True)), ("c", Hold(3, 300, 0, 0, 0, False))):
        beat = Heartbeat(name, ["player"], pid=1, asked=call.asked, reports=[HandlerReport("player", [hold])])
        call.hear(msgspec.json.encode(beat))

    ((member, hold),) = holders(list(call.members.values())).values()
    assert (member.id, hold.settled) == ("b", 12)


def test_a_part_says_since_when_it_stands_so_and_is_gone_when_it_ends() -> None:
    presence = Presence()
    with presence.part("projector") as part:
        part.stands("waits", "Postgres does not answer")
        first = part.report()
        part.stands("waits", "Postgres still does not answer")
        assert (part.report().since_ms, part.report().reason) == (first.since_ms, "Postgres still does not answer")
        part.moved(12)
        assert presence.parts()[0].position == 12

    assert presence.parts() == []


def test_a_process_that_is_not_well_says_why() -> None:
    class Ill:
        reasons = ("player/mira has been deciding for 12 s",)

    assert Presence("1", health=Ill()).reasons() == ["player/mira has been deciding for 12 s"]
    assert decode(msgspec.json.encode(Heartbeat("m", [], health=["ill"]))).health == ["ill"]
