"""Each table of a world, damaged in every way that a designer's hand or disk can: refused with its place, or right; and whom it stops."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest

from bus.errors import BadSettings
from bus.health import Health
from bus.presence import Presence
from tests.duskmarket import FOLDER
from tests.unit.handlers.test_broken_tables import READ
from worldbus.game import Game
from worldbus.readiness import Refusals
from worlds import duskmarket
from worlds.duskmarket.content import Duskmarket

MAY_BE_ABSENT: Final = ("factions.toml", "bounds.toml")
MAY_BE_EMPTY: Final = (
    "bounds.toml",
    "ladder.toml",
    "factions.toml",
    "quests.toml",
)  # nothing is bounded, nobody asked, a member or on a quest
MOST: Final = 60  # places of a table that are damaged, evenly among all of them
STRANGE: Final = date(1979, 5, 27)  # a value that no table has a use for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample's tables, to be damaged."""
    found = tmp_path / "content"
    shutil.copytree(FOLDER, found, ignore=shutil.ignore_patterns("lore", "*.py", "__pycache__"))
    return found


def refusal(folder: Path, file: str) -> BadSettings | None:
    """The reader's refusal of a table; None if it is right. Anything else that is raised is a bug of the reader."""
    try:
        READ[file](Duskmarket(folder))
    except BadSettings as error:
        return error
    return None


@pytest.mark.parametrize("file", READ)
def test_a_file_that_holds_nothing(folder: Path, file: str) -> None:
    (folder / file).write_text("# nothing yet\n")
    refused = refusal(folder, file)

    if file in MAY_BE_EMPTY:
        assert refused is None
    else:
        assert refused is not None
        assert str(refused).startswith(f"{folder / file}:1: ")
        assert "wanted" in str(refused)


@pytest.mark.parametrize("file", READ)
def test_a_folder_where_the_file_should_be(folder: Path, file: str) -> None:
    (folder / file).unlink()
    (folder / file).mkdir()
    refused = refusal(folder, file)

    assert refused is not None
    assert str(refused).startswith(f"{folder / file} cannot be read as TOML: ")


@pytest.mark.parametrize("file", READ)
def test_a_table_that_stands_there_twice(folder: Path, file: str) -> None:
    text = (folder / file).read_text()
    lines = [line for line in text.splitlines() if line.startswith("[") and not line.startswith("[[")]
    again = lines[0] if lines else next(line for line in text.splitlines() if line and line[0].isalpha())
    (folder / file).write_text(f"{text.rstrip()}\n{again}\n")
    refused = refusal(folder, file)

    assert refused is not None
    assert str(refused).startswith(f"{folder / file}:")
    assert refused.facts["line"]


@pytest.mark.parametrize("file", READ)
def test_a_mark_of_byte_order_changes_nothing(folder: Path, file: str) -> None:
    before = repr(READ[file](Duskmarket(folder)))
    (folder / file).write_bytes(b"\xef\xbb\xbf" + (folder / file).read_bytes())

    assert repr(READ[file](Duskmarket(folder))) == before


@pytest.mark.parametrize("file", READ)
def test_a_value_of_another_kind_at_any_place(folder: Path, file: str) -> None:
    for keys, table in damaged(folder / file, lambda holder, key: holder.__setitem__(key, STRANGE)):
        lines = write(folder / file, table)
        refused = refusal(folder, file)
        assert refused is not None, f"{keys} may hold a date"
        assert str(refused).startswith(f"{folder / file}:{lines[keys[0]]}: "), (keys, str(refused))
        assert refused.facts["key"], (keys, str(refused))


