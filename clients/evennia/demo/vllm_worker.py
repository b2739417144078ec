"""A worker of the gold tier with the real vLLM on this CPU and a tiny model of random weights; runs in the environment of `make vllm`.

Its lines make no sense: what is shown is that a real engine's tokens find their way into a room, and how long each hop takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from inference.tiny_model import CONTEXT, write

POOL = """
[gold]
engine = "vllm"
model = "{model}"
slots = 4
context = {context}
dtype = "bfloat16"
load_format = "dummy"
eager = true
cache_bytes = 268435456
"""


def main() -> None:
    """`python -m clients.evennia.demo.vllm_worker FOLDER`: FOLDER is the data folder of the running demo."""
    folder = Path(sys.argv[1])
    model = write(folder / "tiny-model")
    pools = folder / "pools.toml"
    pools.write_text(POOL.format(model=model, context=CONTEXT))
    worldbus = Path(sys.executable).with_name("worldbus")
    os.execv(worldbus, [str(worldbus), "run", "--only", "gold", "--data", str(folder), "--inference", str(pools)])


if __name__ == "__main__":
    main()
