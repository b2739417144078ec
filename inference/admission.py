"""Admission: what can be finished in time is begun, everything else is passed on at once.

The prediction is made of what the engine showed lately: time to the first token and time per token, each as a smoothed mean plus twice its
smoothed deviation, as TCP estimates a round trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from inference.ladder import Ladder, Rung
from inference.tiers import Tier

GAIN: Final = 0.1  # weight of a new sample of the mean
DEVIATION_GAIN: Final = 0.2
OUTLIER: Final = 4.0  # times the typical value
STEP: Final = 0.03  # by which the typical value follows each sample
LAG_FADES: Final = 0.993  # per look
LAG_MOST_S: Final = 0.25  # a longer stall says nothing of the next one
CHARS_PER_TOKEN: Final = 3.0  # cautious: English has about four


class Estimate:
    """A smoothed mean and deviation, seconds."""

    __slots__ = ("deviation", "mean", "samples", "typical")

    def __init__(self, guess: float) -> None:
        self.mean = guess
        self.typical = guess
        """About the median: one stall of the machine does not move it."""
        self.deviation = guess / 4
        self.samples = 0

    def learn(self, sample: float) -> None:
        """Take one measurement in. The first one replaces the guess. A far outlier counts as a near one: after one stall, which all that
        ran have measured, nobody would fit any more, and who is not begun teaches nothing."""
        self.samples += 1
        if self.samples == 1:
            self.mean, self.typical, self.deviation = sample, sample, sample / 4
            return
        self.typical *= 1 + STEP if sample > self.typical else 1 - STEP
        sample = min(sample, OUTLIER * self.typical)
        self.deviation += DEVIATION_GAIN * (abs(sample - self.mean) - self.deviation)
        self.mean += GAIN * (sample - self.mean)

    @property
    def cautious(self) -> float:
        """The value that holds in all but a few cases."""
        return self.mean + 2 * self.deviation


class Lag:
    """The lateness of the event loop: the most of lately, seconds. A machine that is too busy shows here first."""

    __slots__ = ("_peak",)

    def __init__(self) -> None:
        self._peak = 0.0

    def learn(self, late: float) -> None:
        """Take in how late one timer was. Old peaks fade: by half in about two seconds."""
        self._peak = min(LAG_MOST_S, max(late, self._peak * LAG_FADES))

    @property
    def cautious(self) -> float:
        """The lateness, in seconds, to reckon with for the next timer."""
        return self._peak


@dataclass(frozen=True, slots=True)
class Offer:
    """A rung that can be finished in time, with as many tokens as there is time for."""

    rung: Rung
    max_tokens: int


class Admission:
    """The work that one engine can do in a given time."""

    def __init__(self, tier: Tier) -> None:
        self.first_token = Estimate(tier.first_token_ms / 1000)
        self.per_token = Estimate(tier.per_token_ms / 1000)
        self.record = Estimate(0.002)
        """Time to record an answer in the log."""
        self.used = Estimate(1.0)
        """Tokens that an answer had, of those that it was allowed."""
        self.lag = Lag()

    def seconds(self, tokens: int) -> float:
        """The seconds that a generation of so many tokens takes, cautiously."""
        return self.first_token.cautious + max(0, tokens - 1) * self.per_token.cautious

    def likely_s(self, tokens: int) -> float:
        """The seconds that a generation limited to so many tokens probably takes: for sums, in which caution would add up."""
        return self.first_token.typical + max(0.0, tokens * min(1.0, self.used.mean) - 1) * self.per_token.typical

    def reserve_s(self, ladder: Ladder) -> float:
        """The seconds to leave at the end: for rungs without a model, and for the way back by a process that is as late as lately."""
        return ladder.reserve_ms / 1000 + self.record.cautious + self.lag.cautious

    def offer(self, ladder: Ladder, wanted: int, choice_chars: int, left_s: float) -> Offer | None:
        """The best rung of an engine that fits into `left_s` seconds; None if none does.

        `wanted` is the request's own limit of tokens; `choice_chars` the length of the longest choice, 0 if there is none to choose from.
        """
        room = left_s - self.reserve_s(ladder)
        for offer in _offers(ladder, wanted, choice_chars):
            if room >= self._needs_s(offer):
                return offer
        return None

    def trial(self, ladder: Ladder, wanted: int, choice_chars: int, left_s: float) -> Offer | None:
        """The quickest rung that an idle engine may try although it was too slow lately: a belief that nothing tests would never change."""
        room = left_s - self.reserve_s(ladder)
        found = [offer for offer in _offers(ladder, wanted, choice_chars) if room >= offer.rung.needs_ms / 1000]
        return min(found, key=lambda offer: offer.max_tokens, default=None)

    def least_s(self, ladder: Ladder, wanted: int, choice_chars: int, *, idle: bool = False) -> float:
        """The least time before the deadline at which any rung of an engine may still begin; of an idle one, which may try, see `trial`."""
        offers = _offers(ladder, wanted, choice_chars)
        needs = min((offer.rung.needs_ms / 1000 if idle else self._needs_s(offer) for offer in offers), default=float("inf"))
        return needs + self.reserve_s(ladder)

    def _needs_s(self, offer: Offer) -> float:
        return max(offer.rung.needs_ms / 1000, self.seconds(offer.max_tokens))


def _offers(ladder: Ladder, wanted: int, choice_chars: int) -> Iterator[Offer]:
    """Every rung of an engine with its tokens, from the best down."""
    for rung in ladder.of_engines:
        if rung.name != "choice":
            yield Offer(rung, min(wanted, rung.max_tokens or wanted))
        elif choice_chars:
            yield Offer(rung, max(1, round(choice_chars / CHARS_PER_TOKEN)))
