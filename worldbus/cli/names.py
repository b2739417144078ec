"""Names that the shell completes, read from the sources beside us and from those of the game whose repository this folder is in: nobody
waits at the tab key for them to be loaded.

A game that WORLDBUS_GAME or --game names from elsewhere is not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from bus.errors import BadSettings
from worldbus.games import SAMPLE
from worldbus.project import nearest

_ROOT = Path(__file__).parents[2]
_MESSAGE = re.compile(r"^message (\w+) \{", re.MULTILINE)
_HANDLER = re.compile(r'\b(?:Handler|ByWorld)\(\s*name="(\w+)"|^NAME(?:: Final)? = "(\w+)"', re.MULTILINE)
_PROJECTION = re.compile(r'\bProjection\(\s*name="(\w+)"')
EDGES = ("game", "operator", "ticker", "lore", "inference")
"""Subsystems other than handlers that publish, most of all."""
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def events() -> list[str]:
    """The simple name of every event type, by the rule of `schemas.registry`."""
    folders = [_ROOT / "schemas" / "proto" / "worldbus", *_of_the_game("proto")]
    files = [path for folder in folders for path in folder.rglob("*.proto") if path.name != "types.proto"]
    return sorted({name for name in _found(_MESSAGE, files) if not name.endswith("State")})


def handlers() -> list[str]:
    """The name of every handler."""
    return _declared(_HANDLER, _ROOT / "handlers")


def projections() -> list[str]:
    """The name of every projection."""
    return _declared(_PROJECTION, _ROOT / "projections")


def of_the_game() -> list[Path]:
    """The Python package of the game: the repository's, or the sample."""
    return _of_the_game("game") or [_ROOT.joinpath(*SAMPLE.partition(":")[0].split("."))]


def _declared(pattern: re.Pattern[str], ours: Path) -> list[str]:
    return sorted({*_found(pattern, (path for folder in (ours, *of_the_game()) for path in folder.rglob("*.py")))})


def _of_the_game(key: str) -> list[Path]:
    """The folder that a key of `[tool.worldbus]` names: itself, or the Python package of the game."""
    try:
        project = nearest(Path.cwd(), key)
    except BadSettings:  # the verb itself says so
        return []
    if project is None or not isinstance(project.table[key], str):
        return []
    name = project.table[key].partition(":")[0].partition(".")[0] if key == "game" else project.table[key]
    return [folder for folder in (project.root / name, project.root / "src" / name) if folder.is_dir()]


def _found(pattern: re.Pattern[str], files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        yield from (found[found.lastindex or 0] for found in pattern.finditer(file.read_text(encoding="utf-8", errors="replace")))


def complete(names: Callable[[], list[str]], *more: str, listed: bool = False) -> Complete:
    """Completion of one of these names, and of `more`; `listed`: of the last of several with commas between."""

    def completed(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        before, comma, word = incomplete.rpartition(",") if listed else ("", "", incomplete)
        return [f"{before}{comma}{name}" for name in (*names(), *more) if name.lower().startswith(word.lower())]

    return completed
