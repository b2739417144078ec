"""The wheel outside the checkout: what is in it, a game made from it in two commands, and a second game that nothing of ours names."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from tests.docs.test_commands import files
from tests.outside import ROOT, Outside, copied

pytestmark = [
    pytest.mark.skipif(os.environ.get("WORLDBUS_WHEEL") != "1", reason="`make test-wheel` runs it, in an environment of its own"),
    pytest.mark.timeout(1800),
]
PACKAGES = ("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds")
MOST_FILES = 4  # that adding an event, a handler and a projection may touch

PAGE = ROOT / "docs" / "how-to" / "start-a-game.md"
BELL = {  # file of the page -> where somebody who follows it puts it
    "bell.proto": "proto/harbourtown/bell/v1/bell.proto",
    "bell.py": "harbourtown/bell.py",
    "bell.sql": "harbourtown/bell.sql",
}


@pytest.fixture(scope="module")
def harbourtown(place: Outside) -> Path:
    """A new game, tracked from its first moment."""
    place.run(place.venv / "bin" / "worldbus", "new", "harbourtown")
    return place.home / "harbourtown"


def test_the_wheel_has_every_file_of_the_packages_and_no_other(place: Outside) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    wanted = {path for path in tracked if path and (ROOT / path).exists()}

    found = {name for name in zipfile.ZipFile(place.wheel).namelist() if ".dist-info/" not in name}

    assert found == wanted
    assert {f"{package}/py.typed" for package in PACKAGES} <= found


def test_two_wheels_own_no_file_together(place: Outside) -> None:
    assert not set(zipfile.ZipFile(place.client).namelist()) & set(zipfile.ZipFile(place.wheel).namelist())


def test_every_module_of_the_wheel_can_be_imported(place: Outside) -> None:
    """What a module needs is among the packages that the wheel asks for, or is named by an extra."""
    code = """
import importlib, pkgutil, sys
failed = []
for package in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if "worldbus.template" in module.name or module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            failed.append(f"{module.name}: {error.name}")
print(*failed, sep="\\n")
"""
    found = place.run(place.venv / "bin" / "python", "-c", code, *PACKAGES).split("\n")

    missing = {line.partition(": ")[2] for line in found if line}
    assert missing <= {"grpc_tools", "hypothesis", "markitdown", "pytest", "vllm"}, found


def test_a_new_game_lives_and_is_tested_in_two_commands(place: Outside, harbourtown: Path) -> None:
    lived = place.make(harbourtown, "demo")
    tested = place.make(harbourtown, "test")

    assert "beacon:" in lived
    assert "BeaconLit" in lived
    assert re.search(r"npc=ansa .*place=\w+", lived)
    assert re.search(r"\d+ passed", tested)
    assert "failed" not in tested
    assert not place.opened.exists(), f"files of the checkout were opened: {place.opened.read_text()}"


def test_an_event_a_handler_and_a_projection_touch_few_files_of_the_game_and_none_of_ours(place: Outside, harbourtown: Path) -> None:
    place.make(harbourtown, "proto")
    _commit(harbourtown)
    before = _installed(harbourtown / ".venv")
    shown = dict(files(PAGE.read_text(encoding="utf-8")))
    for name, path in BELL.items():
        (harbourtown / path).parent.mkdir(parents=True, exist_ok=True)
        (harbourtown / path).write_text(shown[name])
    init = harbourtown / "harbourtown/__init__.py"
    text = init.read_text().replace("import beacon, beacons\n", "import beacon, beacons\nfrom harbourtown.bell import bell, bells\n")
    init.write_text(text.replace("npc, beacon)", "npc, beacon, bell)").replace("        beacons,\n", "        beacons,\n        bells,\n"))
    touched = _changed(harbourtown)

    tested = place.make(harbourtown, "test")
    worldbus = (harbourtown / ".venv/bin/worldbus").as_posix()
    place.run(worldbus, "publish", "BellRingRequested", "--entity", "great", folder=harbourtown)
    served = place.run(harbourtown / ".venv/bin/python", "-c", RING, folder=harbourtown)

    assert "failed" not in tested
    assert served.splitlines()[-1] == "great 1"
    assert len(touched) <= MOST_FILES, touched
    assert sorted(touched) == sorted([" M harbourtown/__init__.py", *(f"?? {path}" for path in BELL.values())])
    generated = [line for line in _changed(harbourtown) if line not in touched]
    assert [line for line in generated if not line[3:].startswith(("harbourtown/gen/", "proto/corpus/", "proto/released.txt"))] == []
    assert any("bell_pb2.py" in line for line in generated)
    assert _installed(harbourtown / ".venv") == before
    assert not place.opened.exists(), f"files of the checkout were opened: {place.opened.read_text()}"


RING = """
import asyncio, os
import asyncpg
from worldbus import Settings, open_world, serve, until_quiet
from harbourtown import game

async def main():
    async with open_world(Settings.read(os.environ)) as world, serve(world, handlers=game.handlers, projections=game.projections):
        await until_quiet(world)
        reader = await asyncpg.connect(world.servers.reader_dsn)
        print(*await reader.fetchrow("SELECT bell, times FROM bells"))
        await reader.close()

asyncio.run(main())
"""


def test_the_second_game_lives_and_is_tested_from_the_wheel(place: Outside) -> None:
    spaceport = copied("spaceport", place.home)

    lived = place.make(spaceport, "demo")
    tested = place.make(spaceport, "test")

    assert "ShipDocked" in lived
    assert re.search(r"\d+ passed", tested)
    assert not place.opened.exists(), f"files of the checkout were opened: {place.opened.read_text()}"


def _commit(folder: Path) -> None:
    git = ("git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "Begin")):
        subprocess.run([*git, *words], cwd=folder, check=True)


def _installed(venv: Path) -> dict[str, str]:
    """Every file of worldbus as it is installed, with what it holds."""
    (site,) = venv.glob("lib/python*/site-packages")
    found = [path for package in PACKAGES for path in (site / package).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert found
    return {path.relative_to(site).as_posix(): sha256(path.read_bytes()).hexdigest() for path in found}


def _changed(folder: Path) -> list[str]:
    """Files that differ from the commit, new ones too; what is generated is not there yet."""
    return [
        line
        for line in subprocess.run(
            ["git", "status", "--porcelain", "-uall"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.split("\n")
        if line
    ]
