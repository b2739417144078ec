"""One fault planted, and everybody who noticed."""

from __future__ import annotations

import re
import shlex
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from bench.mutants.fault import Fault
from bench.mutants.scratch import Scratch

TEST_S = 120  # a test that a fault makes hang is ended then
NAMED_S = 900
WIDER_S = 7200
CHAOS_S = 600  # of the machine's time, for a run of at most five minutes on a quiet one
WIDER = ("tests/unit", "tests/property", "tests/golden", "tests/integration", "tests/traps", "tests/clients/python", "tests/chaos")
"""In the order in which they are tried for a fault that its own tests let pass."""
Wider = Literal["always", "if silent", "never"]
VIOLATION = re.compile(r"^(?P<rule>[A-Z]\d+|run): ", re.MULTILINE)


class Verdict(msgspec.Struct, kw_only=True):
    """The outcome of one fault. `key` changes with the fault and with the source."""

    key: str
    name: str
    noticed: list[str]
    silent: list[str] = []  # on the fault's own list, and noticed nothing
    chaos: list[str] = []
    problem: str = ""
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Return whether everything is as the list says."""
        return bool(self.noticed or self.chaos) and not self.silent and not self.problem


class Trouble(Exception):
    """The tests could not be run; the message ends with what they wrote."""


def failed(scratch: Scratch, tests: Sequence[str], within_s: float, *, first: bool = False) -> dict[str, bool]:
    """By test, whether it failed. `first`: stop at the first one that does. A hanging run counts as failed in its last test."""
    report = scratch.root / ".cache" / "mutant.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    words = ["-m", "pytest", "-q", "--tb=line", f"--timeout={TEST_S}", f"--junitxml={report}", "-o", "junit_family=xunit1"]
    code, written = scratch.run([*words, *(["-x"] if first else []), *tests], within_s)
    if code is None:
        return {"(did not end)": True}
    if code not in (0, 1) or not report.exists():
        raise Trouble(f"pytest ended with {code}: {written[-2000:]}")
    return _outcomes(report)


def _outcomes(report: Path) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped") is not None
        bad = case.find("failure") is not None or case.find("error") is not None
        if not skipped:
            name = f"{case.get('file')}::{case.get('name')}"
            found[name] = found.get(name, False) or bad
    return found


def belongs(test: str, listed: str) -> bool:
    """Return whether a test is one of what a line of the list names: a folder, a file, a test with or without its parameters."""
    return test == listed or test.startswith((f"{listed}[", f"{listed}::", f"{listed}/"))


def try_fault(scratch: Scratch, fault: Fault, key: str, wider: Wider, *, chaos: bool) -> Verdict:
    """Plant it, let its own tests look, then the wider suites as `wider` says, and chaos if that is wanted."""
    began = time.monotonic()
    verdict = Verdict(key=key, name=fault.name, noticed=[])
    try:
        with scratch.planted(fault):
            _look(scratch, fault, verdict, wider)
            if chaos and fault.chaos:
                verdict.chaos = broken_rules(scratch, fault)
                if fault.chaos_rule not in verdict.chaos:
                    verdict.problem = f"chaos was to name {fault.chaos_rule}, and named {', '.join(verdict.chaos) or 'nothing'}"
    except Trouble as error:
        verdict.problem = str(error)
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


def _look(scratch: Scratch, fault: Fault, verdict: Verdict, wider: Wider) -> None:
    outcomes = failed(scratch, fault.tests, NAMED_S)
    verdict.noticed = [test for test, bad in outcomes.items() if bad]
    verdict.silent = [listed for listed in fault.tests if not any(belongs(test, listed) for test in verdict.noticed)]
    if wider == "always":
        verdict.noticed = [test for part in WIDER for test, bad in failed(scratch, [part], WIDER_S).items() if bad]
    elif wider == "if silent" and not verdict.noticed:
        for part in WIDER:
            verdict.noticed = [test for test, bad in failed(scratch, [part], WIDER_S, first=True).items() if bad]
            if verdict.noticed:
                return


def broken_rules(scratch: Scratch, fault: Fault) -> list[str]:
    """The promises that a chaos run names as broken."""
    code, written = scratch.run(["-m", "bench.chaos", *shlex.split(fault.chaos)], CHAOS_S)
    if code is None:
        raise Trouble(f"chaos did not end: {written[-2000:]}")
    return sorted({match["rule"] for match in VIOLATION.finditer(written)})
