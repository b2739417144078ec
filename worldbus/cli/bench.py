"""`worldbus bench`: figures, each beside its peer or limit."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from bus.errors import BadSettings
from worldbus.cli.app import No, app
from worldbus.cli.options import json_option
from worldbus.cli.output import remark

ALL = "all"


def names() -> dict[str, str]:
    """The benchmarks of this checkout, and the module of each: what has a `run` beside bench/harness.py."""
    found = find_spec("bench")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(next(iter(found.submodule_search_locations)))
    modules = [path.stem for path in sorted(folder.glob("*.py")) if "\nasync def run(scale" in path.read_text(encoding="utf-8")]
    return {module.replace("_", "-"): f"bench.{module}" for module in modules}


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in (*names(), ALL) if name.startswith(incomplete)]


@app.command()
@click.argument("name", shell_complete=_complete)
@click.option("--scale", type=click.FloatRange(0.001, 1000), default=1.0, show_default=True, help="Multiplies the amount of work.")
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks of errors.")
@json_option
def bench(name: str, scale: float, verbose: bool, as_json: bool) -> None:
    """Run one benchmark, or all of them, on servers of its own. Figures come with the peer or limit they are to be compared with.

    Benchmarks are part of the source tree, not of the installed package.
    """
    known = names()
    if not known:
        raise BadSettings("wanted the source tree's bench/ folder, found none: run this in a checkout, after `make setup`")
    wanted = list(known) if name == ALL else [name.replace("_", "-")]
    if unknown := [one for one in wanted if one not in known]:
        raise BadSettings(f"wanted one of {', '.join([*known, ALL])}, found {', '.join(unknown)}")
    failed = []
    for one in wanted:
        if not as_json:
            remark(f"{one}:")
        # A process of its own: figures must not depend on what ran before.
        command = [sys.executable, "-m", known[one], "--scale", str(scale), *(["--json"] if as_json else [])]
        if subprocess.run(command, check=False).returncode:
            failed.append(one)
    if failed:
        raise No(f"failed: {', '.join(failed)}")
