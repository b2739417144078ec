"""Who is next: the most urgent request of whoever has not had their share.

Deficit round robin over players, nested in worlds: each round gives every world as many tokens as the largest request that waits, shared by
those of its players who wait. Who comes new can pay for one request. Among the players whose credit covers their best request, the one with
the least slack for its salience goes first. So a player who asks a hundred times as often waits for themselves, and urgency never becomes a
way to push past everybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

LEAST_SALIENCE: Final = 0.05


class Flow(NamedTuple):
    """Who shares: a player of a world."""

    world: str
    player: str


class Waiting(Protocol):
    """What can wait."""

    @property
    def flow(self) -> Flow: ...

    @property
    def cost(self) -> float:
        """Tokens that it will probably need, above 0."""
        ...

    @property
    def salience(self) -> float: ...

    @property
    def deadline_ns(self) -> int: ...


W = TypeVar("W", bound=Waiting)


def urgency(slack_ns: int, salience: float) -> float:
    """Smaller is sooner: slack divided by salience; a deadline that has passed is not more urgent than one that passes now."""
    return max(slack_ns, 0) / max(salience, LEAST_SALIENCE)


@dataclass(slots=True)
class _Share(Generic[W]):
    credit: float = 0.0
    waiting: list[W] = field(default_factory=list)


class FairQueue(Generic[W]):
    """Requests that wait for a slot."""

    def __init__(self) -> None:
        self._shares: dict[Flow, _Share[W]] = {}
        self._players: dict[str, int] = {}  # waiting players by world
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[W]:
        for share in self._shares.values():
            yield from share.waiting

    def add(self, one: W) -> None:
        """Let it wait. A player who comes new can pay for one request."""
        share = self._shares.get(one.flow)
        if share is None:
            share = self._shares[one.flow] = _Share()
            self._players[one.flow.world] = self._players.get(one.flow.world, 0) + 1
            share.credit = one.cost
        share.waiting.append(one)
        self._count += 1

    def remove(self, one: W) -> bool:
        """Take it out; whether it was there."""
        share = self._shares.get(one.flow)
        if share is None or one not in share.waiting:
            return False
        share.waiting.remove(one)
        self._count -= 1
        if not share.waiting:
            del self._shares[one.flow]
            self._players[one.flow.world] -= 1
            if not self._players[one.flow.world]:
                del self._players[one.flow.world]
        return True

    def peek(self, now_ns: int) -> W | None:
        """Who is next; giving out new rounds is all that it changes."""
        if not self._shares:
            return None
        best = {flow: self._most_urgent(share, now_ns) for flow, share in self._shares.items()}
        largest = max(one.cost for one in best.values())
        quantum = {flow: largest / self._players[flow.world] for flow in best}
        rounds = math.ceil(min(max(0.0, best[flow].cost - share.credit) / quantum[flow] for flow, share in self._shares.items()))
        if rounds > 0:
            for flow, share in self._shares.items():
                share.credit = min(largest, share.credit + rounds * quantum[flow])
        covered = [best[flow] for flow, share in self._shares.items() if share.credit >= best[flow].cost]
        return min(covered, key=lambda one: urgency(one.deadline_ns - now_ns, one.salience))

    def take(self, now_ns: int) -> W | None:
        """Take out whoever is next, and charge its cost."""
        one = self.peek(now_ns)
        if one is not None:
            self._shares[one.flow].credit -= one.cost
            self.remove(one)
        return one

    def greediest(self) -> W | None:
        """The last request of the player who has most waiting: whom to refuse when too many wait."""
        if not self._shares:
            return None
        share = max(self._shares.values(), key=lambda share: (len(share.waiting), -min(one.salience for one in share.waiting)))
        return max(share.waiting, key=lambda one: (-one.salience, one.deadline_ns))

    def sweep(self, hopeless: Callable[[W], bool]) -> list[W]:
        """Take out everything that is `hopeless`."""
        found = [one for one in self if hopeless(one)]
        for one in found:
            self.remove(one)
        return found

    def _most_urgent(self, share: _Share[W], now_ns: int) -> W:
        return min(share.waiting, key=lambda one: urgency(one.deadline_ns - now_ns, one.salience))
