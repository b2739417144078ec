"""`memory`: what a handler process holds after a million events of ten thousand entities, beside what it held after the first tenth."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvloop

from bench.harness import Result, main, nats
from bench.toy import NAME, move, mover
from bus.connection import connect
from bus.log import open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers

ENTITIES = 10_000
STEPS = 10


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _work(url: str) -> None:
    async with connect(url, name="bench-member") as connection, run_handlers(connection, await open_log(connection), [mover]):
        await asyncio.Event().wait()


async def run(scale: float = 1.0) -> list[Result]:
    """Resident memory, last against first tenth."""
    step = int(1_000_000 * scale) // STEPS
    held: list[float] = []
    async with nats(strict=False) as server, connect(server.url, name="bench") as connection:
        log = await open_log(connection)
        member = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.memory", "member", server.url, stderr=asyncio.subprocess.DEVNULL
        )
        answered = 0
        try:
            async with open_publisher(connection, log, "relaxed") as publisher:
                answers = log.read(filters=[f"evt.*.*.{NAME}.*.*"], follow=True)
                for number in range(STEPS):
                    await publisher.publish_many(move(number * step + one, ENTITIES) for one in range(step))
                    while answered < (number + 1) * step:
                        answered += len(await anext(answers))
                    held.append(_resident_mib(member.pid))
        finally:
            member.kill()
            await member.wait()
    against = f"{held[0]:.0f} MiB after a tenth; every tenth: {', '.join(f'{one:.0f}' for one in held)}"
    return [Result(name="memory", value=held[-1], unit=f"MiB after {STEPS * step:,} events", against=against, ratio=held[-1] / held[0])]


if __name__ == "__main__":
    if sys.argv[1:2] == ["member"]:
        uvloop.run(_work(sys.argv[2]))
    else:
        main(run)
