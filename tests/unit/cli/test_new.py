"""`worldbus new`: which names a game may have, and what is written."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bus.errors import BadSettings
from worldbus import __version__
from worldbus.hidden import OURS
from worldbus.new import name_problem, new


@pytest.mark.parametrize("name", ["harbourtown", "space_port", "g2"])
def test_a_game_may_be_called_by_any_free_name(name: str) -> None:
    assert name_problem(name) == ""


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("", "1-40 of a-z"),
        ("Space Port", "space_port would do"),
        ("space-port", "space_port would do"),
        ("../escape", "escape would do"),
        ("2fast", "fast would do"),
        ("x" * 41, "1-40 of a-z"),
        ("spåce", "1-40 of a-z"),
        ("harbour\n", "harbour would do"),
        ("class", "a word of Python's own"),
        ("match", "a word of Python's own"),
        ("json", "an installed module"),
        ("nats", "an installed module"),
        ("tests", "something else in the repository"),
        ("proto", "something else in the repository"),
        ("newgame", "something else in the repository"),
        *((name, "a package of worldbus") for name in OURS),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(name: str, because: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="name of a game") as refused:
        new(name, tmp_path / "game")

    assert because in str(refused.value)
    assert not (tmp_path / "game").exists()


def test_a_folder_in_which_something_is_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(BadSettings, match="something in it"):
        new("harbourtown", tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_repository_has_the_name_everywhere_and_the_templates_nowhere(tmp_path: Path) -> None:
    written = new("space_port", tmp_path / "made")

    texts = {path.relative_to(tmp_path / "made").as_posix(): path.read_text() for path in written}
    project = tomllib.loads(texts["pyproject.toml"])
    assert {"Makefile", ".gitignore", ".github/workflows/ci.yml", "Containerfile", "README.md", "space_port/beacon.sql"} <= set(texts)
    assert not [name for name, text in texts.items() if "newgame" in (name + text).lower()]
    assert project["project"]["name"] == "space_port"
    assert project["tool"]["worldbus"] == {
        "game": "space_port:game",
        "proto": "proto",
        "gen": "space_port/gen",
        "template": __version__,
    }
    assert "Space Port, a game world" in texts["pyproject.toml"]


def test_the_content_of_the_template_can_be_played_by(tmp_path: Path) -> None:
    from handlers.content import Content
    from inference import ladder

    new("harbourtown", tmp_path / "made")
    content = Content(tmp_path / "made/harbourtown/content")

    assert set(content.npcs.npcs) == {"ansa", "brun", "cato"}
    assert {season.name for season in content.calendar.seasons} == set(content.weather.climates["coast"])
    assert ladder.load(content.folder / "ladder.toml").of(content.npcs.dialogue.kind) is not None


@pytest.mark.parametrize("name", [one for one in OURS if one != "worldbus"])
def test_a_package_of_the_game_that_hides_one_of_ours_is_named_at_the_start(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "mygame.py").write_text("game = None\n")
    (tmp_path / "pyproject.toml").write_text('[tool.worldbus]\ngame = "mygame:game"\n')

    done = subprocess.run(
        [sys.executable, "-c", "from worldbus.games import current; current()"],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert f"package {name!r} on Python's path, found {tmp_path.resolve() / name / '__init__.py'}" in done.stderr
    assert "rename that one" in done.stderr


@pytest.mark.parametrize("name", ["bus", "handlers", "schemas"])
def test_a_program_of_the_game_is_told_so_too(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"}

    done = subprocess.run(
        [sys.executable, "-c", "from worldbus import Game"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert f"ImportError: worldbus.Game: wanted worldbus's own package {name!r}" in done.stderr


@pytest.mark.parametrize("folder", ["migrations", "handlers"])
def test_a_folder_without_python_hides_nothing(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.worldbus]\ngame = "worlds.duskmarket:game"\n')

    done = subprocess.run(
        [sys.executable, "-c", "from worldbus.games import current; print(current().name)"],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "duskmarket", done.stderr


def _environment() -> dict[str, str]:
    """`-c` puts the working folder before everything; the console script does not."""
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(Path(__file__).parents[3])}


def test_a_game_without_stories_or_people_warms_its_engines_by_what_it_has(tmp_path: Path) -> None:
    from handlers.content import Content
    from worldbus.warm import prompts

    new("harbourtown", tmp_path / "made")
    (tmp_path / "bare").mkdir()

    assert prompts(Content(tmp_path / "made/harbourtown/content"))
    assert prompts(Content(tmp_path / "bare")) == ()
