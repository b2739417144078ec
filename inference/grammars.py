"""The grammars of a world: one file each, `grammars/<name>.toml` or `.json`, with the tables `rules` and `slots`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from bus.errors import BadSettings
from inference.grammar import Grammar

WORLDS = Path(__file__).parents[1] / "worlds"


def read(path: Path) -> Grammar:
    """The grammar of a file, named like it. Raises `BadSettings`."""
    try:
        table = json.loads(path.read_text("utf-8")) if path.suffix == ".json" else tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadSettings(f"{path}: wanted a grammar as {path.suffix.removeprefix('.')}, found: {error}", path=str(path)) from error
    if not isinstance(table, dict) or not set(table) <= {"rules", "slots"} or not all(isinstance(part, dict) for part in table.values()):
        raise BadSettings(f"{path}: wanted the tables 'rules' and 'slots' and nothing else, found {table!r:.200}", path=str(path))
    return Grammar.of(path.stem, table.get("rules", {}), table.get("slots", {}))


@lru_cache(maxsize=16)
def load(folder: Path = WORLDS / "duskmarket" / "grammars") -> Mapping[str, Grammar]:
    """All grammars of a folder by name. Raises `BadSettings` also if there are none."""
    files = sorted(path for path in folder.glob("*.*") if path.suffix in {".toml", ".json"})
    if not files:
        raise BadSettings(
            f"{folder}: wanted grammars (*.toml or *.json), found none: name the folder of the world's grammars", path=str(folder)
        )
    return {path.stem: read(path) for path in files}
