"""A repository for a game of one's own, from the template beside this module.

The template is a game that runs as it stands, called `newgame`: making one is copying it with another name. It is kept honest by the same
linters as the rest, and by a test that makes, plays and tests a game from the built wheel.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from bus.errors import BadSettings
from worldbus import __version__
from worldbus.hidden import OURS

TEMPLATE: Final = Path(__file__).parent / "template"
NAME: Final = "newgame"  # of the template's game, in texts and paths
HIDDEN: Final = ("gitignore", "containerignore", "github")  # which have a dot before them in a repository, and would rule ours with one
FILES: Final = ("play", "proto", "tests")  # other names in the repository
_TOKEN: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


def new(name: str, folder: Path) -> list[Path]:
    """Write the repository of the game `name` into `folder`, which is made; returns its files.

    Raises `BadSettings` for a name that cannot be a game's, and for a folder in which something is.
    """
    if problem := name_problem(name):
        raise BadSettings(f"name of a game: {problem}", name=name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadSettings(f"{folder}: wanted a new folder or an empty one, found something in it: name another one", path=str(folder))
    written = []
    for path, text in sorted(rendered(name)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        written.append(folder / path)
    return written


def rendered(name: str) -> Iterator[tuple[Path, str]]:
    """Every file of the repository of a game, relative to its root."""
    title = name.replace("_", " ").title()
    for file in (path for path in TEMPLATE.rglob("*") if path.is_file()):
        if any(part.startswith((".", "__pycache__")) for part in file.relative_to(TEMPLATE).parts):
            continue  # what tools left there
        parts = [f".{part}" if part in HIDDEN else part.replace(NAME, name) for part in file.relative_to(TEMPLATE).parts]
        text = file.read_text(encoding="utf-8").replace(NAME, name).replace(NAME.title(), title)
        if file.name == "pyproject.toml":
            text = text.replace('template = "0.0.0"', f'template = "{__version__}"')
        yield Path(*parts), text


def name_problem(name: str) -> str:
    """The reason why a game cannot be called that, in words; empty if it can."""
    if _TOKEN.fullmatch(name) is None:
        meant = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_").lstrip("_0123456789")
        hint = f": {meant} would do" if _TOKEN.fullmatch(meant) and not _taken(meant) else ""
        return f"wanted 1-40 of a-z 0-9 _ beginning with a letter, since it names a Python package too, found {name!r}{hint}"
    if taken := _taken(name):
        return f"wanted one that is free, found {name!r}, {taken}: choose another one"
    return ""


def _taken(name: str) -> str:
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "a word of Python's own"
    if name in OURS:
        return "a package of worldbus"
    if name in FILES or name == NAME:
        return "which stands for something else in the repository of a game"
    if name in sys.stdlib_module_names or PathFinder.find_spec(name) is not None:
        return "an installed module that the game's package would hide"
    return ""
