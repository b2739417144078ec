"""The table of faults in docs/explanation/reliability.md: `python -m bench.mutants --table` writes it, a test holds it against the list."""

from __future__ import annotations

from collections.abc import Sequence

from bench.mutants.fault import ROOT, Fault

PAGE = ROOT / "docs/explanation/reliability.md"
BEGIN, END = "<!-- faults: written by `python -m bench.mutants --table` -->\n", "<!-- end of faults -->\n"


def table(faults: Sequence[Fault]) -> str:
    """One row for each fault."""
    rows = ["| Fault | Promise | In | What it does | Noticed by |", "|---|---|---|---|---|"]
    for fault in faults:
        tests = [f"`{_short(test)}`" for test in fault.tests]
        chaos = [f"chaos: {fault.chaos_rule}"] if fault.chaos else []
        rows.append(f"| {fault.name} | {fault.promise} | `{fault.file}` | {fault.reason} | {', '.join([*tests, *chaos])} |")
    return "\n".join(rows) + "\n"


def _short(test: str) -> str:
    path, _, name = test.removeprefix("tests/").partition("::")
    return name or path


def page_with(faults: Sequence[Fault]) -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(faults)}\n{END}{after}"
