"""The mistakes in a game that is worked on, in one line each: `file:line: what is wrong`."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bus.errors import BadSettings, WorldbusError
from schemas.errors import SchemaError
from worldbus.dev.warm import is_installed

if TYPE_CHECKING:
    from projections.projection import Projection


def cause(error: BaseException) -> BaseException:
    """The mistake in a game's code behind the word that it cannot be loaded: `told` names its place alone."""
    found = error.__cause__
    ours = (WorldbusError, SchemaError, ModuleNotFoundError)
    return found if isinstance(error, BadSettings) and isinstance(found, Exception) and not isinstance(found, ours) else error


def told(error: BaseException) -> str:
    """An error in one line: `file:line: what is wrong`."""
    if isinstance(error, SyntaxError) and error.filename:
        text = f": {error.text.strip()}" if error.text else ""
        return f"{near(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}{text}"
    if isinstance(error, WorldbusError):
        return str(error).replace(f"{Path.cwd()}{os.sep}", "")  # in our own words, which name the file
    words = f"{type(error).__name__}: {error}"
    frame = next((one for one in reversed(traceback.extract_tb(error.__traceback__)) if is_ours(one.filename)), None)
    return f"{near(frame.filename)}:{frame.lineno}: {words}" if frame else words


def files_of(error: BaseException | None) -> Iterator[str]:
    """The files that somebody may be working on, and that an error came through."""
    while error is not None:
        named = [error.filename] if isinstance(error, SyntaxError) and error.filename else []
        yield from (file for file in (*(frame.filename for frame in traceback.extract_tb(error.__traceback__)), *named) if is_ours(file))
        error = error.__cause__ or error.__context__


def is_ours(file: str) -> bool:
    """True for a file that somebody may be working on."""
    return not file.startswith("<") and not is_installed(file)


def near(path: str) -> str:
    """A path as whoever stands in this folder would type it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:
        return path
    return path if relative.startswith(os.pardir) else relative


def told_sql(projection: Projection, error: Exception) -> str:
    """An error of a projection's SQL: `file:line: what is wrong`."""
    position = str(getattr(error, "position", None) or "")
    line = projection.sql.count("\n", 0, int(position)) + 1 if position.isdigit() else 1
    if isinstance(projection.schema, Path):
        return f"{near(str(projection.schema))}:{line}: {error}"
    return f"the SQL of projection {projection.name}, line {line}: {error}"
