"""The rules of routing as a designer writes them (TOML), read and checked: every problem is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bus import toml

TIERS: Final = ("gold", "silver", "bronze")
MAX_MS: Final = 86_400_000
FREE_SLOTS: Final = "free_slots"
SLACK: Final = "slack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The limits at which a circuit opens, and its times (real milliseconds)."""

    failures: int
    open_ms: int
    max_open_ms: int
    trial_ms: int

    def open_for(self, times: int) -> int:
        """The milliseconds that it stays open when it opens for the `times`-th time in a row."""
        return min(self.max_open_ms, self.open_ms << min(times - 1, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The needs of a tier, the tiers that help it out, and the rule by which it helps others out: `free_slots` or `slack`."""

    needs_ms: int
    overflow: tuple[str, ...]
    takes: str = SLACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The limits of a kind of request: the tiers that may help out (empty: all), and the price of an answer there (0: any)."""

    tiers: tuple[str, ...] = ()
    max_nano_usd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked rules of a world."""

    circuit: Circuit
    tiers: Mapping[str, Tier]
    kinds: Mapping[str, Kind] = field(default_factory=dict)


def load(path: Path) -> Tables:
    """The rules in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, rules)


def rules(table: Mapping[str, Any], name: str) -> Tables:
    """The rules in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("circuit", "tiers", "kinds")
    tables = Tables(
        circuit=root.table("circuit").into(Circuit),
        tiers={tier: body.into(Tier) for tier, body in root.tables("tiers").items()},
        kinds={kind: body.into(Kind) for kind, body in root.tables("kinds", optional=True).items()},
    )
    root.refuse(_problems(tables))
    return tables


def _problems(tables: Tables) -> list[str]:
    circuit, found = tables.circuit, []
    if not 1 <= circuit.failures <= 1000:
        found.append(f"circuit.failures must be 1 to 1000, found {circuit.failures}")
    if not 1 <= circuit.open_ms <= circuit.max_open_ms <= MAX_MS or not 1 <= circuit.trial_ms <= MAX_MS:
        found.append(f"circuit: wanted 1 <= open_ms <= max_open_ms <= {MAX_MS} and trial_ms 1 to {MAX_MS}, found {circuit}")
    if set(tables.tiers) != set(TIERS):
        found.append(f"tiers: wanted {', '.join(TIERS)}, found {', '.join(tables.tiers) or 'none'}")
    for name, tier in tables.tiers.items():
        if not 0 <= tier.needs_ms <= MAX_MS:
            found.append(f"tiers.{name}.needs_ms must be 0 to {MAX_MS}, found {tier.needs_ms}")
        if tier.takes not in (FREE_SLOTS, SLACK):
            found.append(f"tiers.{name}.takes must be {FREE_SLOTS} or {SLACK}, found {tier.takes!r}")
        found += [f"tiers.{name}.overflow: no such other tier {other!r}" for other in tier.overflow if other not in TIERS or other == name]
    for name, kind in tables.kinds.items():
        found += [f"kinds.{name}.tiers: no such tier {other!r}" for other in kind.tiers if other not in TIERS]
        if kind.max_nano_usd < 0:
            found.append(f"kinds.{name}.max_nano_usd must be 0 or more, found {kind.max_nano_usd}")
    return found
