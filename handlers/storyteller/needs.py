"""Conditions of beats as a designer writes them.

`beat:NAME` was played, `fact:NAME=VALUE` is true, `count:KEY>=N` stirs of that key, `tension>=N`, `tension<=N`; `!` before it: not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from handlers.storyteller.state import Arc

_FORM: Final = re.compile(
    r"(?P<not>!?)(?:beat:(?P<beat>[A-Za-z0-9_-]{1,64})"
    r"|fact:(?P<fact>[A-Za-z0-9_-]{1,64})=(?P<value>[A-Za-z0-9_-]{1,64})"
    r"|count:(?P<key>[A-Za-z0-9_-]{1,64})>=(?P<least>[0-9]{1,9})"
    r"|tension(?P<sign>>=|<=)(?P<tension>[0-9]{1,4}))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One condition. `kind` is `beat`, `fact`, `count`, `>=` or `<=` (of tension)."""

    text: str
    kind: str
    name: str = ""
    value: str = ""
    number: int = 0
    negated: bool = False

    def holds(self, arc: Arc) -> bool:
        """Return whether the arc meets it now."""
        return self._holds(arc) is not self.negated

    def _holds(self, arc: Arc) -> bool:
        match self.kind:
            case "beat":
                return self.name in arc.played
            case "fact":
                return arc.fact(self.name) == self.value
            case "count":
                return arc.count(self.name) >= self.number
            case ">=":
                return arc.tension >= self.number
            case _:
                return arc.tension <= self.number


def parse(text: str) -> Need:
    """Read one condition; raises `ValueError`."""
    if (found := _FORM.fullmatch(text)) is None:
        raise ValueError(f"wanted beat:NAME, fact:NAME=VALUE, count:KEY>=N, tension>=N or tension<=N, found {text!r}")
    negated = bool(found["not"])
    if found["beat"]:
        return Need(text=text, kind="beat", name=found["beat"], negated=negated)
    if found["fact"]:
        return Need(text=text, kind="fact", name=found["fact"], value=found["value"], negated=negated)
    if found["key"]:
        return Need(text=text, kind="count", name=found["key"], number=int(found["least"]), negated=negated)
    return Need(text=text, kind=found["sign"], number=int(found["tension"]), negated=negated)
