"""The writes that may share a batch: order is kept, and two writes under one fence never travel together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bus.connection import Connection, _Client
from bus.group_commit import MAX_BATCH, GroupCommit, batch_frames


@dataclass(slots=True)
class Letter:
    """A write that goes nowhere."""

    subject: bytes
    fenced: bool
    lane: bytes
    lines: bytes = b"Nats-Msg-Id: x\r\n"
    payload: bytes = b"payload"
    sent_at: float = 0.0
    tries: int = 0
    ended: bool = False

    def stored(self, position: int) -> None:
        raise AssertionError("nothing was sent")

    def answered(self, header: bytes | None, payload: bytes) -> None:
        raise AssertionError("nothing was sent")


def letter(lane: int, fenced: bool) -> Letter:
    return Letter(subject=b"evt.w.s.e%d.N" % lane, lane=b"evt.w.s.e%d" % lane, fenced=fenced)


def cut(letters: list[Letter]) -> list[list[Letter]]:
    """All batches that a queue is cut into."""

    async def go() -> list[list[Letter]]:
        commit = GroupCommit(Connection(_Client(), "test"))
        commit._queue.extend(letters)
        batches = []
        while commit._queue:
            batches.append(commit._cut_batch())
        return batches  # type: ignore[return-value] - a Letter is a Write

    return asyncio.run(go())


@given(st.lists(st.builds(letter, st.integers(0, 6), st.booleans()), max_size=60))
def test_batches_keep_the_order_and_keep_fences_apart(letters: list[Letter]) -> None:
    batches = cut(letters)

    assert letters == [one for batch in batches for one in batch]
    for batch in batches:
        for fenced in (one for one in batch if one.fenced):
            assert 1 == sum(one.lane == fenced.lane for one in batch)


def test_a_write_that_was_given_up_does_not_travel() -> None:
    """Its caller was told that it is not recorded."""
    letters = [letter(n, False) for n in range(20)]
    for one in letters[::3]:
        one.ended = True

    assert [[one for n, one in enumerate(letters) if n % 3]] == cut(letters)


def test_a_batch_is_never_larger_than_the_server_takes() -> None:
    sizes = [len(batch) for batch in cut([letter(n, False) for n in range(2500)])]

    assert [MAX_BATCH, MAX_BATCH, 500] == sizes


def test_a_batch_of_large_events_is_cut_by_bytes() -> None:
    large = [letter(n, False) for n in range(100)]
    for one in large:
        one.payload = b"x" * 262_144

    assert all(len(batch) <= 17 for batch in cut(large))


def test_only_the_last_frame_commits_and_asks_for_an_answer() -> None:
    frames = batch_frames([letter(n, False) for n in range(3)], b"inbox.1")
    heads = [line for line in frames.split(b"\r\n") if line.startswith(b"HPUB")]

    assert [False, False, True] == [b"inbox.1" in head for head in heads]
    assert 1 == frames.count(b"Nats-Batch-Commit: 1")
    assert [b"1", b"2", b"3"] == [line.rpartition(b" ")[2] for line in frames.split(b"\r\n") if line.startswith(b"Nats-Batch-Sequence")]
    assert 1 == len({line for line in frames.split(b"\r\n") if line.startswith(b"Nats-Batch-Id")})
