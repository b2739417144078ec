"""`python -m bench.load.endpoint FIRST PER_TOKEN SLOTS`: a timed engine behind OpenAI's protocol, in a process of its own.

Says its address, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from bench.duskmarket import GRAMMARS
from inference.engines.timed import Pace, TimedEngine
from tests.conformance.openai_server import serving


async def main(first: float, per_token: float, slots: int) -> None:
    async with serving(TimedEngine(Pace(first=first, per_token=per_token), slots=slots, grammars=GRAMMARS)) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
