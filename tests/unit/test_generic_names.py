"""Nothing generic knows the sample game: its name, its people, places, goods and quests stand in its own folder alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from worldbus.lore_check.world import World
from worlds.duskmarket import content, game
from worlds.duskmarket.bots.players import ZONES

ROOT: Final = Path(__file__).parents[2]
GENERIC: Final = (
    *("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus"),
    *("clients/python", "clients/cpp/include", "clients/cpp/src", "clients/typescript/src", "clients/unreal"),
)
WRITTEN: Final = frozenset({".py", ".sql", ".txt", ".toml", ".proto", ".ts", ".hpp", ".h", ".cpp", ".cs"})
MADE: Final = ("schemas/gen/", "schemas/corpus/", "worldbus/template/", "/gen/", "/node_modules/", "/dist/")
# Who names what is named nowhere else: the game that is played where none is chosen.
MAY: Final = {"worldbus/games.py": {"duskmarket"}}
# Words of the sample's tables that mean in generic text what they mean in English.
ENGLISH: Final = {
    "brokers": "those who trade",
    "crowns": "coins, in examples of a currency",
    "quay": "a place in examples: a zone has to be called something",
    "registry": "where services, types and packages are looked up",
    "teeth": "parts of a mouth",
}


def names() -> set[str]:
    """What the sample's content gives a name to, as it stands in events and as people read it."""
    world = World.of(content.folder)
    npcs = content.npcs.npcs.values()
    found = {game.name, *world.npcs, *world.buyers, *world.places, *world.goods, *world.items, *world.creatures, *world.scenes}
    found |= {*world.arcs, *world.endings, *world.factions, *content.market.sources, *content.languages.languages, *ZONES}
    found |= {*content.prices.currencies}
    return found | {name.replace("-", " ") for name in found if "-" in name} | {npc.title for npc in npcs}


def written(places: Iterable[str]) -> Iterator[Path]:
    """The files that people write below these places."""
    for place in places:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix in WRITTEN and not any(made in path.relative_to(ROOT).as_posix() for made in MADE):
                yield path


def told(text: str, wanted: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Line and name, for each name in a text."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, found.group().lower()) for found in wanted.finditer(line))


def pattern(of: Iterable[str]) -> re.Pattern[str]:
    """Any of these names as a word of its own."""
    longest_first = sorted(of, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])", re.IGNORECASE)


@pytest.mark.parametrize("place", GENERIC)
def test_nothing_generic_names_what_the_sample_game_names(place: str) -> None:
    wanted = pattern(names() - ENGLISH.keys())
    offences = [
        f"{path.relative_to(ROOT)}:{line} names {name}"
        for path in written([place])
        for line, name in told(path.read_text(encoding="utf-8"), wanted)
        if name not in MAY.get(path.relative_to(ROOT).as_posix(), ())
    ]

    assert offences == []


def test_the_exceptions_are_names_of_the_sample_and_stand_in_generic_text() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in written(GENERIC))

    assert ENGLISH.keys() <= names()
    assert [word for word in ENGLISH if not any(told(text, pattern([word])))] == []


def test_the_search_finds_what_it_looks_for() -> None:
    """A search that finds nothing proves nothing."""
    text = "the ferryman's ring\nFor example ferryman-ring, or Doctor Vane's bone key at the old moor; not old-moors.\n"
    assert {name for _, name in told(text, pattern(names()))} == {"ferryman-ring", "doctor vane", "bone key", "old moor"}
    assert any(told(Path(content.folder / "npcs.toml").read_text(encoding="utf-8"), pattern(names())))
