"""A game in a folder outside this tree, with event packages of its own: generated, run on real servers, and read by every verb."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests import spaceport
from tests.spaceport import COMMAND, ROOT, call, environment

DUSKMARKET = ROOT / "worlds" / "duskmarket"  # any ladder does: nothing here asks a model
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The game's folder, in which its world is up and a ship has asked for a berth."""
    folder = spaceport.write(tmp_path_factory.mktemp("sp"))
    shutil.copytree(DUSKMARKET / "grammars", folder / "spaceport" / "content" / "grammars")
    shutil.copy(DUSKMARKET / "ladder.toml", folder / "spaceport" / "content")
    made = call(folder, "proto")
    assert made.returncode == 0, made.stderr
    with (folder / "up.log").open("w") as log, subprocess.Popen([*COMMAND, "up"], cwd=folder, env=environment(folder), stderr=log) as up:
        try:
            found = eventually(lambda: call(folder, "env"))
            assert (found.returncode, up.poll()) == (0, None), (folder / "up.log").read_text()
            said = call(folder, "publish", "DockingRequested", "--entity", "heron", "--data", '{"length_m": 20}')
            assert said.returncode == 0, said.stderr
            yield folder
        finally:
            up.terminate()


def eventually(look: Callable[[], subprocess.CompletedProcess[str]], word: str = "") -> subprocess.CompletedProcess[str]:
    """What `look` finds once it exits with 0 and prints this."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if (found.returncode == 0 and word in found.stdout) or time.monotonic() > end:
            return found
        time.sleep(0.5)


def test_a_ship_gets_its_berth_and_every_verb_reads_it(repository: Path) -> None:
    tail = eventually(lambda: call(repository, "tail"), "BerthAssigned")
    assert 'docking:heron  BerthAssigned {"berth": {"number": 7}}' in tail.stdout, tail.stderr

    rows = eventually(lambda: call(repository, "sql", "SELECT world, ship, number FROM berths", "--json"), "heron")
    assert '"number": 7' in rows.stdout, rows.stderr

    replay = call(repository, "replay", "--type", "BerthAssigned", "--json")
    event = json.loads(replay.stdout)
    then = call(repository, "sql", "SELECT ship, number FROM berths", "--as-of", str(event["position"]), "--json")
    assert json.loads(then.stdout) == [{"ship": "heron", "number": 7}], then.stderr
    assert (event["type"], event["data"]) == ("spaceport.docking.v1.BerthAssigned", {"berth": {"number": 7}})

    assert call(repository, "verify").returncode == 0
    skipped = call(repository, "skipped", "list")
    assert (skipped.returncode, "spaceport" in skipped.stdout) == (0, False), skipped.stdout


def test_what_the_game_does_not_allow_is_refused(repository: Path) -> None:
    as_studio = call(repository, "publish", "DockingRequested", "--entity", "heron", "--subsystem", "studio", "--data", "{}")
    assert as_studio.returncode == 2
    assert "wanted it from client, game" in as_studio.stderr

    not_a_field = call(repository, "publish", "DockingRequested", "--entity", "heron", "--data", '{"lenght_m": 20}')
    assert not_a_field.returncode == 2
    assert "lenght_m" in not_a_field.stderr

    almost = call(repository, "publish", "DockingRequest", "--entity", "heron", "--data", "{}")
    assert "did you mean" in almost.stderr
    assert "DockingRequested" in almost.stderr


def test_documents_are_made_of_the_game(repository: Path) -> None:
    asyncapi = json.loads(call(repository, "asyncapi", "--json").stdout)
    openapi = yaml.load(call(repository, "gateway", "openapi").stdout, yaml.CSafeLoader)

    assert "docking-says-BerthAssigned" in asyncapi["operations"]
    assert "DockingRequested" in openapi["components"]["schemas"]
    assert "BerthAssigned" not in openapi["components"]["schemas"], "only its own subsystem says it"
