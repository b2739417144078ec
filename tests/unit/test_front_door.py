"""What a game's programmer imports: these names and no others, each with its reason, each loaded when it is asked for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import worldbus
from worldbus import demo, games, testing
from worlds import duskmarket

NAMES = [
    "ByWorld",
    "Change",
    "Checkpoints",
    "Content",
    "Draft",
    "Event",
    "Game",
    "Handler",
    "Projection",
    "Settings",
    "Subsystem",
    "Table",
    "World",
    "choose",
    "errors",
    "open_world",
    "serve",
    "sql_beside",
    "toml",
    "until_quiet",
]
TESTING = ["Case", "Rehearsal", "assert_handler_laws", "assert_projection_laws", "given", "messages", "play", "recorded"]
DEMO = ["Bot", "Bots", "Due", "Stage"]
ROOT = Path(__file__).parents[2]


def test_the_front_door_has_these_names() -> None:
    assert worldbus.__all__ == NAMES
    assert testing.__all__ == TESTING
    assert demo.__all__ == DEMO
    assert set(NAMES) <= set(dir(worldbus))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there_and_has_its_reason(name: str) -> None:
    assert getattr(worldbus, name) is not None
    assert re.search(rf"^    {name} +\w.{{10,}}$", worldbus.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("module", [worldbus, testing])
def test_another_name_is_refused_as_python_does(module: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'publishing'"):
        module.publishing  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(module, "Publisher")


@pytest.mark.parametrize("name", TESTING)
def test_a_name_for_tests_is_there(name: str) -> None:
    assert callable(getattr(testing, name))


def test_what_type_checkers_read_is_what_is_loaded() -> None:
    """mypy reads the imports below TYPE_CHECKING, Python the table."""
    tree = ast.parse((ROOT / "worldbus" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert typed == {**worldbus._WHERE, "errors": "bus", "toml": "bus", "Any": "typing"}


def test_importing_it_loads_nothing_and_a_name_loads_its_own_part() -> None:
    program = (
        "import sys\n"
        "before = {*sys.modules}\n"
        "import worldbus\n"
        "print(sorted({*sys.modules} - before))\n"
        "packages = ('bus', 'handlers', 'inference', 'migrations', 'projections', 'schemas', 'worlds', 'google', 'nats', 'asyncpg')\n"
        "from worldbus import Handler\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(packages)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=True)

    assert done.stdout.splitlines() == ["['__future__', 'worldbus']", "['bus', 'google', 'schemas']"]


def test_every_package_that_is_shipped_says_that_it_is_typed() -> None:
    shipped = re.search(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert shipped is not None

    assert [name for name in re.findall(r'"(\w+)"', shipped[1]) if not (ROOT / name / "py.typed").exists()] == []


def test_without_hypothesis_the_examples_work_and_the_laws_say_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['hypothesis'] = None\n"
        "from worldbus.testing import Rehearsal, given, recorded\n"
        "try:\n"
        "    from worldbus.testing import assert_handler_laws\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=True)

    assert "pip install 'worldbus[testing]'" in done.stdout


def test_a_program_plays_the_game_that_it_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "_named", [])
    mine = worldbus.Game(name="harbour", handlers=(), projections=(), content=duskmarket.game.content)

    worldbus.choose(mine)
    assert games.current() is mine

    worldbus.choose("worlds.duskmarket:game")
    assert games.current() is duskmarket.game


def test_a_projection_without_its_sql_says_where_that_was_wanted(tmp_path: Path) -> None:
    """Where the module was packaged without it, say. It is found when the tables are made."""
    here = tmp_path / "crowds.py"
    crowds = worldbus.Projection(name="crowds", version=1, schema=worldbus.sql_beside(str(here)), tables=(), on={})
    with pytest.raises(worldbus.errors.BadSettings, match=r"wanted the SQL of projection crowds in .*crowds\.sql, found .*CREATE TABLE"):
        _ = crowds.sql

    here.with_suffix(".sql").write_text("CREATE TABLE crowds ();")
    assert crowds.sql == "CREATE TABLE crowds ();"
