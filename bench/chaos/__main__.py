"""The command line: `worldbus bench chaos --kills 100`, or `python -m bench.chaos`. Exit code 1 when a promise was broken.

A full run kills 100 processes, cuts the power 20 times, flips 60 bits and hands over 5 times; any of them can be left out with 0. The same
seed draws the same faults; what they meet depends on the machine's timing, so a seed that failed is worth several runs.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
from pathlib import Path

import structlog

from bench.chaos.run import Wanted, run


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="worldbus bench chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--kills", type=int, default=100, help="processes to kill under load (default 100)")
    parser.add_argument("--power-cuts", type=int, default=None, help="default: a fifth of the kills")
    parser.add_argument("--bit-flips", "--flips", type=int, default=None, help="default: six in ten of the kills")
    parser.add_argument("--handovers", type=int, default=None, help="members to kill and time (default: one in twenty of the kills)")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--durability", choices=("strict", "relaxed"), default="strict", help="of the kill test (default strict)")
    parser.add_argument("--keep", type=Path, default=None, help="leave logs, journals and evidence in this folder")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies all counts")
    options = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    wanted = Wanted.of(
        kills=options.kills,
        power_cuts=options.power_cuts,
        bit_flips=options.bit_flips,
        handovers=options.handovers,
        scale=options.scale,
        seed=secrets.randbelow(1_000_000) if options.seed is None else options.seed,
        durability=options.durability,
        keep=options.keep,
    )
    print(f"seed {wanted.seed}", file=sys.stderr)
    report = asyncio.run(run(wanted, tell=lambda words: print(words, file=sys.stderr, flush=True)))
    for figure in report.figures:
        print(figure.line() if options.json else figure, flush=True)
    for violation in report.violations:
        print(violation, file=sys.stderr)
    raise SystemExit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