@pytest.mark.parametrize("file", READ)
def test_a_key_that_nobody_reads_in_any_table(folder: Path, file: str) -> None:
    def add(holder: Any, key: Any) -> None:
        if isinstance(holder[key], dict):
            holder[key]["nobody-reads-this"] = STRANGE
        else:
            holder[key] = STRANGE

    for keys, table in damaged(folder / file, add):
        lines = write(folder / file, table)
        refused = refusal(folder, file)
        assert refused is not None, f"{keys} may have a key that nobody reads"
        assert str(refused).startswith(f"{folder / file}:{lines[keys[0]]}: "), (keys, str(refused))


@pytest.mark.parametrize("file", READ)
def test_anything_that_is_missing_is_done_without_or_told(folder: Path, file: str) -> None:
    told = 0
    for keys, table in damaged(folder / file, lambda holder, key: holder.__delitem__(key)):
        write(folder / file, table)
        refused = refusal(folder, file)
        if refused is not None:
            told += 1
            assert str(refused).startswith(str(folder)), (keys, str(refused))
            assert refused.facts["line"], (keys, str(refused))

    assert told or file in MAY_BE_ABSENT


def damaged(path: Path, damage: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The table with one place damaged, for some of its places, with the keys that lead there."""
    text = path.read_text()
    everywhere = list(places(tomllib.loads(text), ()))
    for keys in everywhere[:: max(1, len(everywhere) // MOST)]:
        table = tomllib.loads(text)
        holder: Any = table
        for key in keys[:-1]:
            holder = holder[key]
        damage(holder, keys[-1])
        yield keys, table


def places(node: Any, keys: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    found = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in found:
        yield (*keys, key)
        yield from places(inner, (*keys, key))


def write(path: Path, table: dict[str, Any]) -> dict[str, int]:
    """The table as TOML, each key of its top on a line of its own; those lines."""
    path.write_text("".join(f"{quoted(key)} = {said(value)}\n" for key, value in table.items()))
    return {key: number for number, key in enumerate(table, start=1)}


def said(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case dict():
            return "{ " + ", ".join(f"{quoted(key)} = {said(one)}" for key, one in value.items()) + " }"
        case list():
            return "[" + ", ".join(said(one) for one in value) + "]"
        case _:
            return str(value)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\u{ord(one):04x}" if one in '"\\' or ord(one) < 32 else one for one in text) + '"'


STOPS: Final = {
    "calendar.toml": {"time", "quest"},
    "weather.toml": {"weather"},
    "npcs.toml": {"npc", "inventory"},
    "factions.toml": {"npc", "inventory"},
    "quests.toml": {"quest"},
    "prices.toml": {"payment"},
    "market.toml": {"broker", "market"},
    "scenes.toml": {"narrative"},
    "story.toml": {"storyteller"},
    "languages.toml": {"language"},
    "engines.toml": {"capability"},
    "models.toml": {"models"},
    "router.toml": {"router"},
}


@pytest.mark.parametrize("file", STOPS)
def test_a_broken_table_stops_those_who_play_by_it_and_nobody_else(folder: Path, file: str) -> None:
    whole = (folder / file).read_text()
    (folder / file).write_text(f"{whole}\nthis is not TOML\n")
    played = duskmarket.game
    game = Game(name="duskmarket", mark="", handlers=played.handlers, projections=(), content=Duskmarket(folder))

    with ExitStack() as stack:
        refusals = Refusals(Health(), Presence(), stack)
        able = {one.name for one in refusals.able(game.handlers, ["main"])}

        assert set(refusals.reasons) == STOPS[file]
        assert able == {one.name for one in game.handlers} - STOPS[file]
        place = f"{folder / file}:{whole.count(chr(10)) + 2}: "
        assert [reason.startswith(place) for reason in refusals.reasons.values()] == [True] * len(STOPS[file])
        assert len(refusals.health.reasons) == len(STOPS[file])


def test_every_table_stops_somebody() -> None:
    answered = {"ladder.toml", "grammars/npc_line.toml"}  # who answers without a model: tests/integration/cli/test_broken_table.py
    assert set(STOPS) | answered | {"bounds.toml"} == set(READ)
