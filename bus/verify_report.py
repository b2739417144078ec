"""The outcome of deciding the log again: counts by handler, and the decisions that would be others today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Said = tuple[str, Any]  # simple name of an event, and its fields as JSON has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One decision that would be another one today. `recorded` and `today` are what was and would be said; empty: nothing."""

    handler: str
    world: str
    entity: str
    input: int
    type: str
    recorded: tuple[Said, ...]
    today: tuple[Said, ...]
    error: str = ""
    """Today's rules raise this instead of saying anything."""
    by: str = ""
    """The release that decided then, `<handler>/<version>+<rules>`; empty where nothing was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """The first input, by its position, to which a handler would say something else today.

    recorded_ns  when its answer was recorded, or the input itself where there was none
    by           the release that decided then; empty where nothing was said
    today        the release that decides now
    """

    input: int
    recorded_ns: int
    by: str
    today: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """The outcome of one handler's decisions.

    decisions   inputs decided again, one count for each lane that an input concerns
    identical   of those, as recorded: same bytes, silence again, or parked and still impossible to decide
    different   of those, otherwise
    would_pass  of the identical ones: parked then, decided without an error today
    open        inputs that are not answered yet, and concern a lane whose handler has not come so far
    """

    decisions: int = 0
    identical: int = 0
    different: int = 0
    would_pass: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome over all handlers. `differences` holds the first `KEPT_DIFFERENCES`; `since` has every handler that differs."""

    events: int
    handlers: Mapping[str, Tally]
    differences: tuple[Difference, ...]
    since: Mapping[str, Since]

    @property
    def decisions(self) -> int:
        return sum(one.decisions for one in self.handlers.values())

    @property
    def identical(self) -> int:
        return sum(one.identical for one in self.handlers.values())

    @property
    def different(self) -> int:
        return sum(one.different for one in self.handlers.values())

    @property
    def would_pass(self) -> int:
        return sum(one.would_pass for one in self.handlers.values())

    @property
    def open(self) -> int:
        return sum(one.open for one in self.handlers.values())

    @property
    def percent(self) -> float:
        """Identical decisions in percent; 100 for a log without any. Never rounded up to 100."""
        if not self.decisions:
            return 100.0
        share = 100 * self.identical / self.decisions
        return share if share == 100 else min(round(share, 4), 99.9999)
