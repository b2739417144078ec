"""`python -m bench.mutants [NAME…]`: plant each fault of the list in a scratch copy, one at a time, and say which tests notice it.

For each fault its own tests run, and every one of them has to fail; where none does, the wider suites run, to say who would have noticed.
Exit code 1 when a fault lives, or when a test of its list is silent. What was found is kept in .cache/mutants.jsonl: a run that was
interrupted goes on where it stopped, as long as source and list are the same.
"""

from __future__ import annotations

import argparse
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fnmatch import fnmatch
from hashlib import sha256

import msgspec

from bench.mutants.fault import ROOT, Fault, Misplanted, load
from bench.mutants.scratch import Scratch, files, scratch
from bench.mutants.table import PAGE, page_with
from bench.mutants.trial import NAMED_S, Trouble, Verdict, Wider, failed, try_fault

KEPT = ROOT / ".cache" / "mutants.jsonl"


def main() -> None:
    """Run and print."""
    options = _options()
    try:
        faults = [fault for fault in load() if not options.names or any(fnmatch(fault.name, name) for name in options.names)]
        for fault in faults:
            fault.plant(ROOT)
    except Misplanted as error:
        raise SystemExit(f"mutants: {error}") from error
    if options.table:
        PAGE.write_text(page_with(load()))
        return
    if not faults:
        raise SystemExit(f"mutants: wanted names of faults, found {' '.join(options.names)}, which match none: --list has them")
    if options.list:
        for fault in faults:
            print(f"{fault.name:40} {fault.promise:4} {fault.file}")
        return
    os.nice(10)  # whatever else runs on the machine goes first
    if options.fresh:
        KEPT.unlink(missing_ok=True)
    verdicts = _run(faults, options)
    bad = [verdict for verdict in verdicts if not verdict.kept]
    print(f"mutants: {len(verdicts) - len(bad)} of {len(verdicts)} faults noticed by everybody who should")
    raise SystemExit(1 if bad else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these faults; * stands for anything")
    parser.add_argument("--list", action="store_true", help="print the faults")
    parser.add_argument("--table", action="store_true", help="write the table into docs/explanation/reliability.md")
    parser.add_argument("--all", action="store_true", help="run every suite on every fault and name all who notice (a day)")
    parser.add_argument("--own", action="store_true", help="only a fault's own tests, also if they all let it pass")
    parser.add_argument("--chaos", action="store_true", help="also the chaos runs of the faults that name one (at most 5 minutes each)")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="faults at a time, each in a copy (default 2)")
    return parser.parse_args()


def _run(faults: Sequence[Fault], options: argparse.Namespace) -> list[Verdict]:
    KEPT.parent.mkdir(exist_ok=True)
    source = _source()
    known = {verdict.key: verdict for verdict in _kept()}
    keys = {fault.name: _key(fault, source, options) for fault in faults}
    open_ = [fault for fault in faults if keys[fault.name] not in known]
    writing = threading.Lock()
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Scratch] = queue.SimpleQueue()
        for _ in range(min(options.jobs, len(open_))):
            copies.put(stack.enter_context(scratch()))
        if open_:
            _control(copies, open_, source)

        def one(fault: Fault) -> Verdict:
            copy = copies.get()
            try:
                verdict = try_fault(copy, fault, keys[fault.name], _wider(options), chaos=options.chaos)
            finally:
                copies.put(copy)
            with writing:
                _say(verdict)
                with KEPT.open("ab") as file:
                    file.write(msgspec.json.encode(verdict) + b"\n")
            return verdict

        for key in keys.values():
            if key in known:
                _say(known[key], again=True)
        with ThreadPoolExecutor(max(1, options.jobs)) as pool:
            known |= {verdict.key: verdict for verdict in pool.map(one, open_)}
    return [known[key] for key in keys.values()]


def _wider(options: argparse.Namespace) -> Wider:
    return "always" if options.all else "never" if options.own else "if silent"


def _control(copies: queue.SimpleQueue[Scratch], faults: Sequence[Fault], source: str) -> None:
    """Without any fault the tests of the list pass, and what they import is the copy; else nothing that follows would mean anything."""
    copy = copies.get()
    code, where = copy.run(["-c", "import bus, handlers, projections, worldbus; print(bus.__file__)"], 60)
    if code != 0 or not where.strip().startswith(str(copy.root)):
        raise SystemExit(f"mutants: wanted the copy in {copy.root} to be what is imported, found {where.strip()}")
    tests = list(dict.fromkeys(test for fault in faults for test in fault.tests))
    key = sha256("\n".join([source, *tests]).encode()).hexdigest()[:16]
    if all(verdict.key != key for verdict in _kept()):
        print(f"mutants: {len(tests)} tests without any fault first", flush=True)
        try:
            outcomes = failed(copy, tests, 4 * NAMED_S)
        except Trouble as error:
            raise SystemExit(f"mutants: the tests cannot be run without any fault: {error}") from error
        if bad := [test for test, failing in outcomes.items() if failing]:
            raise SystemExit(f"mutants: wanted the tests to pass without any fault, found these to fail: {', '.join(bad)}")
        with KEPT.open("ab") as file:
            file.write(msgspec.json.encode(Verdict(key=key, name="(none)", noticed=[])) + b"\n")
    copies.put(copy)


def _say(verdict: Verdict, *, again: bool = False) -> None:
    state = "noticed" if verdict.kept else "SURVIVES" if not verdict.noticed and not verdict.problem else "WRONG"
    by = ", ".join([*verdict.noticed[:4], *(f"chaos {rule}" for rule in verdict.chaos)])
    print(f"{state:9} {verdict.name:40} {verdict.seconds:6.1f} s{' (kept)' if again else ''}  {by}", flush=True)
    if verdict.silent:
        print(f"          silent: {', '.join(verdict.silent)}", flush=True)
    if verdict.problem:
        print(f"          {verdict.problem}", flush=True)


def _source() -> str:
    """Changes with every file of the checkout."""
    found = sha256()
    for name in files():
        found.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return found.hexdigest()


def _key(fault: Fault, source: str, options: argparse.Namespace) -> str:
    return sha256(f"{fault.digest} {source} {options.all} {options.own} {options.chaos}".encode()).hexdigest()[:16]


def _kept() -> Iterator[Verdict]:
    if not KEPT.exists():
        return
    for line in KEPT.read_bytes().splitlines():
        try:
            yield msgspec.json.decode(line, type=Verdict)
        except msgspec.DecodeError:
            continue  # torn by an interruption


if __name__ == "__main__":
    main()
