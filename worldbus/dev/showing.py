"""The report of `worldbus dev` about a comparison, in the words of `worldbus verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldbus.cli.verify import difference_lines, headline

if TYPE_CHECKING:
    from bus.verify_report import Tally
    from worldbus.dev.comparison import Comparison


def lines_of(comparison: Comparison | None, shown: int) -> list[str]:
    """The counts by handler, then the first few decisions that differ."""
    if comparison is None:
        return []
    report, window = comparison.report, comparison.window
    if not report.decisions and not report.open:
        return [f"nothing recorded concerns {_listed(comparison.handlers)}: there is nothing to decide again"]
    where = f"positions {window.since + 1} to {window.until}"
    lines = [f"decided again: {_verdict(report.different, report.decisions)}, {where}"]
    lines += [f"  {name}: {_counts(tally)}" for name, tally in report.handlers.items()]
    for one in report.differences[:shown]:
        lines += ["", f"  {headline(one)}", *(f"    {text}" for text in difference_lines(one))]
    if report.different > shown:
        lines += [
            "",
            f"  … and {report.different - shown} more: `worldbus verify --show {min(report.different, 1000)}` lists those of the whole log",
        ]
    return lines


def _verdict(different: int, decisions: int) -> str:
    return (
        f"{different} of the last {decisions} decisions would differ"
        if different
        else f"none of the last {decisions} decisions would differ"
    )


def _counts(tally: Tally) -> str:
    found = [f"{tally.decisions} compared", f"{tally.identical} identical", f"{tally.different} different"]
    if tally.would_pass:
        found.append(f"{tally.would_pass} parked that would pass")
    if tally.open:
        found.append(f"{tally.open} not answered yet")
    return ", ".join(found)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
