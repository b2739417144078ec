"""The repository that a command is called in: what its pyproject.toml says, and games that cannot be loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bus.errors import BadSettings
from worldbus import games
from worldbus.cli.names import events
from worldbus.project import nearest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder inside a repository, in which commands are called."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv(games.VARIABLE, raising=False)
    monkeypatch.setattr(games, "_named", [])
    return tmp_path


def say(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)


def test_the_nearest_file_with_the_key_counts(folder: Path) -> None:
    assert nearest(Path.cwd(), "proto") is None
    say(folder, '[tool.worldbus]\nproto = "here"\n')
    say(folder / "a", '[tool.worldbus]\ngame = "x:y"\n')
    say(folder / "a" / "b", "[project]\n")

    found = nearest(Path.cwd(), "proto")

    assert found is not None
    assert (found.root, found.table) == (folder, {"proto": "here"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.worldbus]\ngame = "x:y\n', r"pyproject.toml: wanted TOML with a table \[tool.worldbus\], found: .*line 2"),
        ("[tool.worldbus]\ngame = 3\n", r"pyproject.toml: wanted \[tool.worldbus\] game as text, .* found 3"),
    ],
)
def test_a_file_that_names_a_game_in_vain_is_refused_and_no_other_game_played(folder: Path, text: str, words: str) -> None:
    say(folder, text)

    with pytest.raises(BadSettings, match=words):
        games.current()
    assert "PlayerJoined" in events(), "the tab key goes on"


def test_a_broken_file_of_somebody_else_is_passed_over(folder: Path) -> None:
    say(folder, "[tool.ruff\n")

    assert games.current().name == "duskmarket"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("game = = 1\n", r"broken_0.py:1 raised SyntaxError"),
        ("from worldbus import NoSuchName\n", r"broken_1.py:1 raised ImportError: cannot import name 'NoSuchName'"),
        ("import no_such_package\n", r"broken_2.py:1 raised ModuleNotFoundError: No module named 'no_such_package'"),
        ("def made():\n    return 1 / 0\n\ngame = made()\n", r"broken_3.py:2 raised ZeroDivisionError"),
        (
            "from dataclasses import replace\nfrom worlds.duskmarket import game as g\ngame = replace(g, packages=('no.such',))\n",
            r"broken_4:game cannot be played: wanted a package of events as no.such",
        ),
        ("other = 1\n", r"module broken_5 has no 'game'"),
    ],
)
def test_a_game_that_cannot_be_loaded_is_its_authors_business_with_the_place(folder: Path, code: str, words: str) -> None:
    name = words.partition("broken_")[2][0]
    (folder / f"broken_{name}.py").write_text(code)
    say(folder, f'[tool.worldbus]\ngame = "broken_{name}:game"\n')

    with pytest.raises(BadSettings, match=words):
        games.current()
