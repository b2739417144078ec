"""How hard the property tests search for a counterexample.

`make test` tries a few examples of each law, the same ones for everybody and every time. `make laws` is the search: `python -m tests.laws`
tries many times as many, drawn from a seed that it prints, on a machine whose time zone, locale and hash seed are drawn as well. What it
finds is printed as an `@example` to be pasted above the test, so that `make test` tries it for ever.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal import constants_ast
from hypothesis.internal.conjecture import providers

ROOT = Path(__file__).parents[1]
TIMES = int(os.environ.get("LAWS_TIMES", "1"))
EXAMPLES = 100  # of a law that names no number of its own
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "Australia/Lord_Howe")
LOCALES = ("C", "C.UTF-8", "POSIX")
FALSIFIED = re.compile(r"Failing (?:test case|explicit example): (?P<name>\w+)\(\n(?P<arguments>.*?)\n\)", re.DOTALL)
SEARCH_S = 6 * 3600  # a law may be searched for so long

found: dict[str, None] = {}
"""What is to be pasted, in the order of finding."""


def examples(count: int) -> int:
    """`count` examples of a law in `make test`, and as many times more as are searched in `make laws`."""
    return count * TIMES


# `notice` is `same` without looking for the smallest counterexample: make mutants wants to know whether there is one.
# Hypothesis fails an example over 200 ms, and a test whose data comes slowly: that says how busy a machine is, not what is wrong.
settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("notice", settings.get_profile("same"), phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)
settings.register_profile("search", settings.get_profile("same"), derandomize=False, max_examples=examples(EXAMPLES), print_blob=True)


def load() -> None:
    """Take the profile that HYPOTHESIS_PROFILE names, the same for everybody if it names none. Must come before any law is defined."""
    profile = os.environ.get("HYPOTHESIS_PROFILE", "same")
    settings.load_profile(profile)
    # Hypothesis also tries the constants that it finds in whatever modules are imported, and looks again whenever there are more of them:
    # what is tried would depend on which tests were collected, and on when something is first imported. The search tries those of all our
    # code instead.
    known = _constants() if profile == "search" else providers._local_constants
    providers._get_local_constants = lambda: known


def _constants() -> constants_ast.Constants:
    """Every constant of our own code that Hypothesis would try; the same ones whatever is imported."""
    found = constants_ast.Constants()
    for package in ("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if not {"gen"} & set(path.parts):
                found |= constants_ast._constants_from_source(path.read_bytes(), limit=True)
    before = providers._local_constants
    return constants_ast.Constants(
        integers=before.integers | found.integers,
        floats=before.floats | found.floats,
        bytes=before.bytes | found.bytes,
        strings=before.strings | found.strings,
    )


# -- what was found ---------------------------------------------------------------------------------------------------------------


def pasteable(where: str, words: str) -> Iterator[str]:
    """The `@example` lines for the counterexamples that Hypothesis has described in `words`."""
    for match in FALSIFIED.finditer(words):
        lines = (line.removesuffix("  # or any other generated value") for line in match["arguments"].split("\n"))
        arguments = "\n".join(line for line in lines if not line.lstrip().startswith("self="))
        yield f"# {where}\n@example(\n{arguments}\n)"


def falsified(item: pytest.Item, call: pytest.CallInfo[None]) -> list[str]:
    """The counterexamples of a law that failed, ready to be pasted."""
    if call.excinfo is None or item.get_closest_marker("hypothesis") is None:
        return []
    return list(pasteable(item.nodeid, "\n".join(_notes(call.excinfo.value))))


def _notes(error: BaseException) -> Iterator[str]:
    yield from getattr(error, "__notes__", ())
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _notes(one)


# -- the search -------------------------------------------------------------------------------------------------------------------


def surroundings(seed: int) -> dict[str, str]:
    """Time zone, locale and hash seed of one search: no law may depend on them."""
    dice = random.Random(f"surroundings/{seed}")
    return {"TZ": dice.choice(ZONES), "LC_ALL": dice.choice(LOCALES), "PYTHONHASHSEED": str(dice.randrange(2**32))}


def main(arguments: Sequence[str]) -> None:
    """Become pytest, with everything that the search needs."""
    parser = argparse.ArgumentParser(prog="python -m tests.laws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="times as many examples as make test tries (default 20)")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    options, rest = parser.parse_known_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    around = surroundings(seed)
    chosen = " ".join(f"{name}={value}" for name, value in around.items())
    sys.stderr.write(f"laws: the same search again: make laws SEED={seed} TIMES={options.times} ({chosen})\n")
    command = [sys.executable, "-m", "pytest", "-m", "hypothesis", f"--hypothesis-seed={seed}", f"--timeout={SEARCH_S}", *rest]
    sys.stderr.write(f"laws: {shlex.join(command)}\n")
    os.execve(sys.executable, command, {**os.environ, **around, "HYPOTHESIS_PROFILE": "search", "LAWS_TIMES": str(options.times)})


if __name__ == "__main__":
    main(sys.argv[1:])
