"""`players`: how many concurrent players this machine carries on the bus, an engine on a GPU, and whether a plan of GPUs holds.

    worldbus bench players --scale 0.1
    worldbus bench players --parts engines --figures gold.jsonl --figures silver.jsonl

A concurrent player is the one of docs/reference/player.md. `bus` plays bots on servers of this run's own until a stated limit breaks.
`engines` takes service times (the timed engine's are measured now; a GPU's come with --figures, as `worldbus bench inference --engine gold
--json` prints them) and simulates a tier's queue: players per GPU, and the plans 100 and 200 players on 1 Gold and 1 Silver GPU, 1,000 on
10 and 5, 10,000 on 50 and 30. Without figures of a GPU, stated ones are used and named so. Each is reported for
lines of a stated length to prompts that cost nothing, and, with names that end in `_as_asked`, for prompts and answers as long as a world's
(`worldbus bench lengths`; --profile-from names another log).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.capacity import plan
from bench.capacity.bus import BEHIND_S, EFFECT_MS, TABLES_MS, Step, best, climb
from bench.capacity.plan import Speed
from bench.duskmarket import BOTS
from bench.harness import Result, show
from bench.lengths import add_option, refusing
from bench.load import engines
from bench.load.lengths import WORLD, profile_from
from bus.durability import Durability
from worlds.duskmarket.bots.concurrent import Concurrent, measure

PARTS: Final = ("definition", "bus", "engines")
LONG: Final = 48  # tokens: two or three sentences
BUSY: Final = 0.7  # of the cores, when players are reckoned from what one costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of the report."""

    parts: Sequence[str] = PARTS
    figures: Sequence[Path] = ()
    durability: Durability = "strict"
    tokens: Sequence[int] = (BOTS.line.tokens, LONG)
    profile_from: str = WORLD


DEFAULT: Final = Wanted()


async def run(scale: float, wanted: Wanted = DEFAULT) -> list[Result]:
    """The named parts, in order."""
    results: list[Result] = []
    one = measure()
    if "definition" in wanted.parts:
        results += _definition(one)
    if "bus" in wanted.parts:
        results += _bus(await climb(max(6.0, 30 * scale), durability=wanted.durability), one, wanted.durability)
    if "engines" in wanted.parts:
        given = {name: speed for path in wanted.figures for name, speed in plan.read(path).items()}
        speeds = {"timed": await _timed(scale), **plan.STATED, **given}
        results += plan.report(speeds, one, max(120.0, 600 * scale), wanted.tokens, await profile_from(wanted.profile_from))
    return results


def _definition(one: Concurrent) -> Iterator[Result]:
    page = "docs/reference/player.md"
    yield Result(name="player_events", value=one.published, unit="events/s", against=f"published for one player; {page}", ratio=None)
    yield Result(name="player_recorded", value=one.recorded, unit="events/s", against="in the log for one player", ratio=None)
    yield Result(name="player_lines", value=one.lines * 60, unit="lines/min", against="said to characters", ratio=None)
    yield Result(name="player_asked", value=one.asked["gold"] * 60, unit="per minute", against="requests to Gold: lambda", ratio=None)
    yield Result(name="player_tokens", value=one.tokens_per_line, unit="tokens", against="in a line that a model says", ratio=None)


def _bus(steps: Sequence[Step], one: Concurrent, durability: str) -> Iterator[Result]:
    for step in steps:
        cores = ", ".join(f"{name} {busy:.2f}" for name, busy in step.cpu.items())
        against = (
            f"published {step.published:.0f}/s, in the log {step.recorded:.0f}/s, tables p99 {step.tables_p99:.0f} ms, "
            f"acknowledged p99 {step.ack_p99:.0f} ms, behind {step.behind}; cores: {cores}; {step.broken() or 'holds'}"
        )
        yield Result(
            name=f"bus_{step.players}_effect_p99",
            value=step.effect_p99,
            unit="ms",
            against=against,
            ratio=EFFECT_MS / max(1.0, step.effect_p99),
        )
    top, broke = best(list(steps))
    machine = f"{os.cpu_count()} cores, load of the machine {os.getloadavg()[0]:.1f}, {durability}"
    limits = f"effect p99 {EFFECT_MS:.0f} ms, tables p99 {TABLES_MS:.0f} ms, {BEHIND_S:g} s behind"
    yield Result(
        name="bus_players",
        value=top.players if top else 0,
        unit="players",
        against=f"{machine}; limits: {limits}; broke: {broke}",
        ratio=None,
    )
    if top is None:
        return
    yield Result(name="bus_events", value=top.recorded, unit="events/s", against="in the log at that number of players", ratio=None)
    server = sum(busy for name, busy in top.cpu.items() if name != "bots")
    yield Result(
        name="bus_cpu_per_player",
        value=server / top.players * 1000,
        unit="ms/s",
        against="CPU of handlers, projector, both servers",
        ratio=None,
    )
    reckoned = BUSY * (os.cpu_count() or 1) * top.players / max(server, 0.001)
    yield Result(
        name="bus_players_by_cpu",
        value=reckoned,
        unit="players",
        against=f"reckoned, not played: where that CPU fills {BUSY:.0%} of {os.cpu_count()} cores that do nothing else",
        ratio=None,
    )


async def _timed(scale: float) -> Speed:
    """The timed engine, called directly."""
    engine = engines.timed()
    async with engine.open():
        script = engines.CHOICES["timed"].script
        await engines.direct(engine, script, 2 * engine.slots)
        capacity, _, _ = await engines.direct(engine, script, round(engine.slots * max(6.0, 20 * scale)))
    return Speed(name="timed", slots=engine.slots, capacity=capacity, origin="measured now: an engine of stated speed", measured={})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the amount of work (default 1; 0.1 takes two minutes)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"comma-separated: {', '.join(PARTS)}")
    parser.add_argument("--figures", type=Path, action="append", default=[], help="figures of an engine, JSON lines; may be given again")
    parser.add_argument("--durability", choices=("strict", "relaxed"), default="strict", help="of the bus (default strict)")
    lengths = [BOTS.line.tokens, LONG]
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=lengths, help=f"lengths of lines that plans are checked for (default {lengths})"
    )
    add_option(parser, default=WORLD)
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := [one for one in parts if one not in PARTS]:
        parser.error(f"--parts: wanted some of {', '.join(PARTS)}, found {', '.join(unknown)}")
    if min(options.tokens) < 1:
        parser.error(f"--tokens: wanted 1 or more, found {min(options.tokens)}")
    wanted = Wanted(
        parts=parts,
        figures=options.figures,
        durability=options.durability,
        tokens=options.tokens,
        profile_from=options.profile_from,
    )
    with refusing(parser):
        show(partial(run, wanted=wanted), options.scale, as_json=options.json)


if __name__ == "__main__":
    main()
