"""`inference`: what a player feels of the tiers, and what the bus costs them. Players of a script, on a bus of this run's own.

    worldbus bench inference --parts loads,ramp --scale 0.3
    worldbus bench inference --engine vllm --parts loads,saturation
    worldbus bench inference --parts loads,ramp --profile-from world
    worldbus bench inference --nats nats://127.0.0.1:4222 --rate 40 --seconds 600 --burstiness 0.5

Every offered request counts, whatever became of it. `--engine timed` is an engine of stated speed; `vllm` is the real one, on this CPU with
a model of toy size, in the environment that `make vllm` makes; `gold` and `silver` are Qwen2.5-3B and 7B without weights, for a GPU
(`python -m bench.gpu_inference` measures both and writes a report). Loads are shares of what the engine does when it is called directly.
With `--profile-from` prompts and answers are as long as a world's (`worldbus bench lengths`), and the timed engine takes its stated time
for prompts; without it a prompt has 240 characters and costs nothing, and an answer has 16 tokens. `--parts compare` adds LiteLLM's proxy
in front of the same engine, where `make litellm` was run. With `--nats` only the players are here.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.harness import Result, show
from bench.lengths import add_option, refusing
from bench.load.compare import compare
from bench.load.engines import CHOICES
from bench.load.lengths import profile_from
from bench.load.neighbours import neighbours
from bench.load.offer import offer
from bench.load.script import Script
from bench.load.shares import loads, ramp
from bench.load.tax import saturation, tax
from bench.load.urgent import dead, urgent
from inference.tiers import TIERS

Part = Callable[[float], Awaitable[list[Result]]]
TIMED: Final[Mapping[str, Part]] = {
    "tax": tax,
    "urgent": urgent,
    "dead": dead,
    "saturation": saturation,
    "neighbours": neighbours,
    "ramp": ramp,
    "loads": loads,
    "compare": compare,
}


def _of_vllm(engine: str) -> Mapping[str, Part]:
    named = (("urgent", urgent), ("saturation", saturation), ("ramp", ramp), ("loads", loads))
    return {name: partial(part, engine_name=engine) for name, part in named}


AS_LONG_AS: Final = ("loads", "saturation", "ramp")
"""Parts that ask as a profile says; the others measure what lengths do not change."""
SMALL: Final = ("vllm", "toy")
PARTS: Final = {"timed": TIMED, **{engine: _of_vllm(engine) for engine in CHOICES if engine != "timed"}}
VLLM_PYTHON: Final = Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python"


async def run(scale: float, parts: Sequence[str] = (), engine: str = "timed", where: str = "") -> list[Result]:
    """The named parts, or all of the engine's; with the lengths of a profile, those that a profile changes."""
    table = PARTS[engine]
    if not where:
        return [result for name in parts or table for result in await table[name](scale)]
    profile, asking = await profile_from(where), {"loads": loads, "saturation": saturation, "ramp": ramp}
    return [result for name in parts or AS_LONG_AS for result in await asking[name](scale, engine, profile)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the amount of work (default 1; 0.1 takes two minutes)")
    parser.add_argument("--engine", choices=PARTS, default="timed", help="the engine under load (default timed)")
    parser.add_argument(
        "--parts", default="", help=f"comma-separated: {', '.join(TIMED)}; with any other engine: {', '.join(PARTS['vllm'])}"
    )
    add_option(parser, default="")
    there = parser.add_argument_group("on a bus that is there, in place of all of this")
    there.add_argument(
        "--nats", metavar="URL", help="offer a load on this bus, whose workers answer; its events stay there, in the world bench"
    )
    there.add_argument("--rate", type=float, default=10.0, help="requests per second (default 10)")
    there.add_argument("--seconds", type=float, default=60.0, help="for so long (default 60)")
    there.add_argument("--burstiness", type=float, default=1.0, help="1: Poisson; less: bursts (default 1)")
    there.add_argument("--tier", choices=TIERS, default="gold", help="the tier that is asked (default gold)")
    options = parser.parse_args()
    if options.nats:
        with refusing(parser):
            show(partial(_offer, options), 1.0, as_json=options.json)
        return
    parts = [one for one in options.parts.split(",") if one]
    if unknown := [one for one in parts if one not in PARTS[options.engine]]:
        parser.error(f"--parts: wanted some of {', '.join(PARTS[options.engine])}, found {', '.join(unknown)}")
    if options.profile_from and (fixed := [one for one in parts if one not in AS_LONG_AS]):
        parser.error(f"--profile-from: wanted parts among {', '.join(AS_LONG_AS)}, found {', '.join(fixed)}, which lengths do not change")
    if options.profile_from and options.engine in SMALL:
        wanted = ", ".join(one for one in PARTS if one not in SMALL)
        parser.error(f"--profile-from: wanted --engine {wanted}, found {options.engine}: a model of toy size has no room for such prompts")
    if options.engine != "timed" and importlib.util.find_spec("vllm") is None:
        _with_vllm(parser)
    with refusing(parser):
        for part in parts or (AS_LONG_AS if options.profile_from else PARTS[options.engine]):  # figures are printed when they are there
            measured = partial(run, parts=[part], engine=options.engine, where=options.profile_from)
            show(measured, options.scale, as_json=options.json)


async def _offer(options: argparse.Namespace, _scale: float) -> list[Result]:
    profile = await profile_from(options.profile_from) if options.profile_from else None
    script = Script(tier=options.tier, profile=profile)
    return await offer(options.nats, script, options.rate, options.seconds, options.burstiness)


def _with_vllm(parser: argparse.ArgumentParser) -> None:
    """Become the same command in the environment that has vLLM."""
    if not VLLM_PYTHON.exists():
        parser.error("--engine: wanted the environment with vLLM, found none: make it with 'make vllm'")
    os.execv(VLLM_PYTHON, [str(VLLM_PYTHON), "-m", "bench.inference", *sys.argv[1:]])


if __name__ == "__main__":
    main()
