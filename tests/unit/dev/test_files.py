"""What counts as a change of a game's files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from worldbus.dev.files import Files


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """A folder with a module and a table."""
    folder = tmp_path / "game"
    (folder / "content").mkdir(parents=True)
    (folder / "rules.py").write_text("ONE = 1\n")
    (folder / "content" / "bells.toml").write_text("bells = 3\n")
    return folder


def _followed(folder: Path, **more: list[Path]) -> Files:
    files = Files(**more)
    files.follow([str(folder)], since_ns=time.time_ns())
    return files


def _names(files: list[str]) -> list[str]:
    return [Path(file).name for file in files]


def test_other_content_is_a_change_also_with_the_same_size_and_time(game: Path) -> None:
    files = _followed(game)
    before = (game / "rules.py").stat()
    (game / "rules.py").write_text("ONE = 2\n")
    os.utime(game / "rules.py", ns=(before.st_atime_ns, before.st_mtime_ns + 1))

    assert _names(files.look()) == ["rules.py"]
    assert files.look() == []


def test_the_same_content_saved_again_is_none(game: Path) -> None:
    files = _followed(game)
    (game / "rules.py").write_text("ONE = 1\n")
    os.utime(game / "content" / "bells.toml")

    assert files.look() == []


def test_what_comes_and_goes_is_a_change_wherever_it_lies(game: Path) -> None:
    files = _followed(game)
    (game / "more" / "deep").mkdir(parents=True)
    (game / "more" / "deep" / "new.sql").write_text("SELECT 1")
    (game / "content" / "bells.toml").unlink()

    assert sorted(_names(files.look())) == ["bells.toml", "new.sql"]


def test_a_file_that_an_editor_replaces_is_a_change(game: Path) -> None:
    files = _followed(game)
    (game / "rules.py.tmp").write_text("ONE = 3\n")
    (game / "rules.py.tmp").replace(game / "rules.py")

    assert _names(files.look()) == ["rules.py"]


@pytest.mark.parametrize("name", [".rules.py.swp", "rules.py~", "4913", "#rules.py#", ".git/index", "__pycache__/rules.cpython-311.pyc"])
def test_what_editors_and_tools_leave_beside_is_none(game: Path, name: str) -> None:
    files = _followed(game)
    (game / name).parent.mkdir(exist_ok=True)
    (game / name).write_text("x")

    assert files.look() == []


def test_a_link_that_leads_back_is_not_followed_and_a_linked_file_is(game: Path) -> None:
    (game / "content" / "again").symlink_to(game)
    (game.parent / "elsewhere.toml").write_text("x = 1\n")
    (game / "content" / "linked.toml").symlink_to(game.parent / "elsewhere.toml")
    files = _followed(game)
    (game.parent / "elsewhere.toml").write_text("x = 2\n")

    assert _names(files.look()) == ["linked.toml"]


def test_the_data_folder_is_no_part_of_a_game(game: Path) -> None:
    files = _followed(game, without=[game / "data"])
    (game / "data").mkdir()
    (game / "data" / "log").write_text("x")

    assert files.look() == []


def test_a_file_that_changed_while_it_was_read_is_told_when_it_is_followed(game: Path) -> None:
    files = Files()
    read_at = time.time_ns()
    os.utime(game / "rules.py", ns=(read_at, read_at - 1))
    os.utime(game / "content" / "bells.toml", ns=(read_at, read_at + 1))

    assert _names(files.follow([str(game)], since_ns=read_at)) == ["bells.toml"]


def test_a_change_between_two_looks_is_not_lost_when_more_is_followed(game: Path) -> None:
    files = _followed(game)
    (game / "rules.py").write_text("ONE = 2\n")
    files.follow([str(game), str(game.parent)], since_ns=time.time_ns())

    assert _names(files.look()) == ["rules.py"]
