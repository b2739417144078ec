"""A typo in each table of a world in turn: the error names the file, the line, the key, what was found and what was wanted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bus.errors import BadSettings
from bus.toml_lines import lines
from inference import grammars, ladder
from tests.duskmarket import FOLDER
from worlds.duskmarket.content import Duskmarket

READ: dict[str, Callable[[Duskmarket], Any]] = {
    "calendar.toml": lambda content: content.calendar,
    "weather.toml": lambda content: content.weather,
    "npcs.toml": lambda content: content.npcs,
    "factions.toml": lambda content: content.npcs,
    "quests.toml": lambda content: content.quests,
    "prices.toml": lambda content: content.prices,
    "market.toml": lambda content: content.market,
    "scenes.toml": lambda content: content.scenes,
    "story.toml": lambda content: content.story,
    "languages.toml": lambda content: content.languages,
    "engines.toml": lambda content: content.engines,
    "models.toml": lambda content: content.models,
    "router.toml": lambda content: content.router,
    "bounds.toml": lambda content: content.bounds,
    "ladder.toml": lambda content: ladder.load(content.folder / "ladder.toml"),
    "grammars/npc_line.toml": lambda content: grammars.load(content.folder / "grammars"),
}


class Typo(NamedTuple):
    """`old` becomes `new` where it stands first; the error points to the line of `at` (of `new`, if that is empty)."""

    file: str
    old: str
    new: str
    key: str
    words: str
    at: str = ""


TYPOS = {
    "calendar: missing": Typo("calendar.toml", "hours_per_day = 24", "hours_per_dy = 24", "hours_per_dy", "did you mean hours_per_day"),
    "calendar: missing in a row": Typo(
        "calendar.toml",
        'name = "summer"\ndays = 28\n',
        'name = "summer"\n',
        "seasons[1].days",
        "wanted a whole number",
        at='[[seasons]]\nname = "summer"',
    ),
    "calendar: type": Typo("calendar.toml", "days = 28", 'days = "28"', "seasons[0].days", "wanted a whole number, found '28'"),
    "calendar: value": Typo(
        "calendar.toml",
        "dawn_minute = 270",
        "dawn_minute = 1270",
        "seasons[1]",
        "wanted 0 <= dawn < day",
        at='[[seasons]]\nname = "summer"',
    ),
    "weather: missing": Typo(
        "weather.toml",
        "levels = [0.3, 0.6, 0.9]\n",
        "",
        "skies.rain.levels",
        "wanted an array with a number in each place, found no such key",
        at="[skies.rain]",
    ),
    "weather: misspelt": Typo("weather.toml", "warmth_c = -4.0", "warmth = -4.0", "skies.rain.warmth", "did you mean warmth_c"),
    "weather: type": Typo("weather.toml", "warmth_c = -4.0", 'warmth_c = "cold"', "skies.rain.warmth_c", "wanted a number, found 'cold'"),
    "weather: type inside": Typo(
        "weather.toml", "levels = [0.3, 0.6, 0.9]", 'levels = [0.3, "much", 0.9]', "skies.rain.levels[1]", "found 'much'"
    ),
    "weather: too few": Typo(
        "weather.toml", "wind_mps = [2.0, 12.0]", "wind_mps = [2.0]", "skies.rain.wind_mps", "wanted an array of 2: a number, a number"
    ),
    "weather: reference": Typo(
        "weather.toml",
        "cloudy = 0.25, storm = 0.03 }",
        "cloudy = 0.25, storn = 0.03 }",
        "climates.harbour.spring.next.rain.storn",
        "storn has no row of its own in next",
    ),
    "npcs: missing": Typo("npcs.toml", "pulse_minutes = 30", "pulse_minute = 30", "pulse_minute", "did you mean pulse_minutes"),
    "npcs: missing inside": Typo(
        "npcs.toml",
        'language = "common"\nhome = "quay"\nmay',
        'home = "quay"\nmay',
        "npcs.widow-hask.language",
        "wanted a text",
        at="[npcs.widow-hask]",
    ),
    "npcs: type": Typo(
        "npcs.toml", "urgency = 800", 'urgency = "high"', "npcs.widow-hask.goals.find-him.urgency", "wanted a whole number, found 'high'"
    ),
    "npcs: time": Typo(
        "npcs.toml", 'from = "18:30"', 'from = "noon"', "npcs.widow-hask.schedule[3].from", "wanted a time like 18:30, found 'noon'"
    ),
    "npcs: reference": Typo(
        "npcs.toml", "bonds = { old-marrow = 300 }", "bonds = { old-morrow = 300 }", "npcs.widow-hask.bonds", "there is no old-morrow"
    ),
    "factions: missing": Typo(
        "factions.toml",
        "[factions.wardens]",
        "[factions.others]\n[factions.wardens]",
        "factions.others.members",
        "wanted",
        at="[factions.others]",
    ),
    "quests: missing": Typo(
        "quests.toml",
        'title = "The Ferryman Who Did Not Dock"\n',
        "",
        "quests.missing-ferryman.title",
        "wanted a text",
        at="[quests.missing-ferryman]",
    ),
    "quests: misspelt table": Typo("quests.toml", "[quests.missing-ferryman]", "[qests.missing-ferryman]", "qests", "did you mean quests"),
    "quests: type": Typo(
        "quests.toml",
        "amount_minor = 1200",
        "amount_minor = 12.5",
        "quests.missing-ferryman.endings.told.amount_minor",
        "wanted a whole number, found 12.5",
    ),
    "quests: reference": Typo(
        "quests.toml", 'kind = "visit"', 'kind = "visti"', "quests.missing-ferryman.stages[1].objectives[0]", "there is no kind 'visti'"
    ),
    "prices: missing": Typo(
        "prices.toml",
        "gives = { lantern = 1 }\n",
        "",
        "items.lantern.gives",
        "wanted a table with a whole number for each key",
        at="[items.lantern]",
    ),
    "prices: type": Typo(
        "prices.toml", "{ crowns = 450 }", '{ crowns = "450" }', "items.lantern.prices.crowns", "wanted a whole number, found '450'"
    ),
    "prices: reference": Typo("prices.toml", "{ crowns = 450 }", "{ crown = 450 }", "items.lantern.prices", "in some of crowns, teeth"),
    "market: missing": Typo("market.toml", "fades = 12", "fade = 12", "heat.fade", "did you mean fades"),
    "market: type": Typo("market.toml", "decay = 25", "decay = true", "goods.drowned-heart.decay", "wanted a whole number, found True"),
    "market: reference": Typo("market.toml", "[goods.drowned-heart]", "[goods.drowned-hart]", "", "known goods", at="kinds = "),
    "scenes: missing": Typo(
        "scenes.toml", "needs = 60\n", "", "scenes.drowned-skiff.needs", "wanted a whole number", at="[scenes.drowned-skiff]"
    ),
    "scenes: type": Typo(
        "scenes.toml", "weight = 10,", 'weight = "10",', "scenes.drowned-skiff.objects.hull.conditions[1].weight", "found '10'"
    ),
    "scenes: reference": Typo(
        "scenes.toml",
        'object = "cut-rope"',
        'object = "rope"',
        "scenes.drowned-skiff.changes[1]",
        "there is no object 'rope'",
        at='[[scenes.drowned-skiff.changes]]\non = "weather"\nvalue = "rain"',
    ),
    "story: missing": Typo("story.toml", "calm = 15\n", "", "arcs.the-tally.calm", "wanted a whole number", at="[arcs.the-tally]"),
    "story: type": Typo(
        "story.toml", "tension = -150", "tension = [-150]", "arcs.the-tally.stirs[2].tension", "wanted a whole number, found [-150]"
    ),
    "story: reference": Typo(
        "story.toml",
        'establishes = { ferryman = "sold" }',
        'establishes = { ferryman = "swam" }',
        "arcs.the-tally.stirs[0]",
        "there is no fact ferryman=swam",
        at='[[arcs.the-tally.stirs]]\nkey = "ferryman-told"',
    ),
    "languages: missing": Typo("languages.toml", 'common = "common"\n', "", "common", "wanted a text", at="# The languages"),
    "languages: type": Typo("languages.toml", "level = 150", 'level = "low"', "stages[1].level", "wanted a whole number, found 'low'"),
    "languages: reference": Typo(
        "languages.toml", 'had = "have past"', 'had = "have pasr"', "irregular", "something else at had", at="[irregular]"
    ),
    "engines: misspelt": Typo(
        "engines.toml",
        "requirement = ",
        "requires = ",
        "lines.unreal.features.nanite",
        "no such setting 'requires'",
        at="[lines.unreal.features.nanite]",
    ),
    "engines: type": Typo("engines.toml", 'mac = "5.3"', "mac = 5.3", "lines.unreal.features.nanite.on.mac", "in quotes; found 5.3"),
    "models: missing": Typo(
        "models.toml",
        'license = "qwen-research"\n',
        "",
        "tiers.gold.models.qwen25-3b-awq.license",
        "wanted a text",
        at="[tiers.gold.models.qwen25-3b-awq]",
    ),
    "models: type": Typo(
        "models.toml", "min_requests = 50", "min_requests = 0.5", "health.min_requests", "wanted a whole number, found 0.5"
    ),
    "models: reference": Typo(
        "models.toml", 'serves = "qwen25-7b"', 'serves = "qwen25-8b"', "tiers.silver.serves", "no such model 'qwen25-8b'"
    ),
    "router: missing": Typo("router.toml", 'overflow = ["gold"]\n', "", "tiers.silver.overflow", "wanted an array", at="[tiers.silver]"),
    "router: type": Typo(
        "router.toml", "needs_ms = 500", 'needs_ms = "500"', "tiers.silver.needs_ms", "wanted a whole number, found '500'"
    ),
    "router: reference": Typo(
        "router.toml", 'overflow = ["gold"]', 'overflow = ["golden"]', "tiers.silver.overflow", "no such other tier 'golden'"
    ),
    "bounds: type": Typo(
        "bounds.toml",
        "ItemCollected.quantity = 1000",
        'ItemCollected.quantity = "all"',
        "any.ItemCollected.quantity",
        "wanted 0 or more, found 'all'",
    ),
    "bounds: reference": Typo(
        "bounds.toml", "ItemCollected.quantity", "ItemColected.quantity", "any.ItemColected.quantity", "ItemColected"
    ),
    "ladder: missing": Typo(
        "ladder.toml",
        'reserve_ms = 12\ngrammar = "npc_line"',
        'grammar = "npc_line"',
        "npc_line.reserve_ms",
        "wanted a whole number",
        at="[npc_line]",
    ),
    "ladder: type": Typo(
        "ladder.toml", "needs_ms = 40", 'needs_ms = "40"', "npc_line.rungs[0].needs_ms", "wanted a whole number, found '40'"
    ),
    "ladder: order": Typo(
        "ladder.toml",
        "needs_ms = 40",
        "needs_ms = 10",
        "npc_line.rungs",
        "needs_ms must be 0 to 86400000 and fall",
        at='rungs = [\n  { rung = "full", needs_ms = 10',
    ),
    "grammars: missing": Typo("grammars/npc_line.toml", "origin = [", "beginning = [", "rules", "wanted a rule 'origin'", at="[rules]"),
    "grammars: type": Typo("grammars/npc_line.toml", 'place = "the market"', "place = 1", "slots.place", "wanted a text, found 1"),
    "grammars: reference": Typo(
        "grammars/npc_line.toml", "#thing.a#", "#things.a#", "rules.weather", "neither a rule nor a slot", at="weather = ["
    ),
}


def _changed(tmp_path: Path, file: str, text: str) -> Duskmarket:
    folder = tmp_path / "content"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("lore", "*.py", "__pycache__"))
    (folder / file).write_text(text, encoding="utf-8")
    return Duskmarket(folder)


def _refusal(file: str, content: Duskmarket) -> BadSettings:
    with pytest.raises(BadSettings) as refused:
        READ[file](content)
    return refused.value


@pytest.mark.parametrize("typo", TYPOS.values(), ids=TYPOS)
def test_a_typo_is_told_with_file_line_and_key(typo: Typo, tmp_path: Path) -> None:
    good = (FOLDER / typo.file).read_text(encoding="utf-8")
    assert typo.old in good, "the table has changed: name another place"
    text = good.replace(typo.old, typo.new, 1)
    line = text[: text.index(typo.at or typo.new)].count("\n") + 1
    error = _refusal(typo.file, _changed(tmp_path, typo.file, text))

    said = str(error)
    assert typo.words in said
    if typo.key:
        assert error.facts["key"] == typo.key
        assert error.facts["line"] == line
        assert said.startswith(f"{tmp_path / 'content' / typo.file}:{line}: ")
    assert "duskmarket" not in said.replace(str(tmp_path), ""), "another game's designer has no such file to compare with"
    assert not re.search(r"(Key|Type|Value|Attribute)Error", said)


@pytest.mark.parametrize("file", READ)
def test_a_file_that_is_not_toml_is_told_with_its_line(file: str, tmp_path: Path) -> None:
    good = (FOLDER / file).read_text(encoding="utf-8")
    broken = good.rstrip("\n") + "\nthis is not TOML\n"
    error = _refusal(file, _changed(tmp_path, file, broken))

    assert str(error).startswith(f"{tmp_path / 'content' / file}:{broken.count(chr(10))}: cannot be read as TOML: ")


@pytest.mark.parametrize("file", [file for file in READ if file not in ("factions.toml", "bounds.toml")])
def test_a_file_that_is_missing_or_no_text_is_told(file: str, tmp_path: Path) -> None:
    content = _changed(tmp_path, file, "")
    (content.folder / file).write_bytes(b"\xff\xfe")
    assert f"{file} cannot be read as TOML: 'utf-8'" in str(_refusal(file, content))
    (content.folder / file).unlink()
    missing = str(_refusal(file, Duskmarket(content.folder)))
    assert "no such file" in missing.lower() or "found none" in missing


def test_every_table_of_the_world_has_its_typos() -> None:
    """A new table is broken here too."""
    tables = {path.name for path in FOLDER.glob("*.toml")} | {f"grammars/{path.name}" for path in FOLDER.glob("grammars/*.toml")}
    tried = {typo.file for typo in TYPOS.values()}

    assert tables - {"bots.toml"} == tried == set(READ)  # bots play the demo: they are no content of a world


def test_lines_are_found_in_every_way_that_toml_is_written() -> None:
    text = '''# first
top = 1
"quoted key" = """
two
lines with [brackets] and # no comment"""
[a.b]
c.d = { e = 1, f = [1, 2] }
g = [
  { h = 1 },  # a comment, with a comma
  { h = "]" },
]
[[rows]]
name = 'one'
[rows.inner]
x = 1
[[rows]]
name = 1979-05-27 07:32:00
[[rows.deep]]
y = 2
'''
    found = lines(text)

    wanted = {
        ("top",): 2,
        ("quoted key",): 3,
        ("a", "b"): 6,
        ("a", "b", "c"): 7,
        ("a", "b", "c", "d"): 7,
        ("a", "b", "c", "d", "f", 1): 7,
        ("a", "b", "g"): 8,
        ("a", "b", "g", 0, "h"): 9,
        ("a", "b", "g", 1, "h"): 10,
        ("rows",): 12,
        ("rows", 0): 12,
        ("rows", 0, "name"): 13,
        ("rows", 0, "inner", "x"): 15,
        ("rows", 1): 16,
        ("rows", 1, "name"): 17,
        ("rows", 1, "deep", 0, "y"): 19,
    }
    assert {key: found.get(key) for key in wanted} == wanted
