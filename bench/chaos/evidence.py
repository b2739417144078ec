"""The records about each broken promise: who said the events that it names, what they were told when, and which faults there were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bench.chaos.history import Claim, History, Violation, id_of
from bus.errors import BadEvent
from bus.event import Event

NEAR_S = 6.0  # faults that began so long before a publish ended
MOST = 8  # positions and claims that are shown of one violation
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = re.compile(r"(?:position|positions|at|input|answers|of|has) \[?(\d+(?:, \d+)*)")

Diary = Sequence[tuple[float, str]]
"""The beginnings of faults, in seconds of the machine's monotonic clock, and their kinds."""


def report(violations: Iterable[Violation], history: History, diary: Diary) -> str:
    """One paragraph for each violation."""
    return "\n\n".join("\n".join(_paragraph(violation, history, diary)) for violation in violations)


def _paragraph(violation: Violation, history: History, diary: Diary) -> Iterator[str]:
    yield str(violation)
    words = dict.fromkeys(_WORD.findall(violation.what))
    claims = [history.claims[word] for word in words if word in history.claims]
    for claim in claims[:MOST]:
        yield from _claim(claim, history, diary)
    numbers = [int(number) for found in _NUMBER.findall(violation.what) for number in found.split(", ")]
    for position in dict.fromkeys(numbers[:MOST]):
        if (event := history.by_position.get(position)) is not None:
            yield f"  log {position}: {_event(event)}"


def _claim(claim: Claim, history: History, diary: Diary) -> Iterator[str]:
    places = list(history.places.get(claim.id, ()))
    yield f"  event {claim.id}, number {claim.number} of lane {claim.lane}, stands at {places}; its writer was told:"
    for outcome in claim.outcomes:
        where = f" at {outcome.position}" if outcome.position else ""
        yield f"    {outcome.at_s:.3f} s {outcome.kind}{where} {outcome.code}".rstrip()
        for began, kind in diary:
            if outcome.at_s and outcome.at_s - NEAR_S <= began <= outcome.at_s:
                yield f"      {outcome.at_s - began:.3f} s before: {kind}"


def _event(event: Event) -> str:
    try:
        mark, cause = event.lane, event.cause
    except BadEvent as error:
        return f"{'.'.join(event.subject)}, unreadable: {error}"
    answers = f", answers {mark.position} ({mark.step + 1} of {mark.steps})" if mark else ""
    return f"{'.'.join(event.subject)} {id_of(event)}{answers}{', because of ' + cause if cause else ''}"
