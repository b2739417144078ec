"""`lengths`: how long the prompts and answers of a world are, by kind, for the other benchmarks and for a plan.

    worldbus bench lengths                                          # of the sample world, as committed
    worldbus bench lengths --profile-from .worldbus --write mine.json
    worldbus bench players --profile-from mine.json
    worldbus bench lengths --profile-from played --write bench/load/duskmarket.json     # makes the committed one

Read from a log: the data folder of a world or the address of a NATS server. Tokens are those that the model's own tokenizer counted where a
model answered; otherwise they are estimated, 4 characters each.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.harness import Result, show
from bench.load.lengths import WORLD, profile_from
from bench.load.profile import Kind, Profile, dumped
from bus.errors import WorldbusError

SHARES = (0.5, 0.95)


async def run(scale: float, where: str = WORLD, write: Path | None = None) -> list[Result]:
    """The lengths of each kind. `scale` changes nothing: a log is read as it is."""
    profile = await profile_from(where)
    if write is not None:
        await asyncio.to_thread(write.write_text, dumped(profile), encoding="utf-8")
    return list(figures(profile))


def figures(profile: Profile) -> Iterator[Result]:
    """Every figure of a profile."""
    for one in profile.kinds:
        yield from _kind(one, profile)


def _kind(one: Kind, profile: Profile) -> Iterator[Result]:
    name, total = f"{one.kind}_{one.tier}", sum(each.requests for each in profile.kinds)
    terms = f"requests in {profile.measured_from}; at most {one.max_tokens} tokens in {one.budget_ms} ms"
    yield Result(name=f"{name}_requests", value=one.requests, unit="requests", against=terms, ratio=one.requests / total)
    counted = f"{one.counted} of {one.requests} counted by the model's tokenizer, the others estimated"
    for unit, against, values in (
        ("characters", "of prompt and lore", [shape.characters for shape in one.shapes]),
        ("tokens", f"of prompt and lore; {counted}", [shape.tokens for shape in one.shapes]),
        ("fresh tokens", "of these, behind what an earlier prompt began with", [shape.fresh for shape in one.shapes]),
        ("answer tokens", f"of the answer; {counted}", [shape.answer for shape in one.shapes]),
    ):
        ranked = sorted(values)
        for share in SHARES:
            value = float(ranked[min(len(ranked) - 1, int(share * len(ranked)))])
            label = unit.replace(" ", "_")
            yield Result(name=f"{name}_{label}_p{round(share * 100)}", value=value, unit=unit, against=against, ratio=None)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--scale", type=float, default=1.0, help="changes nothing here")
    add_option(parser, default=WORLD)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the profile there, for --profile-from of other benchmarks")
    options = parser.parse_args()
    with refusing(parser):
        show(partial(run, where=options.profile_from, write=options.write), options.scale, as_json=options.json)


@contextmanager
def refusing(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End with the parser's error where the block is given a profile or figures that cannot be used."""
    try:
        yield
    except (WorldbusError, OSError) as error:
        parser.error(str(error))


def add_option(parser: argparse.ArgumentParser, *, default: str) -> None:
    """The option of every benchmark that asks models as a world does."""
    parser.add_argument(
        "--profile-from",
        metavar="WHERE",
        default=default,
        help=f"lengths of prompts and answers: a log (data folder or nats://…), a file of `bench lengths`, or '{WORLD}', the sample world's"
        + (f" (default {default})" if default else ""),
    )


if __name__ == "__main__":
    main()
