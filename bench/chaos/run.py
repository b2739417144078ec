"""A whole chaos run: kills, hand-overs, power cuts, bit flips; figures beside what was promised, and every broken promise by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos import bitflips, handovers, kills, powercuts
from bench.chaos.history import Violation
from bench.harness import Result
from bus.durability import Durability

LOST = ("L1", "L3", "L5", "L6", "P4", "P5")
DOUBLED = ("L2", "H1")
DISORDERED = ("L4", "H2", "L11")
TABLES = ("P1", "P2", "P7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The amount of each kind of harm."""

    kills: int = 100
    power_cuts: int = 20
    bit_flips: int = 60
    handovers: int = 5
    seed: int = 1
    durability: Durability = "strict"
    keep: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        kills: int,
        power_cuts: int | None,
        bit_flips: int | None,
        handovers: int | None,
        scale: float,
        seed: int,
        durability: Durability,
        keep: Path | None,
    ) -> Wanted:
        """Fill in what was not given from the number of kills."""

        def scaled(said: int | None, otherwise: float) -> int:
            return round((otherwise if said is None else said) * scale)

        return cls(
            kills=scaled(kills, kills),
            power_cuts=scaled(power_cuts, kills / 5),
            bit_flips=scaled(bit_flips, kills * 0.6),
            handovers=scaled(handovers, kills / 20),
            seed=seed,
            durability=durability,
            keep=keep,
        )


@dataclass(slots=True)
class Report:
    """Figures, and what was broken."""

    figures: list[Result] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def figure(self, name: str, value: float, unit: str, against: str, limit: float | None = None) -> None:
        """One figure; `limit` is what it is to stay within."""
        ratio = None if limit is None else (limit / value if value else None)
        self.figures.append(Result(name=name, value=value, unit=unit, against=against, ratio=ratio))


async def run(wanted: Wanted, *, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Do all of it, one kind after the other."""
    report = Report()
    if wanted.kills:
        _kills(report, await kills.run(wanted.kills, wanted.seed, durability=wanted.durability, keep=wanted.keep, tell=tell), wanted)
    if wanted.handovers:
        _handovers(report, await handovers.run(wanted.handovers, wanted.seed, tell=tell))
    if wanted.power_cuts:
        _cuts(report, await powercuts.run(wanted.power_cuts, wanted.seed, tell=tell))
    if wanted.bit_flips:
        _flips(report, await bitflips.run(wanted.bit_flips, wanted.seed, tell=tell))
    report.figure("chaos-seed", wanted.seed, "", "draws the same faults again")
    report.figure("chaos-violations", len(report.violations), "", "0 wanted")
    return report


def _kills(report: Report, found: kills.Outcome, wanted: Wanted) -> None:
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(found.faults.items()))
    report.figure("chaos-kills", found.kills, "SIGKILLs", f"{wanted.durability}; {faults}")
    report.figure("chaos-seconds", found.seconds, "s", "under load, until everything had settled")
    report.figure("chaos-events", found.events, "events", "in the log")
    report.figure("chaos-acked", found.acked, "publishes", "acknowledged to the writers")
    report.figure("chaos-unknown-resolved", found.unknown_resolved, "publishes", "first without an answer, then known")
    report.figure("chaos-lost", found.count(*LOST), "events", "0 wanted")
    report.figure("chaos-duplicated", found.count(*DOUBLED), "events", "0 wanted")
    report.figure("chaos-out-of-order", found.count(*DISORDERED), "events", "0 wanted")
    report.figure("chaos-longest-gap", found.longest_gap_s, "s", "without an acknowledgement to any writer")
    report.figure("chaos-tables-differ", found.count(*TABLES), "", "0 wanted: live tables against two fresh folds, and sums, of the log")
    report.violations += found.violations + [Violation("run", words) for words in found.unexpected_ends]


def _handovers(report: Report, found: handovers.Handovers) -> None:
    against = f"{handovers.LIMIT_S:g} s more than the slowest answer before it ({max(found.before, default=0):.2f} s)"
    report.figure("chaos-handover-worst", found.worst_s, "s", f"{against}; {len(found.seconds)} members killed", handovers.LIMIT_S)
    report.violations += found.violations


def _cuts(report: Report, found: powercuts.Cuts) -> None:
    if found.skipped:
        report.figure("chaos-power-cuts", 0, "cuts", found.skipped)
        return
    lost = sum(violation.rule in LOST for violation in found.violations)
    report.figure("chaos-power-cuts", found.cuts, "cuts", f"strict; {found.whole_node} of them with Postgres on the same disk")
    report.figure("chaos-power-acked", found.acked, "publishes", "acknowledged before, between and after the cuts")
    report.figure("chaos-power-lost", lost, "events", "0 wanted")
    report.figure("chaos-power-partial-groups", sum(violation.rule == "L8" for violation in found.violations), "groups", "0 wanted")
    report.violations += found.violations


def _flips(report: Report, found: bitflips.Flips) -> None:
    flips: Sequence[bitflips.Trial] = found.trials
    report.figure("chaos-bit-flips", len(flips), "flips", f"one each in a log of {found.events} events, after clean and unclean stops")
    report.figure("chaos-flips-noticed", found.noticed, "flips", f"{found.harmless} others changed nothing that is served")
    report.figure("chaos-flips-repaired", found.repaired, "flips", f"{found.noticed} noticed")
    report.figure("chaos-flips-served", len(found.violations), "flips", "0 wanted: wrong data served, or not mended")
    report.figure("chaos-flips-head-check", sum(one.head_noticed for one in flips), "flips", "noticed by the quick check alone")
    forward = sum(bool(one.moved) for one in flips)
    report.figure("chaos-floors-forward", forward, "flips", "moved a consumer's ack floor beyond what it had settled")
    report.violations += found.violations
