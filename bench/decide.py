"""`decide`: how long each handler's rules take on large states, against the 200 µs that a decision may cost.

A demo is rehearsed in memory. Its log is then decided again, and those decisions count whose state is at or above the 95th percentile of
the handler's state sizes (encoded bytes, over all of its decisions). Each is taken three times and the middle one counts, in processor
time; the figure is the 95th percentile of these. `evolve` is measured likewise, over what those decisions said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import msgspec

from bench.duskmarket import ALL
from bench.harness import Result, main
from bus.event import Event
from bus.handler import Handler
from schemas.upcast import recorded_names
from worldbus.demo.script import rehearse

LIMIT_US = 200.0
PLAYERS = 100
MINUTES = 240  # of world time
SHARE = 0.95
LEAST = 20  # decisions that are measured at least, the largest states first
TIMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One input of one lane, with the state before it and what was said then."""

    size: int
    state: Any
    event: Event
    said: tuple[Event, ...]


@dataclass(slots=True)
class Measured:
    """One handler's times."""

    state_bytes: int
    decisions: int
    decide_us: list[float] = field(default_factory=list)
    evolve_us: list[float] = field(default_factory=list)


def decisions(handler: Handler[Any], log: Iterable[Event]) -> list[Decision]:
    """Every decision that a log of one world holds or implies, in order."""
    names = recorded_names(handler.listens_to)
    events = list(log)
    answers: dict[tuple[int, str], list[Event]] = {}
    for event in events:
        if event.subsystem == handler.name and (mark := event.lane) is not None:
            answers.setdefault((mark.position, event.entity), []).append(event)
    states: dict[str, Any] = {}
    found = []
    for event in events:
        if event.name not in names:
            continue
        for entity in dict.fromkeys(handler.entities(event)):
            state = states[entity] if entity in states else handler.initial(entity)
            said = tuple(answers.get((event.position, entity), ()))
            found.append(Decision(size=len(msgspec.msgpack.encode(state)), state=state, event=event, said=said))
            for one in said:
                state = handler.evolve(state, one)
            states[entity] = state
    return found


def measure(handler: Handler[Any], log: Iterable[Event]) -> Measured:
    """Decide and evolve on the largest twentieth of a handler's states."""
    found = sorted(decisions(handler, log), key=lambda one: one.size)
    first = min(int(len(found) * SHARE), max(0, len(found) - LEAST))
    large = found[first:]
    measured = Measured(state_bytes=large[0].size if large else 0, decisions=len(large))
    for one in large:
        measured.decide_us.append(_median_us(lambda one=one: handler.decide(one.event, one.state)))  # type: ignore[misc]
        state = one.state
        for said in one.said:
            measured.evolve_us.append(_median_us(lambda state=state, said=said: handler.evolve(state, said)))  # type: ignore[misc]
            state = handler.evolve(state, said)
    return measured


def _median_us(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        began = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - began)
    return median(times) / 1000


def p95(times_us: list[float]) -> float:
    """The nearest-rank 95th percentile; 0 of nothing."""
    ordered = sorted(times_us)
    return ordered[min(len(ordered) - 1, int(SHARE * len(ordered)))] if ordered else 0.0


async def run(scale: float = 1.0) -> list[Result]:
    """Both figures of every handler, and the slowest of all last."""
    log = rehearse(players=max(2, round(PLAYERS * min(scale, 1.0))), minutes=max(30, round(MINUTES * scale))).log
    results = []
    for handler in ALL:
        found = measure(handler, log)
        against = f"{LIMIT_US:.0f} us; {found.decisions} decisions on states of {found.state_bytes} bytes and more"
        for kind, times in (("decide", found.decide_us), ("evolve", found.evolve_us)):
            value = p95(times)
            results.append(
                Result(name=f"{kind}-{handler.name}", value=value, unit="us", against=against, ratio=LIMIT_US / value if value else None)
            )
    slowest = max(results, key=lambda one: one.value)
    results.append(
        Result(
            name="decide-slowest",
            value=slowest.value,
            unit="us",
            against=f"{LIMIT_US:.0f} us; {slowest.name}",
            ratio=LIMIT_US / slowest.value,
        )
    )
    return results


if __name__ == "__main__":
    main(run)
