"""The adapter on and off, by turns: which commands count for which, and how sure the ratio of their p95s is.

Windows of a few seconds alternate, so what changes slowly (players, other programs on this machine) falls on both alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from worldbus.demo.report import percentile

NS = 1_000_000_000
DRAWS = 1000
SURE = 0.9  # share of draws between the interval's ends

Switch = tuple[float, bool | None]
"""Moments at which the adapter was switched, and to what; None while it is not known."""
Took = list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """p95 of commands in milliseconds, and between which two values `ratio` lies nine times of ten when windows are drawn anew."""

    on_ms: float | None
    off_ms: float | None
    ratio: float | None
    between: tuple[float, float] | None


def by_window(timed: Sequence[tuple[float, float]], switches: Sequence[Switch]) -> list[tuple[bool, Took]]:
    """For each window between two switches, in order, whether the adapter was on, and the seconds that each command took which lies in it
    from its typing to its showing. What lies over a switch, or where it is not known, counts for none.
    """
    windows: list[tuple[float, bool | None, Took]] = [(when, on, []) for when, on in switches]
    for typed, shown in timed:
        switched, _, took = max((window for window in windows if window[0] <= shown), key=lambda it: it[0], default=(math.inf, True, []))
        if switched <= typed:
            took.append(shown - typed)
    return [(on, took) for _, on, took in windows if took and on is not None]


def compared(windows: Sequence[tuple[bool, Took]], seed: int = 0) -> Compared:
    """Both sides pooled, and the spread of their ratio by drawing whole windows with replacement: commands of one window are alike."""
    on, off = ([took for is_on, took in windows if is_on is side] for side in (True, False))
    return Compared(on_ms=_p95(on), off_ms=_p95(off), ratio=_ratio(on, off), between=_between(on, off, random.Random(seed)))


def shares(samples: Sequence[tuple[float, bool, float]]) -> dict[bool, float]:
    """Processor seconds per second, with the adapter on and off, from (when, on, processor seconds so far) at both ends of each window."""
    spent: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for (began, on, before), (ended, still, after) in zip(samples[::2], samples[1::2], strict=False):
        if on is still and ended > began:
            spent[on].append((after - before, ended - began))
    return {on: sum(cpu for cpu, _ in parts) / sum(time for _, time in parts) for on, parts in spent.items() if parts}


def _p95(windows: Sequence[Took]) -> float | None:
    return percentile(sorted(round(value * NS) for took in windows for value in took), 0.95)


def _ratio(on: Sequence[Took], off: Sequence[Took]) -> float | None:
    """To four digits, however small it is: to a thousandth, a ratio of a two-thousandth would be none at all."""
    with_it, without = _p95(on), _p95(off)
    return float(f"{with_it / without:.4g}") if with_it and without else None


def _between(on: Sequence[Took], off: Sequence[Took], draw: random.Random) -> tuple[float, float] | None:
    """None where there is nothing to draw from."""
    if min(len(on), len(off)) < 2:
        return None
    drawn = (_ratio(draw.choices(on, k=len(on)), draw.choices(off, k=len(off))) for _ in range(DRAWS))
    ordered = sorted(ratio for ratio in drawn if ratio is not None)
    aside = round((1 - SURE) / 2 * len(ordered))
    return (ordered[aside], ordered[-1 - aside]) if ordered else None
