"""Tables of characters and languages: what does not fit is named, and the shipped ones fit the rest of the world."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.errors import BadSettings
from handlers.language_system import tables as languages
from handlers.npc_behavior import read
from handlers.npc_behavior.check import MAX_ACTIONS
from handlers.quest_system import tables as quests
from tests.duskmarket import FOLDER

WORLD = FOLDER
NPCS = tomllib.loads((WORLD / "npcs.toml").read_text())
LANGUAGES = tomllib.loads((WORLD / "languages.toml").read_text())
Damage = Callable[[dict[str, Any]], object]


def test_every_giver_of_a_quest_is_a_character() -> None:
    givers = {quest.giver for quest in quests.load(WORLD / "quests.toml").quests.values()}

    assert givers <= read.load(WORLD / "npcs.toml").npcs.keys()


def test_what_characters_wait_for_can_happen() -> None:
    known = quests.load(WORLD / "quests.toml").quests
    scenes = tomllib.loads((WORLD / "scenes.toml").read_text())["scenes"]
    beats = {beat["name"] for arc in tomllib.loads((WORLD / "story.toml").read_text())["arcs"].values() for beat in arc["beats"]}
    for on, value in read.load(WORLD / "npcs.toml").concerned:
        name, _, ending = value.partition("=")
        match on:
            case "quest" | "quest_failed":
                assert name in known
                assert not ending or ending in {each.name for each in known[name].endings}
            case "discovered" | "changed":
                assert name in scenes
            case "story":
                assert name in beats
            case _:
                assert (on, value) == ("raid", "any")


def test_every_language_of_a_character_is_one_of_the_world() -> None:
    known = languages.load(WORLD / "languages.toml")
    spoken = {tongue for persona in read.load(WORLD / "npcs.toml").npcs.values() for tongue in (persona.language, persona.night_language)}

    assert spoken == {known.common, *known.languages}


def hask(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = table["npcs"]["widow-hask"]
    return found


NPC_DAMAGES: list[tuple[str, Damage]] = [
    ("pulse_minutes must be 1 or more", lambda t: t.update(pulse_minutes=0)),
    ("half lives", lambda t: t.update(fear_half_hours=0)),
    ("forget_below", lambda t: t.update(forget_below=0)),
    ("habit, schedule and whim", lambda t: t.update(whim=-1)),
    ("emotions", lambda t: t.update(emotions=["warm"])),
    ("effects must be", lambda t: t["effects"].pop("gift")),
    ("effects.gift: text may hold", lambda t: t["effects"]["gift"].update(text="{who} gave it")),
    ("effects.gift: text may hold", lambda t: t["effects"]["gift"].update(text="{")),
    ("effects.gift: what is remembered needs its text", lambda t: t["effects"]["gift"].update(text="")),
    ("effects.gift: feelings must be", lambda t: t["effects"]["gift"].update(trust=1001)),
    ("effects.gift: needs: there is no sleep", lambda t: t["effects"]["gift"].update(needs={"sleep": 1})),
    ("dialogue: wanted most_open", lambda t: t["dialogue"].update(most_open=0)),
    ("dialogue: wanted most_open", lambda t: t["dialogue"].update(most_open=33)),
    ("dialogue: wanted a kind", lambda t: t["dialogue"].update(tier="tin")),
    ("needs.rest", lambda t: t["needs"]["rest"].update(trait="luck")),
    ("actions.none", lambda t: t["actions"].update(none={"kind": "life"})),
    ("actions.eat: kind must be", lambda t: t["actions"]["eat"].update(kind="dream")),
    ("actions.eat: relieves: there is no thirst", lambda t: t["actions"]["eat"].update(relieves={"thirst": 1})),
    ("actions.eat: relieves must be 0", lambda t: t["actions"]["eat"].update(relieves={"food": -1})),
    ("actions.eat: by: there is no luck", lambda t: t["actions"]["eat"].update(by={"luck": 1})),
    ("actions.give: settles", lambda t: t["actions"]["give"].update(settles=1001)),
    ("npcs.widow-hask: traits must be", lambda t: hask(t)["traits"].update(openness=1001)),
    ("traits: wanted openness", lambda t: hask(t)["traits"].pop("openness")),
    ("npcs.widow-hask: may: there is no fly", lambda t: hask(t)["may"].append("fly")),
    (f"1 to {MAX_ACTIONS} deeds, each once", lambda t: hask(t)["may"].append("eat")),
    ("at least one deed of kind reaction", lambda t: hask(t).update(may=["work", "mourn", "eat", "sleep"])),
    ("schedule: there is no nod", lambda t: hask(t)["schedule"][0].update(action="nod")),
    ("schedule: wanted one slot", lambda t: hask(t).update(schedule=[])),
    ("schedule: wanted one slot", lambda t: hask(t)["schedule"][0].update({"from": "12:00"})),
    ("'no where' must be", lambda t: hask(t).update(home="no where")),
    ("bonds: there is no nobody", lambda t: hask(t).update(bonds={"nobody": 1})),
    ("places: there is no trade", lambda t: hask(t).update(places={"trade": "quay"})),
    ("lines.hostile", lambda t: hask(t)["lines"].update(hostile=[])),
    ("goals.find-him.by: there is no fly", lambda t: hask(t)["goals"]["find-him"].update(by={"fly": 1})),
    ("goals.find-him: urgency", lambda t: hask(t)["goals"]["find-him"].update(urgency=-1)),
    ("reacts: on must be", lambda t: hask(t)["reacts"][0].update(on="dream")),
    ("two of them wait for the same", lambda t: hask(t)["reacts"].append(hask(t)["reacts"][0])),
    ("goals: there is no peace", lambda t: hask(t)["reacts"][0].update(reaches="peace")),
    ("dialogue: wanted passages 0 to 32", lambda t: t["dialogue"].update(passages=33)),
    ("dialogue: wanted passages 0 to 32", lambda t: t["dialogue"].update(passage_tokens=0)),
    ("npcs: wanted a table, found no such key", lambda t: t.pop("npcs")),
    ("widow-hask.schedule[0].from: wanted a time", lambda t: hask(t).update(wings=2, schedule=[{"from": "noon"}])),
]


@pytest.mark.parametrize(("message", "damage"), NPC_DAMAGES)
def test_a_damaged_table_of_characters_names_what_is_wrong(message: str, damage: Damage) -> None:
    table = copy.deepcopy(NPCS)
    damage(table)
    with pytest.raises(BadSettings) as refused:
        read.parse(table, "npcs.toml")

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("factions", "message"),
    [
        ({"wardens": {"members": ["warden-pell", "nobody"]}}, "factions.wardens: members: there is no nobody"),
        ({"the wardens": {"members": []}}, "factions.'the wardens': a faction's name must be"),
        ({"wardens": {}}, "factions.toml: factions.wardens.members: wanted an array"),
    ],
)
def test_a_damaged_table_of_factions_names_what_is_wrong(factions: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSettings) as refused:
        read.parse(NPCS, "npcs.toml", {"factions": factions})

    assert message in str(refused.value)


def test_a_character_knows_what_its_factions_know() -> None:
    tables = read.parse(NPCS, "npcs.toml", {"factions": {"b": {"members": ["widow-hask"]}, "a": {"members": ["widow-hask", "pockets"]}}})

    assert tables.npcs["widow-hask"].knows == ("public", "npc:widow-hask", "faction:a", "faction:b")
    assert tables.npcs["doctor-vane"].knows == ("public", "npc:doctor-vane")


def ossic(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = table["languages"]["ossic"]
    return found


LANGUAGE_DAMAGES: list[tuple[str, Damage]] = [
    ("common must be", lambda t: t.update(common="ossic")),
    ("stages must begin", lambda t: t.update(stages=[])),
    ("stages must begin", lambda t: t["stages"].append({"name": "x", "level": 1001})),
    ("stages must begin", lambda t: t["stages"].append({"name": "x", "level": 930})),
    ("irregular", lambda t: t["irregular"].update(oxen="ox dual")),
    ("languages.a b: a name must be", lambda t: t["languages"].update({"a b": ossic(t)})),
    ("languages.ossic: order", lambda t: ossic(t).update(order="SOS")),
    ("languages.ossic: adjective", lambda t: ossic(t).update(adjective="beside")),
    ("languages.ossic: half_words", lambda t: ossic(t).update(half_words=0)),
    ("languages.ossic: syllables", lambda t: ossic(t).update(syllables=[2, 1])),
    ("wanted consonants and vowels", lambda t: ossic(t).update(vowels=[])),
    ("wanted consonants and vowels", lambda t: ossic(t).update(vowels=["a!"])),
    ("languages.ossic: patterns", lambda t: ossic(t).update(patterns=["CCC"])),
    ("languages.ossic: past must be", lambda t: ossic(t).update(past="osh")),
    ("languages.ossic: bone: a word", lambda t: ossic(t)["words"].update(bone="os k")),
    ("syllables that are not forbidden", lambda t: ossic(t).update(forbidden=["a", "o", "u", "e"])),
    ("languages.ossic.seed: wanted a whole number", lambda t: ossic(t).pop("seed")),
    ("languages: wanted a table, found no such key", lambda t: t.pop("languages")),
]


@pytest.mark.parametrize(("message", "damage"), LANGUAGE_DAMAGES)
def test_a_damaged_table_of_languages_names_what_is_wrong(message: str, damage: Damage) -> None:
    table = copy.deepcopy(LANGUAGES)
    damage(table)
    with pytest.raises(BadSettings) as refused:
        languages.parse(table, "languages.toml")

    assert message in str(refused.value)


@pytest.mark.parametrize("module", [read, languages])
def test_a_file_that_is_no_toml_says_so(module: Any, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("= nothing")
    for path in (tmp_path / "x.toml", tmp_path / "missing.toml"):
        with pytest.raises(BadSettings, match="cannot be read as TOML"):
            module.load(path)
