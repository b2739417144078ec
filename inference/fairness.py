"""Fair queueing: the next request is the most urgent one of a player who has not had their share.

Deficit round robin over players, nested in worlds: each round gives every world as many tokens as the largest request that waits, shared by
those of its players who wait. Who comes new can pay for one request. Among the players whose credit covers their best request, those come
first for whom one slot more is within their share of the slots; the further beyond it, the later; and among equals the one with the least
slack for its salience. So a player who asks a hundred times as often waits for themselves, and urgency never becomes a way to push past
everybody.

Looking changes nothing: a round is given out when somebody is taken. Otherwise whoever waits behind a full engine would be looked at, and
so paid for, again and again, and who comes new would find them all as entitled as itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

LEAST_SALIENCE: Final = 0.05


class Flow(NamedTuple):
    """A player of a world, who has a share."""

    world: str
    player: str


class Waiting(Protocol):
    """A request that can wait."""

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
    """Requests that wait for one of `slots` slots, and who holds the slots. What was taken holds a slot until `ended`."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self._shares: dict[Flow, _Share[W]] = {}
        self._held: Counter[Flow] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[W]:
        for share in self._shares.values():
            yield from share.waiting

    def add(self, one: W, *, paid: bool = False) -> None:
        """Let it wait. A player who comes new can pay for one request; what was `paid` for and did not get it is not charged twice."""
        share = self._shares.get(one.flow)
        if share is None:
            share = self._shares[one.flow] = _Share(credit=one.cost)
        elif paid:
            share.credit += one.cost
        share.waiting.append(one)
        self._count += 1

    def remove(self, one: W) -> bool:
        """Take it out without a slot; whether it was there."""
        share = self._shares.get(one.flow)
        if share is None or one not in share.waiting:
            return False
        share.waiting.remove(one)
        self._count -= 1
        if not share.waiting:
            del self._shares[one.flow]
        return True

    def ended(self, one: W) -> None:
        """Take a request's slot back."""
        self._held[one.flow] -= 1
        if self._held[one.flow] <= 0:
            del self._held[one.flow]

    def held(self, flow: Flow) -> int:
        """Slots that a player holds."""
        return self._held[flow]

    def share(self, flow: Flow) -> float:
        """Slots that a player may hold while others wait: worlds share alike, and so do the players of a world. At least one."""
        return self._shares_with(flow)(flow)

    def over(self, flow: Flow) -> bool:
        """Return whether a player holds more than their share."""
        return self._held[flow] > self.share(flow)

    def may_take(self, taker: W, giver: W) -> bool:
        """Return whether a slot may go from one request to another: within the taker's share, or from a greedier player."""
        return taker.flow == giver.flow or not self._excess(taker.flow, self.share(taker.flow)) or self.greedier(giver, taker)

    def greedier(self, giver: W, taker: W) -> bool:
        """Return whether the giver's player holds more than their share, and no less than the taker's even after giving.

        Shares are weighed by how much each of the two requests matters.
        """
        if giver.flow == taker.flow or not self.over(giver.flow):
            return False
        given = (self._held[giver.flow] - 1) / self.share(giver.flow) / max(giver.salience, LEAST_SALIENCE)
        return given >= (self._held[taker.flow] + 1) / self.share(taker.flow) / max(taker.salience, LEAST_SALIENCE)

    def peek(self, now_ns: int) -> W | None:
        """The next request. Changes nothing."""
        return self._next(now_ns)[0]

    def take(self, now_ns: int, promised: W | None = None) -> W | None:
        """Take out whoever is next, charge its cost, and note that it holds a slot. Who was `promised` the slot is next, if it waits."""
        one, behind = self._next(now_ns)
        if one is None:
            return None
        if promised is not None and promised in self._waiting_of(promised.flow):
            one, behind = promised, {}
        for flow, credit in behind.items():
            self._shares[flow].credit = credit
        self._shares[one.flow].credit -= one.cost
        self.remove(one)
        self._held[one.flow] += 1
        return one

    def greediest(self, among: Iterable[W] | None = None) -> W | None:
        """The least of the player who has most, slots included, of all that wait or of some: whom to refuse when too many wait."""
        flows: dict[Flow, list[W]] = {}
        for one in self if among is None else among:
            flows.setdefault(one.flow, []).append(one)
        if not flows:
            return None
        greedy = max(flows, key=lambda flow: (len(flows[flow]) + self._held[flow], -min(one.salience for one in flows[flow])))
        return max(flows[greedy], key=lambda one: (-one.salience, one.deadline_ns))

    def sweep(self, hopeless: Callable[[W], bool]) -> list[W]:
        """Take out everything that is `hopeless`."""
        found = [one for one in self if hopeless(one)]
        for one in found:
            self.remove(one)
        return found

    def _waiting_of(self, flow: Flow) -> Sequence[W]:
        share = self._shares.get(flow)
        return () if share is None else share.waiting

    def _next(self, now_ns: int) -> tuple[W | None, Mapping[Flow, float]]:
        """The next request, and the credit of all players behind the rounds that this takes."""
        if not self._shares:
            return None, {}
        best = {flow: self._most_urgent(share, now_ns) for flow, share in self._shares.items()}
        credit = self._after_rounds(best)
        share = self._shares_with()

        def rank(one: W) -> tuple[float, float]:
            return self._excess(one.flow, share(one.flow)), urgency(one.deadline_ns - now_ns, one.salience)

        return min((one for flow, one in best.items() if credit[flow] >= one.cost), key=rank), credit

    def _after_rounds(self, best: Mapping[Flow, W]) -> Mapping[Flow, float]:
        """The credit of all players behind as many rounds as it takes until one of them can pay."""
        players = Counter(flow.world for flow in best)
        largest = max(one.cost for one in best.values())
        quantum = {flow: largest / players[flow.world] for flow in best}
        missing = {flow: max(0.0, best[flow].cost - share.credit) for flow, share in self._shares.items()}
        rounds = math.ceil(min(missing[flow] / quantum[flow] for flow in best))
        if not rounds:
            return {flow: share.credit for flow, share in self._shares.items()}
        return {flow: min(largest, share.credit + rounds * quantum[flow]) for flow, share in self._shares.items()}

    def _shares_with(self, *more: Flow) -> Callable[[Flow], float]:
        """The share of each player, from those who wait, those who hold slots, and those in `more`."""
        players = Counter(flow.world for flow in {*self._shares, *self._held, *more})
        return lambda flow: max(1.0, self.slots / len(players) / players[flow.world])

    def _excess(self, flow: Flow, share: float) -> float:
        """The part of a share by which one slot more would be beyond it."""
        return max(0.0, (self._held[flow] + 1) / share - 1)

    def _most_urgent(self, share: _Share[W], now_ns: int) -> W:
        return min(share.waiting, key=lambda one: urgency(one.deadline_ns - now_ns, one.salience))
