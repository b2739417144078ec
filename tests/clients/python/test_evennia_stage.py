"""The Evennia adapter on the stage of any game: what it knows of one lies in a module of that game, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from worldbus_client.rules import check_token
from worldbus_evennia.stage import AWAY, Stage, stage_of

ROOT = Path(__file__).parents[3]
ADAPTER = ROOT / "clients" / "evennia" / "worldbus_evennia"
OF_THE_SAMPLE = re.compile(r"duskmarket|broker|widow|fishmarket|ferryman", re.IGNORECASE)


def module(**names: object) -> ModuleType:
    found = ModuleType("port_stage")
    vars(found).update(names)
    return found


def test_a_stage_has_what_its_module_says_and_stands_in_for_the_rest() -> None:
    shown: list[object] = []
    stage = stage_of(
        module(
            PLACES={"The Ring Bar": "ring-bar"},
            PEOPLE={"renke": ("Renke", "ring-bar")},
            SHOWS={("docking", "ShipDocked"): shown.append},
            EVENTS=("spaceport_client.spaceport.docking.v1",),
        )
    )

    assert (stage.places, stage.rooms) == ({"The Ring Bar": "ring-bar"}, {"ring-bar": "The Ring Bar"})
    assert (stage.away, stage.commands) == (AWAY, ())
    stage.shows["docking", "ShipDocked"]("a ship")
    assert shown == ["a ship"]
    assert stage_of(module()) == Stage()


def test_the_adapter_and_the_clients_know_no_game() -> None:
    folders = [
        ADAPTER,
        *(ROOT / "clients" / name for name in ("python/worldbus_client", "cpp/include", "cpp/src", "typescript/src", "unreal")),
    ]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in {".py", ".hpp", ".cpp", ".h", ".ts"}]
    files = [file for file in files if "gen" not in file.relative_to(ROOT).parts]  # of every schema that there is

    assert len(files) > 40
    found = {file.relative_to(ROOT).as_posix() for file in files if OF_THE_SAMPLE.search(file.read_text(encoding="utf-8"))}
    assert found == {"clients/evennia/worldbus_evennia/duskmarket.py"}


@pytest.mark.parametrize("name", ["PLACES", "PEOPLE"])
def test_the_samples_stage_names_tokens(name: str) -> None:
    text = (ADAPTER / "duskmarket.py").read_text(encoding="utf-8")
    table = text[text.index(f"{name} = {{") :].partition("\n}\n")[0]
    tokens = re.findall(r'"([a-z-]+)"', table)

    assert len(tokens) > 4
    assert [check_token(token, "name") for token in tokens] == tokens
