"""The ladder of answers, as data: full line, shorter line, a choice among prepared lines, a grammar's line, an authored line.

Each kind of request has its own; the table says how long each rung needs, and the worker takes the highest one for which there is time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bus import toml

RUNGS: Final = ("full", "shorter", "choice", "grammar", "authored")
ENGINE_RUNGS: Final = RUNGS[:3]
DEFAULT: Final = "default"
MAX_MS: Final = 86_400_000
OTHERS_SALIENCE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to answer."""

    name: str
    needs_ms: int
    """Not tried with less time than this, whatever was measured."""
    max_tokens: int = 0
    """Most tokens; 0: as many as the request allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The rungs of one kind of request, from the best one down; the last one needs nothing and always stands."""

    kind: str
    rungs: tuple[Rung, ...]
    reserve_ms: int
    """Kept free at the end for the rungs without a model and for the way back."""
    lines: tuple[str, ...]
    grammar: str = ""
    temperature: float | None = None
    askers: tuple[str, ...] = ()
    """Subsystems whose word on how much a request matters counts; none: everybody's."""
    others_salience: float = OTHERS_SALIENCE
    """Highest salience of a request of anybody else: a client cannot put itself before what the world finds important."""

    def trusts(self, subsystem: str) -> bool:
        """Return whether this subsystem is one of the kind's askers."""
        return not self.askers or subsystem in self.askers

    def most_salience(self, subsystem: str) -> float:
        """The most that a request of this kind may matter when this subsystem asks. Its subject names the asker; the server guards it."""
        return 1.0 if self.trusts(subsystem) else self.others_salience

    @property
    def of_engines(self) -> tuple[Rung, ...]:
        """The rungs that need a model."""
        return tuple(rung for rung in self.rungs if rung.name in ENGINE_RUNGS)

    def has(self, name: str) -> bool:
        """Return whether the ladder has this rung."""
        return any(rung.name == name for rung in self.rungs)


@dataclass(frozen=True, slots=True)
class Ladders:
    """The ladders of a world, by kind of request."""

    by_kind: Mapping[str, Ladder]

    def of(self, kind: str) -> Ladder | None:
        """The ladder of a kind: its own, else the one called `default`, else none."""
        return self.by_kind.get(kind) or self.by_kind.get(DEFAULT)


def load(path: Path, grammars: Collection[str] | None = None) -> Ladders:
    """The ladders in a TOML file; raises `BadSettings` with every problem found. `grammars`: those that they may name; None: any."""
    return toml.read(path, partial(ladders, grammars=grammars))


def ladders(table: Mapping[str, Any], name: str, grammars: Collection[str] | None = None) -> Ladders:
    """The ladders in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    found = {kind: _ladder(kind, root.table(kind)) for kind in root}
    problems = [problem for one in found.values() for problem in _problems(one)]
    if grammars is not None:
        known = ", ".join(sorted(grammars))
        problems += [
            f"{one.kind}.grammar: there is no grammar {one.grammar!r}, there are {known}"
            for one in found.values()
            if one.grammar and one.grammar not in grammars
        ]
    root.refuse(problems)
    return Ladders(found)


def _ladder(kind: str, body: toml.Table) -> Ladder:
    rungs = tuple(one.into(Rung, renamed={"name": "rung"}) for one in body.rows("rungs"))
    return body.into(Ladder, renamed={"kind": ""}, kind=kind, rungs=rungs)


def _problems(ladder: Ladder) -> list[str]:
    kind, names, found = ladder.kind, [rung.name for rung in ladder.rungs], []
    if names != [name for name in RUNGS if name in names] or "authored" not in names:
        found.append(f"{kind}: wanted rungs in the order {', '.join(RUNGS)}, each at most once and `authored` at the end, found {names}")
    if not ladder.lines or not all(line.strip() for line in ladder.lines):
        found.append(f"{kind}: wanted at least one line, none of them empty: the last rung says one of them")
    if not 0 <= ladder.reserve_ms <= MAX_MS:
        found.append(f"{kind}.reserve_ms: must be 0 to {MAX_MS}, found {ladder.reserve_ms}")
    needs = [rung.needs_ms for rung in ladder.rungs]
    if needs != sorted(needs, reverse=True) or not all(0 <= one <= MAX_MS for one in needs):
        found.append(f"{kind}.rungs: needs_ms must be 0 to {MAX_MS} and fall from rung to rung, found {needs}")
    if "grammar" in names and not ladder.grammar:
        found.append(f"{kind}: a rung `grammar` wants the name of a `grammar`")
    if not 0 <= ladder.others_salience <= 1:
        found.append(f"{kind}.others_salience: must be 0 to 1, found {ladder.others_salience}")
    if any(rung.max_tokens < 0 for rung in ladder.rungs):
        found.append(f"{kind}.rungs: max_tokens must be 0 or more")
    return found
