"""Loading the game that is worked on: what it is made of, where its files lie, and what is wrong with it, by file and line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bus.errors import WorldbusError
from worldbus.dev.parts import parts
from worldbus.dev.told import cause, files_of, is_ours, told
from worldbus.dev.warm import is_installed
from worldbus.games import current, reference
from worldbus.project import nearest

if TYPE_CHECKING:
    from worldbus.game import Game


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A game that can be played, or the reasons why it cannot.

    rules        handler -> `<handler>/<version>+<hash>` in this world, and in those with content of their own if it is not the same there
    views        projection -> digest of its SQL and functions
    parts        part of its content that no handler plays by -> digest of it
    roots        folders and files in which it lies
    installed    the modules that it needs of installed packages, in the order of import
    broken       one line for each thing that is wrong, with file and line where they are known
    """

    rules: dict[str, str] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def load(world: str, known: Mapping[str, str]) -> tuple[Game | None, Loaded]:
    """The game that this process is to play in `world`; `known` are the parts that play already. Nothing is raised for what is wrong."""
    try:
        import_module("worldbus.compose")  # all that is needed to play it, so that the next child finds it warm
        game = current()
        game.check_plays(world)
    except (Exception, SystemExit) as error:
        return None, Loaded(
            broken=[told(cause(error))], roots=_outermost([*roots(), *map(_top_of, files_of(error))]), installed=installed()
        )
    rules, broken = _rules(game, world)
    views, unread = _views(game)
    found, unread_parts = parts(game, world, known)
    return game, Loaded(
        rules=rules,
        views=views,
        parts=found,
        roots=roots(game),
        installed=installed(),
        broken=[*broken, *unread, *unread_parts],
    )


def _rules(game: Game, world: str) -> tuple[dict[str, str], list[str]]:
    from bus.rules import producer

    found: dict[str, str] = {}
    broken: dict[str, list[str]] = {}
    others_of_ours = [one for one in sorted({*game.worlds, *(game.plays or ())} - {world}) if game.played.has(one)]
    for handler in game.handlers:
        try:
            main, *others = [producer(handler.of(one)) for one in (world, *others_of_ours)]
            found[handler.name] = main if set(others) <= {main} else " ".join((main, *others))
        except Exception as error:  # whatever a table makes its reader raise
            broken.setdefault(told(error), []).append(handler.name)
    return found, [f"{reason} ({', '.join(names)} cannot play)" for reason, names in broken.items()]


def _views(game: Game) -> tuple[dict[str, str], list[str]]:
    from projections.made import made_by

    found: dict[str, str] = {}
    broken: list[str] = []
    for projection in game.projections:
        try:
            found[projection.name] = made_by(projection)
        except WorldbusError as error:  # its SQL cannot be read
            broken.append(told(error))
    return found, broken


# -- where it lies ---------------------------------------------------------------------------------------------------------------


def roots(game: Game | None = None) -> list[str]:
    """The folder of every package, and the file of every module, that is loaded and not installed; the folders of content; and the file
    that names the game."""
    found: set[str] = set()
    for name, module in list(sys.modules.items()):
        if name != "__main__" and (file := getattr(module, "__file__", None)) and is_ours(file):
            found.update(_package(name.partition(".")[0], file))
    found.update(_named())
    for content in () if game is None else (game.content, *game.worlds.values()):
        folder: Any = getattr(content, "folder", None)
        if isinstance(folder, Path):
            found.add(str(folder.absolute()))
    return _outermost(os.path.realpath(one) for one in found)


def _top_of(file: str) -> str:
    """The folder of the outermost package that a file is in, or the file: a package whose import failed is no loaded module."""
    top = Path(os.path.realpath(file))
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    return str(top)


def _package(top: str, file: str) -> Iterator[str]:
    paths = getattr(sys.modules.get(top), "__path__", None)
    yield from paths if paths is not None else (file,)


def _named() -> Iterator[str]:
    """The package of the game that is named, also when it cannot be imported, the pyproject.toml that names it, and its schemas."""
    if (project := nearest(Path.cwd(), "game")) is not None:
        yield str(project.path)
    if (project := nearest(Path.cwd(), "proto")) is not None:
        yield str(project.root / project.table["proto"])
    top = re.split(r"[.:]", reference()[0])[0]
    try:
        spec = find_spec(top) if top else None
    except (ImportError, ValueError):
        return
    if spec is not None and (files := list(spec.submodule_search_locations or ()) or [spec.origin or ""]):
        yield from (one for one in files if one and is_ours(one))


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(f"{one}{os.sep}") for one in kept):
            kept.append(path)
    return kept


def installed() -> list[str]:
    """The loaded modules of installed packages, in the order in which they were imported."""
    return [name for name, module in list(sys.modules.items()) if (file := getattr(module, "__file__", None)) and is_installed(file)]
