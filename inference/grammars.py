"""The grammars of a world: one file each, `grammars/<name>.toml` or `.json`, with the tables `rules` and `slots`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bus import toml
from bus.errors import BadSettings
from inference.grammar import Grammar


def read(path: Path) -> Grammar:
    """The grammar of a file, named like it. Raises `BadSettings`."""
    return _json(path) if path.suffix == ".json" else toml.read(path, partial(_grammar, path.stem))


def _json(path: Path) -> Grammar:
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        place = f"{toml.shown(path)}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else toml.shown(path)
        raise BadSettings(f"{place}: cannot be read as JSON: {error}", file=toml.shown(path)) from error
    return _grammar(path.stem, table, toml.shown(path))


def _grammar(name: str, table: Mapping[str, Any], file: str) -> Grammar:
    root = toml.of(table, file)
    root.only("rules", "slots")
    rules, slots = root.table("rules", optional=True), root.table("slots", optional=True)
    try:
        return Grammar.of(name, rules, slots)
    except BadSettings as error:
        faults = error.facts["faults"]
        assert isinstance(faults, tuple)
        root.refuse(re.sub(r"^(rule|slot) ", r"\1s.", fault) for fault in faults)
        raise


@lru_cache(maxsize=16)
def load(folder: Path) -> Mapping[str, Grammar]:
    """All grammars of a folder by name. Raises `BadSettings` also if there are none."""
    files = sorted(path for path in folder.glob("*.*") if path.suffix in {".toml", ".json"})
    if not files:
        raise BadSettings(
            f"{folder}: wanted grammars (*.toml or *.json), found none: name the folder of the world's grammars", path=str(folder)
        )
    return {path.stem: read(path) for path in files}
