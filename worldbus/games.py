"""The game that this process plays: the one that is named, by `--game`, WORLDBUS_GAME or the project's pyproject.toml, in this order."""

from __future__ import annotations

import os
import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bus.errors import BadSettings, WorldbusError
from schemas.errors import SchemaError
from worldbus.hidden import refuse_hidden
from worldbus.project import nearest
from worldbus.settings import GAME as VARIABLE

if TYPE_CHECKING:
    from worldbus.game import Game  # loads the standard subsystems; what names a game is known without them

SAMPLE: Final = "worlds.duskmarket:game"

_named: list[str | Game] = []


def choose(game: str | Game) -> None:
    """Play this game in this process: the value, or the module:attribute that `--game` names."""
    _named[:] = [game]


def current() -> Game:
    """The game of this process; the sample game where none is named. Raises `BadSettings` where it cannot be loaded."""
    if _named and not isinstance(_named[0], str):
        return _named[0]
    found, by = reference()
    return _load(found, by)


def reference() -> tuple[str, str]:
    """The reference that names the game, and its source."""
    if _named and isinstance(_named[0], str):
        return _named[0], "--game"
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE], VARIABLE
    project = _project(Path.cwd())
    if project is not None:
        return project
    return SAMPLE, "the default"


@cache
def _project(folder: Path) -> tuple[str, str] | None:
    """`[tool.worldbus] game` of the nearest pyproject.toml that has it; its folder is where modules are looked for."""
    found = nearest(folder, "game")
    if found is None:
        return None
    if not isinstance(found.table["game"], str):
        raise BadSettings(f"{found.path}: wanted [tool.worldbus] game as text, {SAMPLE} for instance, found {found.table['game']!r}")
    if str(found.root) not in sys.path:
        sys.path.insert(0, str(found.root))
    return found.table["game"], str(found.path)


@cache
def _load(reference: str, by: str) -> Game:
    module, colon, name = reference.partition(":")
    if not colon or not module or not name:
        raise BadSettings(f"{by}: wanted a game as module:attribute, {SAMPLE} for instance, found {reference!r}")
    if by in ("--game", VARIABLE) and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    refuse_hidden(by)
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        from worldbus.extras import behind

        if missing := behind(error, f"the game {reference}"):
            raise missing from error
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise _broken(by, reference, error) from error
        raise BadSettings(f"{by}: there is no module {error.name!r}: run where it can be imported, or install its package") from error
    except WorldbusError:
        raise
    except Exception as error:  # its author's mistake, and no bug of ours
        raise _broken(by, reference, error) from error
    if found is None:
        raise BadSettings(f"{by}: module {module} has no {name!r}: name the `Game` in it")
    from worldbus.game import Game

    if not isinstance(found, Game):
        raise BadSettings(f"{by}: wanted a worldbus.Game as {reference}, found {type(found).__name__}")
    return found


def _broken(by: str, reference: str, error: Exception) -> BadSettings:
    """The error of a game whose code or packages cannot be loaded, with the place."""
    if isinstance(error, SchemaError):
        return BadSettings(f"{by}: {reference} cannot be played: {error}")
    if isinstance(error, ModuleNotFoundError) and (root := _not_generated(error.name or "")):
        return BadSettings(f"{by}: {reference} cannot be played: {error.name} was not generated yet: run `worldbus proto` in {root}")
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}"
    return BadSettings(f"{by}: {reference} cannot be loaded, {place} raised {type(error).__name__}: {error}; -v shows the way there")


def _not_generated(module: str) -> Path | None:
    """The repository whose generated code a module belongs to; None if it belongs to none."""
    found = nearest(Path.cwd(), "gen")
    if found is None or not isinstance(found.table["gen"], str):
        return None
    gen = ".".join(Path(found.table["gen"]).parts)
    return found.root if module == gen or module.startswith(gen + ".") else None
