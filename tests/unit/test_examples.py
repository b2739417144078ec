"""The example's repository is in step: what it generates, records and promises is committed, and nothing of this tree needs it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

DOORS = {"worldbus", "worldbus.demo", "worldbus.standard", "worldbus.standard.edges", "worldbus.testing"}
ROOT = Path(__file__).parents[2]
PACKAGES = ("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds")


def test_the_code_of_its_events_follows_from_their_sources() -> None:
    check = [sys.executable, "-c", "from worldbus.cli import main; main(['proto', '--check'])"]

    done = subprocess.run(check, cwd=ROOT / "examples" / "spaceport", capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_this_tree_imports_it() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    modules = {name for file in files for name in _imported(file)}

    assert "bus" in modules
    assert "spaceport" not in modules
    assert "examples" not in modules


@pytest.mark.parametrize("folder", ["examples/spaceport", "worldbus/template"])
def test_a_game_comes_in_by_the_front_door(folder: str) -> None:
    """Other modules may change without notice: whoever copies a game from here must not begin by depending on them."""
    files = [file for file in (ROOT / folder).rglob("*.py") if "gen" not in file.relative_to(ROOT / folder).parts]
    of_ours = {name for file in files for name in _modules(file) if name.partition(".")[0] in PACKAGES}

    assert {"worldbus", "worldbus.standard", "worldbus.testing"} <= of_ours
    assert {name for name in of_ours if name not in DOORS and not name.startswith("schemas.gen.worldbus.")} == set()


def _imported(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in _modules(file)}


def _modules(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {*plain, *(node.module or "" for node in nodes if isinstance(node, ast.ImportFrom))}
