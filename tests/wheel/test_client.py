"""The server's wheel and the Python client's in one environment: either goes and leaves the other whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outside import ROOT, Outside, pip

pytestmark = [
    pytest.mark.skipif(os.environ.get("WORLDBUS_WHEEL") != "1", reason="`make test-wheel` runs it, in an environment of its own"),
    pytest.mark.timeout(900),
]
GONE = """
import sys
from importlib.metadata import distribution
files = [file for file in distribution(sys.argv[1]).files if "__pycache__" not in file.parts]
assert len(files) > 20, files
print(*[file for file in files if not file.locate().exists()], sep="\\n")
"""
SERVER = """
import importlib, warnings
import worldbus.compose, worlds.duskmarket, schemas.registry
print(len(schemas.registry.all_events()) > 100)
"""
CLIENT = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
from schemas.gen_better.worldbus.player.v1 import PlayerMoved as former
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client.envelope import pack
print(former is PlayerMoved)
print(pack("main", "game", "mira", PlayerMoved(zone="quay"), id="", cause="", correlation="", time_ns=0).subject)
"""


@pytest.fixture
def both(place: Outside, tmp_path: Path) -> Path:
    """An environment with the two wheels."""
    venv = tmp_path / "both"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip(venv, "install", "--require-hashes", "-r", str(ROOT / "requirements" / "base.txt"))
    pip(venv, "install", "--constraint", str(place.constraints), str(place.wheel), str(place.client))
    return venv


def test_either_is_whole_beside_the_other_and_without_it(place: Outside, both: Path) -> None:
    python = both / "bin" / "python"
    packed = "True\nevt.main.game.mira.PlayerMoved\n"
    assert place.run(python, "-c", SERVER) == "True\n"
    assert place.run(python, "-c", CLIENT) == packed

    pip(both, "uninstall", "--yes", "worldbus-client")
    assert place.run(python, "-c", GONE, "worldbus").strip() == ""
    assert place.run(python, "-c", SERVER) == "True\n"
    assert place.run(both / "bin" / "worldbus", "--version").startswith("worldbus ")

    pip(both, "install", "--constraint", str(place.constraints), str(place.client))
    pip(both, "uninstall", "--yes", "worldbus")
    assert place.run(python, "-c", GONE, "worldbus-client").strip() == ""
    assert place.run(python, "-c", CLIENT) == packed


def test_the_client_alone_brings_little(place: Outside, tmp_path: Path) -> None:
    venv = tmp_path / "alone"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip(venv, "install", "--constraint", str(place.constraints), str(place.client))
    code = "import importlib.metadata as m; print(*{one.name for one in m.distributions()})"
    found = set(place.run(venv / "bin" / "python", "-c", code).split())

    assert {"worldbus-client", "betterproto2", "nats-py"} <= found
    assert not {"worldbus", "protobuf", "aiohttp", "numpy"} & found
    assert place.run(venv / "bin" / "python", "-c", CLIENT) == "True\nevt.main.game.mira.PlayerMoved\n"
