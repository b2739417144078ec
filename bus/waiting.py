"""Inputs that wait in a lane: parked ones and those deferred behind them, in the order in which they are to be decided.

One number each, so that a lane that nobody mends for a week, and a million inputs behind it, cost tens of megabytes and not hundreds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BITS = 32  # of a partition
_MASK = (1 << _BITS) - 1


class Waiting(NamedTuple):
    """One parked or deferred input of a lane. `answered`: its answer is in the log already, only the record that it was taken up is not."""

    partition: int
    position: int
    answered: bool = False


class WaitingInputs:
    """The inputs that wait in one lane, oldest first."""

    __slots__ = ("_packed",)

    def __init__(self, inputs: Iterable[Waiting] = ()) -> None:
        self._packed = deque(map(_pack, inputs))

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[Waiting]:
        return map(_unpack, self._packed)

    def __getitem__(self, index: int) -> Waiting:
        return _unpack(self._packed[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WaitingInputs) and self._packed == other._packed

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} waiting: {[*self][:3]}{' …' if len(self) > 3 else ''}>"

    def copy(self) -> WaitingInputs:
        """The same inputs, to be changed apart."""
        other = WaitingInputs()
        other._packed = self._packed.copy()
        return other

    def add(self, partition: int, position: int, *, answered: bool = False) -> None:
        """Put an input behind the others."""
        self._packed.append(_pack(Waiting(partition, position, answered)))

    def has(self, position: int) -> bool:
        """Return whether the input at `position` waits. Quick for the first one, which is the one that is usually asked for."""
        packed = self._packed
        return bool(packed) and (packed[0] >> _BITS + 1 == position or any(one >> _BITS + 1 == position for one in packed))

    def get(self, position: int) -> Waiting | None:
        """The input at `position`, if it waits."""
        return next((one for one in self if one.position == position), None) if self.has(position) else None

    def remove(self, position: int) -> None:
        """Take the input at `position` out, if it waits."""
        packed = self._packed
        if packed and packed[0] >> _BITS + 1 == position:
            packed.popleft()
        elif self.has(position):
            self._packed = deque(one for one in packed if one >> _BITS + 1 != position)

    def answered(self, position: int) -> None:
        """Note that the answer to the input at `position` is in the log, if it waits."""
        if self.has(position):
            self._packed = deque(one | 1 if one >> _BITS + 1 == position else one for one in self._packed)


def _pack(one: Waiting) -> int:
    return (one.position << _BITS | one.partition & _MASK) << 1 | one.answered


def _unpack(packed: int) -> Waiting:
    return Waiting(packed >> 1 & _MASK, packed >> _BITS + 1, bool(packed & 1))
