"""Common parts of all benchmarks: a result, servers of their own, and the command line.

`python -m bench.publish [--json] [--scale 0.1]`, or `worldbus bench publish`. Compare ratios, not rates: both sides run in the same
call, in turn.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import uvloop

from worldbus.embedded import NatsServer, PostgresServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure. `ratio` is `value` over the figure of `against` (for latencies: how many times shorter)."""

    name: str
    value: float
    unit: str
    against: str
    ratio: float | None

    def line(self) -> str:
        """One JSON object."""
        rounded = {key: float(f"{number:.4g}") if isinstance(number, float) else number for key, number in asdict(self).items()}
        return json.dumps(rounded)

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:6.2f}x  "
        return f"{self.name:<18} {self.value:>12,.4g} {self.unit:<12} {ratio}{self.against}"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for servers of this run, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="wb-bench-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@asynccontextmanager
async def nats(*, strict: bool) -> AsyncIterator[NatsServer]:
    """A nats-server of this run's own."""
    with folder() as path:
        server = NatsServer(path / "nats", password="only-for-benchmarks", strict=strict)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@asynccontextmanager
async def postgres() -> AsyncIterator[PostgresServer]:
    """A Postgres of this run's own, with the `worldbus` database."""
    with folder() as path:
        server = PostgresServer(path / "postgres", secret=lambda role: f"only-for-benchmarks-{role}", strict=False)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def main(run: Callable[[float], Awaitable[Sequence[Result]]]) -> None:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(description=sys.modules[run.__module__].__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the amount of work (default 1)")
    options = parser.parse_args()

    show(run, options.scale, as_json=options.json)


def show(run: Callable[[float], Awaitable[Sequence[Result]]], scale: float, *, as_json: bool) -> None:
    """Run it, print what came out."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )

    async def go() -> Sequence[Result]:
        return await run(scale)

    for result in uvloop.run(go()):
        print(result.line() if as_json else result, flush=True)
