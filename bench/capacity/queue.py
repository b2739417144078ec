"""A simulated tier: requests arrive, wait in one queue that all slots pull from (or one per GPU), and are turned away when it is too late.

Events are exact, not stepped: a queue in order of arrival needs no more than the moment at which each slot is free again. Seeded: the same
arguments give the same outcome. `erlang_c` is what theory says of the plain case, and a test holds the simulation to it.
"""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from bench.load.script import arrivals

MOST_PREFILL = 0.95
"""Share of the time that prompts can take: beyond it nothing would ever be answered."""
Service = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """GPUs of one tier. Times in seconds."""

    gpus: int
    slots: int
    """Of each GPU."""
    service: Service
    """Draws how long one answer takes from the moment it has a slot, when the others are busy too."""
    deadline_s: float = math.inf
    """From the request to the end of its answer. Who could not make it gets no slot: an answer of another rung, counted as a miss."""
    shared: bool = True
    """All slots pull from one queue; otherwise each GPU has its own, and a request is sent to one of them by chance."""
    prefill_s: float = 0.0
    """Mean time of one prompt on a GPU, which `service` has of its own. Nothing else gets on meanwhile: answers take longer by the share of
    time that is spent on the prompts of others."""

    def stretch(self, rate: float) -> float:
        """The factor by which the prompts of others lengthen an answer, at that rate of all GPUs."""
        return 1 / (1 - min(MOST_PREFILL, rate / self.gpus * self.prefill_s * (1 - 1 / self.slots)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a load. Shares are of what was offered."""

    offered: int
    in_time: int
    busy: float
    """Share of the slots' time that was spent on answers."""
    waits: array[float]
    """Seconds between request and slot, of those that got one."""

    @property
    def attained(self) -> float:
        """Share that was answered in full by the deadline."""
        return self.in_time / max(1, self.offered)

    @property
    def mean_wait(self) -> float:
        """Seconds, of those that got a slot."""
        return math.fsum(self.waits) / max(1, len(self.waits))

    def waited(self, longer_than_s: float = 0.0) -> float:
        """Share that waited longer than that, of those that got a slot."""
        return sum(wait > longer_than_s for wait in self.waits) / max(1, len(self.waits))

    def wait(self, share: float) -> float:
        """Seconds that this share did not wait longer than, of those that got a slot."""
        ranked = sorted(self.waits)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


def simulate(tier: Tier, *, rate: float, seconds: float, burstiness: float = 1.0, seed: int = 1, warm_s: float = 0.0) -> Outcome:
    """Offer `rate` requests a second for so long; burstiness 1 is Poisson, less comes in bursts.

    It begins with idle slots, which bear anything for a moment: what comes in the first `warm_s`, before `seconds` begin, is not counted.
    """
    dice = random.Random(seed)
    queues = 1 if tier.shared else tier.gpus
    free = [[0.0] * (tier.gpus * tier.slots // queues) for _ in range(queues)]  # when each slot is free again: a heap
    waits, offered, worked, stretch = array("d"), 0, 0.0, tier.stretch(rate)
    for at in arrivals(rate, warm_s + seconds, dice, burstiness=burstiness):
        counts = at >= warm_s
        offered += counts
        slots = free[0] if queues == 1 else free[dice.randrange(queues)]
        begin, takes = max(at, slots[0]), tier.service(dice) * stretch
        if begin + takes > at + tier.deadline_s:
            continue
        heapq.heapreplace(slots, begin + takes)
        if counts:
            waits.append(begin - at)
            worked += takes
    return Outcome(offered=offered, in_time=len(waits), busy=worked / (seconds * tier.gpus * tier.slots), waits=waits)


def exponential(mean_s: float) -> Service:
    """Service times without memory: the M of M/M/c."""
    return lambda dice: dice.expovariate(1 / mean_s)


def lines(mean_s: float, spread: float = 0.3) -> Service:
    """Answers of differing length: gamma, standard deviation `spread` of the mean."""
    shape = spread**-2
    return lambda dice: dice.gammavariate(shape, mean_s / shape)


def erlang_c(slots: int, load: float) -> float:
    """Share that has to wait in M/M/c: `load` is arrivals a second times mean service time, below `slots`."""
    blocked = 1.0  # Erlang B, slot by slot
    for number in range(1, slots + 1):
        blocked = load * blocked / (number + load * blocked)
    return slots * blocked / (slots - load * (1 - blocked))


def warm(tier: Tier) -> float:
    """Seconds after which an overloaded tier's queue is as long as its deadline lets it grow, but for loads very near to what it can do."""
    return 10 * tier.deadline_s if math.isfinite(tier.deadline_s) else 0.0


def bearable(tier: Tier, *, seconds: float, line: float = 0.99, seed: int = 1) -> float:
    """The highest offered rate, a second, at which this share is answered in time in both halves of `seconds`: Poisson and burstiness 0.5.

    Found to 1 % by halving, once the queue is as long as it gets. At most what the slots can do, over `line`: who is turned away costs no
    slot. 0 if not even a hundredth of that is bearable.
    """
    dice = random.Random(seed)
    most = tier.gpus * tier.slots / (math.fsum(tier.service(dice) for _ in range(2_000)) / 2_000)

    def holds(rate: float) -> bool:
        found = (simulate(tier, rate=rate, seconds=seconds / 2, burstiness=shape, seed=seed, warm_s=warm(tier)) for shape in (1.0, 0.5))
        return all(one.attained >= line for one in found)

    low, high = 0.0, most / line
    while high - low > 0.01 * most:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
