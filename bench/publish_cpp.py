"""`publish-cpp`: the C++ client beside the bare C client: events recorded a second, and how long a call of `publish` takes.

Both publish the same sizes with the same window, by turns, each run on a fresh server: a second run with the same ids would be recognised,
not recorded. Builds both; what that wants is in `clients/cpp/deps`, and without it the benchmark says so.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median

from bench.harness import Result, folder, main, nats
from bench.peers import limit
from bus.connection import connect
from bus.log import open_log

SOURCE = Path(__file__).parents[1] / "clients" / "cpp"
EVENTS = 200_000
PAIRS = 6
WINDOW = 4096
SIZE = 221  # bytes of throughput.cpp's events, envelope included
ENTITIES = 64
CALLS_PER_S = 100_000


async def build(target: Path) -> Path | str:
    """The client's throughput program, or why there is none."""
    if shutil.which("cmake") is None:
        return "cmake is missing (see clients/cpp/deps)"
    made = ("cmake", "-S", str(SOURCE), "-B", str(target), "-DCMAKE_BUILD_TYPE=Release")
    for command in (made, ("cmake", "--build", str(target), "-j2", "--target", "throughput")):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await process.communicate()
        if process.returncode:
            return f"it does not build here: {said.decode(errors='replace')[-300:]}"
    return target / "throughput"


async def on_fresh_server(way: Callable[[str], Coroutine[None, None, dict[str, float]]], count: int) -> dict[str, float]:
    """Run it beside a log of its own; everything must have been recorded."""
    async with nats(strict=False) as server, connect(server.url, name="bench-log") as connection:
        log = await open_log(connection)
        try:
            figures = await way(server.url)
            assert (await log.state()).count == count
        finally:
            await log.aclose()
        return figures


async def ours(program: Path, url: str, count: int, rate: int) -> dict[str, float]:
    """Run throughput.cpp and read its figures; `rate`: calls a second, 0 for as fast as they go."""
    process = await asyncio.create_subprocess_exec(str(program), url, "bench", str(count), str(rate), stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the C++ client ended with {process.returncode}")
    figures: dict[str, float] = json.loads(said)
    return figures


async def run(scale: float = 1.0) -> list[Result]:
    """Rates by turns, and their ratio; then calls at a steady rate."""
    count = max(20_000, int(EVENTS * scale))
    with folder() as path:
        bare, program = await limit.build(path), await build(path / "build")
        if isinstance(bare, str) or isinstance(program, str):
            why = bare if isinstance(bare, str) else program
            return [Result(name="cpp-recorded", value=0.0, unit="events/s", against=f"not run: {why}", ratio=None)]

        async def peer(url: str) -> dict[str, float]:
            return {"recorded_per_s": await limit.publish(bare, url, count, window=WINDOW, size=SIZE, entities=ENTITIES)}

        mine, theirs = [], []
        for _ in range(PAIRS):
            mine.append(await on_fresh_server(lambda url: ours(program, url, count, 0), count))
            theirs.append((await on_fresh_server(peer, count))["recorded_per_s"])
        paced = await on_fresh_server(lambda url: ours(program, url, count, CALLS_PER_S), count)
    rates = [one["recorded_per_s"] for one in mine]
    ratios = [rate / other for rate, other in zip(rates, theirs, strict=True)]
    spread = f"C client: {median(theirs):.0f}/s; pairs {min(ratios):.2f} to {max(ratios):.2f}"
    return [
        Result(name="cpp-recorded", value=median(rates), unit="events/s", against=spread, ratio=median(ratios)),
        Result(name="cpp-queued", value=median(one["queued_per_s"] for one in mine), unit="calls/s", against="", ratio=None),
        Result(name="cpp-call-p99", value=median(one["call_us_p99"] for one in mine), unit="us", against="flat out", ratio=None),
        Result(name="cpp-call-p99-paced", value=paced["call_us_p99"], unit="us", against=f"at {CALLS_PER_S} calls/s", ratio=None),
    ]


if __name__ == "__main__":
    main(run)
