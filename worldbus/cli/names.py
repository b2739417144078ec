"""Names that the shell completes, read from the sources beside us: nobody waits at the tab key for them to be loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]
_MESSAGE = re.compile(r"^message (\w+) \{", re.MULTILINE)
_HANDLER = re.compile(r'\b(?:Handler|ByWorld)\(\s*name="(\w+)"|^NAME(?:: Final)? = "(\w+)"', re.MULTILINE)
_PROJECTION = re.compile(r'\bProjection\(\s*name="(\w+)"')
EDGES = ("game", "operator", "ticker", "lore", "inference")
"""Who else speaks than handlers, most of all."""
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def events() -> list[str]:
    """The simple name of every event type, by the rule of `schemas.registry`."""
    files = [path for path in (_ROOT / "schemas" / "proto" / "worldbus").rglob("*.proto") if path.name != "types.proto"]
    return sorted({name for name in _found(_MESSAGE, files) if not name.endswith("State")})


def handlers() -> list[str]:
    """The name of every handler."""
    return sorted(_found(_HANDLER, (_ROOT / "handlers").rglob("*.py")))


def projections() -> list[str]:
    """The name of every projection."""
    return sorted(_found(_PROJECTION, (_ROOT / "projections").rglob("*.py")))


def _found(pattern: re.Pattern[str], files: Iterator[Path] | list[Path]) -> Iterator[str]:
    for file in files:
        yield from (found[found.lastindex or 0] for found in pattern.finditer(file.read_text(encoding="utf-8")))


def complete(names: Callable[[], list[str]], *more: str, listed: bool = False) -> Complete:
    """Completion of one of these names, and of `more`; `listed`: of the last of several with commas between."""

    def completed(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        before, comma, word = incomplete.rpartition(",") if listed else ("", "", incomplete)
        return [f"{before}{comma}{name}" for name in (*names(), *more) if name.lower().startswith(word.lower())]

    return completed
