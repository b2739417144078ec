"""An immutable schedule in which adding or removing one of ten thousand timers costs microseconds.

A dict or a sorted tuple would be copied whole at every event. Here both are cut in pieces, and a change copies one piece and the
outer tuple.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from zlib import crc32

SHARDS: Final = 64
MAX_RUN: Final = 128  # entries in one piece of the order before it is cut in two

Entry = tuple[int, str]  # (due, key)
_NO_SHARDS: Final[tuple[Mapping[str, int], ...]] = ({},) * SHARDS


@dataclass(frozen=True, slots=True)
class Schedule:
    """Keys by the time they are due; equal times by key. Each key stands at most once."""

    order: tuple[tuple[Entry, ...], ...] = ()  # sorted, cut in runs of at most MAX_RUN; none is empty
    due: tuple[Mapping[str, int], ...] = _NO_SHARDS  # key → due, by hash of the key
    size: int = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Entry]:
        """Every entry in due order."""
        for run in self.order:
            yield from run

    def get(self, key: str) -> int | None:
        """The moment at which `key` is due, or None if it is not planned."""
        return self.due[_shard(key)].get(key) if self.size else None

    def first(self) -> Entry | None:
        """The entry that is due first, or None."""
        return self.order[0][0] if self.order else None

    def until(self, moment: int) -> Iterator[Entry]:
        """The entries that are due at or before `moment`, in due order."""
        for entry in self:
            if entry[0] > moment:
                return
            yield entry

    def put(self, key: str, due: int) -> Schedule:
        """With `key` due at `due`, wherever it stood before."""
        rest = self.remove(key)
        entry = (due, key)
        at = max(bisect_left(rest.order, entry, key=_first) - 1, 0)
        run = list(rest.order[at]) if rest.order else []
        insort(run, entry)
        half = len(run) // 2
        runs = (tuple(run),) if len(run) <= MAX_RUN else (tuple(run[:half]), tuple(run[half:]))
        return Schedule(
            order=rest.order[:at] + runs + rest.order[at + 1 :],
            due=_with(rest.due, key, {**rest.due[_shard(key)], key: due}),
            size=rest.size + 1,
        )

    def remove(self, key: str) -> Schedule:
        """Without `key`; the very same object if it is not planned."""
        due = self.get(key)
        if due is None:
            return self
        entry = (due, key)
        at = bisect_left(self.order, entry, key=_last)
        run = tuple(other for other in self.order[at] if other != entry)
        shard = {other: when for other, when in self.due[_shard(key)].items() if other != key}
        order = self.order[:at] + ((run,) if run else ()) + self.order[at + 1 :]
        return Schedule(order=order, due=_with(self.due, key, shard), size=self.size - 1)


EMPTY: Final = Schedule()


def _shard(key: str) -> int:
    return crc32(key.encode()) % SHARDS


def _with(shards: tuple[Mapping[str, int], ...], key: str, shard: Mapping[str, int]) -> tuple[Mapping[str, int], ...]:
    at = _shard(key)
    return (*shards[:at], shard, *shards[at + 1 :])


def _first(run: tuple[Entry, ...]) -> Entry:
    return run[0]


def _last(run: tuple[Entry, ...]) -> Entry:
    return run[-1]
