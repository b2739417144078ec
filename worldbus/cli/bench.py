"""`worldbus bench`: figures, each beside its peer or limit."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from bus.errors import BadSettings
from worldbus.cli.app import No, app
from worldbus.cli.meant import meant
from worldbus.cli.options import game_option, json_option
from worldbus.cli.output import remark

ALL = "all"


def names() -> dict[str, str]:
    """The benchmarks of this checkout, and the module of each: files with a `run`, and folders that can be run."""
    found = find_spec("bench")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(next(iter(found.submodule_search_locations)))
    files = [path.stem for path in sorted(folder.glob("*.py")) if "\nasync def run(scale" in path.read_text(encoding="utf-8")]
    folders = [path.parent.name for path in sorted(folder.glob("*/__main__.py"))]
    return {module.replace("_", "-"): f"bench.{module}" for module in (*files, *folders)}


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in (*names(), ALL) if name.startswith(incomplete)]


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@game_option
@click.argument("name", shell_complete=_complete)
@click.argument("arguments", metavar="[OPTIONS OF THE BENCHMARK]...", nargs=-1, type=click.UNPROCESSED)
@json_option
def bench(name: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Run one benchmark, or all of them, on servers of its own: each figure comes with the peer or limit it is to be compared with.

    Options that are not known here go to the benchmark: `--scale 0.1` does a tenth of the work, `worldbus bench chaos --kills 100`
    kills a hundred times. Benchmarks are part of the source tree, not of the installed package.
    """
    known = names()
    if not known:
        raise BadSettings("wanted the source tree's bench/ folder, found none: run this in a checkout, after `make setup`")
    # `all` is the figures; `chaos` and the like run for long and are asked for by name.
    wanted = [one for one, module in known.items() if _has_figures(module)] if name == ALL else [name.replace("_", "-")]
    if unknown := [one for one in wanted if one not in known]:
        raise BadSettings(f"wanted one of {', '.join([*known, ALL])}, found {', '.join(unknown)}{meant(unknown, [*known, ALL])}")
    failed = []
    for one in wanted:
        if not as_json:
            remark(f"{one}:")
        # A process of its own: figures must not depend on what ran before.
        command = [sys.executable, "-m", known[one], *arguments, *(["--json"] if as_json else [])]
        if subprocess.run(command, check=False).returncode:
            failed.append(one)
    if failed:
        raise No(f"failed: {', '.join(failed)}")


def _has_figures(module: str) -> bool:
    found = find_spec(module)
    return found is not None and found.submodule_search_locations is None
