"""`--game` on the command line: on every verb that plays, before the variable and the project's file, and told what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bus.errors import BadSettings
from worldbus import games
from worldbus.cli.app import app, exit_code
from worldbus.settings import Settings

WITHOUT = {"completion", "kb", "log", "proto", "parked", "archive", "skipped", "new"}
"""The shell's completion plays no game; `proto` makes the code that a game imports, `new` the game; the others are groups, whose verbs have
the option."""


@pytest.fixture(autouse=True)
def no_game_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nobody names a game before the test, and what it names is forgotten behind it."""
    monkeypatch.setattr(games, "_named", [])
    monkeypatch.delenv("WORLDBUS_GAME", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("played_"):
            del sys.modules[name]
    games._load.cache_clear()
    games._project.cache_clear()


def _commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}".strip(), command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}".strip())


def test_every_verb_has_the_option() -> None:
    without = {name for name, command in _commands(app) if not any("--game" in one.opts for one in command.params)}

    assert without == WITHOUT


def _module(folder: Path, name: str, game: str) -> None:
    (folder / f"{name}.py").write_text(
        "from pathlib import Path\n"
        "from handlers.player import player\n"
        "from handlers.content import Content\n"
        "from worldbus.game import Game\n"
        f"game = Game(name={game!r}, handlers=(player,), projections=(), content=Content(Path('nowhere')))\n"
        "other = 'no game'\n"
    )


def _asyncapi(*words: str) -> Result:
    return CliRunner().invoke(app, ["asyncapi", "--json", *words], catch_exceptions=True)


def test_the_option_comes_before_the_variable_and_that_before_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "three"):
        _module(tmp_path, f"played_{name}", name)
    (tmp_path / "pyproject.toml").write_text('[tool.worldbus]\ngame = "played_three:game"\n')

    assert games.current().name == "three"
    monkeypatch.setenv("WORLDBUS_GAME", "played_two:game")
    assert games.current().name == "two"
    assert _asyncapi("--game", "played_one:game").exit_code == 0
    assert games.current().name == "one"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nonsense", "wanted a game as module:attribute"),
        (":game", "wanted a game as module:attribute"),
        ("played_nowhere:game", "there is no module 'played_nowhere': run where it can be imported, or install its package"),
        ("played_one:gaem", "module played_one has no 'gaem': name the `Game` in it"),
        ("played_one:other", "wanted a worldbus.Game as played_one:other, found str"),
    ],
)
def test_a_game_that_cannot_be_had_is_told(reference: str, words: str, tmp_path: Path) -> None:
    _module(tmp_path, "played_one", "one")
    error = _asyncapi("--game", reference).exception

    assert isinstance(error, BadSettings)
    assert words in str(error)
    assert str(error).startswith("--game: ")
    assert exit_code(error) == 2


def test_the_variable_is_known_and_a_misspelt_one_is_told() -> None:
    Settings.read({"WORLDBUS_GAME": "spaceport:game"})
    with pytest.raises(BadSettings, match="WORLDBUS_GAMES: no such setting; did you mean WORLDBUS_GAME"):
        Settings.read({"WORLDBUS_GAMES": "spaceport:game"})


def test_code_that_was_not_generated_yet_is_told_with_the_next_step(tmp_path: Path) -> None:
    package = tmp_path / "played_harbour"
    package.mkdir()
    (package / "__init__.py").write_text("from played_harbour.gen.berths.v1 import berths_pb2\n")
    (tmp_path / "pyproject.toml").write_text('[tool.worldbus]\ngame = "played_harbour:game"\ngen = "played_harbour/gen"\n')

    error = _asyncapi().exception

    assert isinstance(error, BadSettings)
    assert f"played_harbour.gen was not generated yet: run `worldbus proto` in {tmp_path}" in str(error)
