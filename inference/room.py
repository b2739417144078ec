"""Making room: whose generation is stopped so that somebody who waits can begin. Values in, a decision out; no clock, no engine.

Two reasons, in this order. A player who holds more than their share of the slots gives one to a player who has less of theirs. And who
matters clearly less gives way to who matters more, or, mattering no more, to who could not begin in time otherwise. Neither takes a slot
out of somebody's share for a player who has theirs: however salient what a player asks for, a hundred times of it do not push others out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from inference.fairness import FairQueue, Waiting

CLEARLY: Final = 0.2
"""Factor by which a request must be more salient to take the slot of another one that has just as little time."""

W = TypeVar("W", bound=Waiting)


def yielding(candidate: W, victims: Sequence[W], queue: FairQueue[W], in_need: Callable[[W], bool]) -> W | None:
    """Pick the one of the `victims`, all running, that gives its slot to `candidate`, the next in turn; None: none does.

    `in_need(victim)` says that the candidate would be late if it waited, and that the victim would not be if it did.
    """
    takable = [one for one in victims if queue.may_take(candidate, one)]
    if greedy := [one for one in takable if queue.greedier(one, candidate)]:
        return max(greedy, key=lambda one: (queue.held(one.flow), -one.salience, one.deadline_ns))
    if not takable:
        return None
    least = min(takable, key=lambda one: (one.salience, -one.deadline_ns))
    if least.salience + CLEARLY <= candidate.salience or (least.salience <= candidate.salience and in_need(least)):
        return least
    return None
