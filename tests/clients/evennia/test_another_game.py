"""The adapter in an Evennia whose world is not the sample: the space port's own events go out by a command and are shown when they come."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spaceport import environment

ROOT = Path(__file__).parents[3]
EVENNIA = ROOT / ".venv-evennia" / "bin"
STAGE = '''
from evennia import Command

from spaceport_client.spaceport.docking.v1 import DockRequested
from worldbus_evennia.bridge import bridge
from worldbus_evennia.shows import to_room

PLACES = {"The Docks": "docks"}
PEOPLE = {"renke": ("Renke", "docks")}
EVENTS = ("spaceport_client.spaceport.docking.v1",)
shown = []


class CmdDock(Command):
    """Ask for a berth: dock <ship> at <station>."""

    key = "dock"

    def func(self):
        ship, _, station = self.args.strip().partition(" at ")
        bridge.publish(station, DockRequested(ship=ship))


def docked(event):
    shown.append(f"{event.data.ship} lies at berth {event.data.berth} of {event.entity}")
    to_room("docks", lambda: shown[-1])


SHOWS = {("docking", "ShipDocked"): docked}
COMMANDS = (CmdDock,)
'''
PLAY = """
import json, os
import django, evennia

django.setup()
evennia._init()
from evennia.utils.create import create_object
from worldbus_client.envelope import pack
from worldbus_client.received import Event
from worldbus_evennia import bodies, names, shows
from worldbus_evennia.bridge import bridge
from worldbus_evennia.stage import stage

docks = create_object("evennia.objects.objects.DefaultRoom", key="The Docks", nohome=True)
attic = create_object("evennia.objects.objects.DefaultRoom", key="Attic", nohome=True)
mira = create_object("worldbus_evennia.typeclasses.Character", key="Mira", location=docks, home=docks)
commands = {command.key: command for command in mira.cmdset.current}
mira.execute_cmd("dock margin at meridian")
(frame,) = [said for _, said in bridge._waiting.values()]

from spaceport_client.spaceport.docking.v1 import ShipDocked
parcel = pack("main", "docking", "meridian", ShipDocked(ship="margin", berth=2), id="", cause="", correlation="", time_ns=0)
{**shows.SHOW, **stage().shows}["docking", "ShipDocked"](Event(7, "main", "docking", "meridian", "ShipDocked", parcel.payload))

import port_stage
print("FOUND", json.dumps({
    "commands": sorted(set(commands) & {"dock", "talk", "fetch", "sell"}),
    "subject": "evt.main.game.meridian.DockRequested" in frame.decode("latin-1"),
    "shown": port_stage.shown,
    "places": [names.place(docks), names.place(attic)],
    "rooms": [bodies.room_of("docks") == docks, bodies.room_of(names.place(attic)) == attic, bodies.room_of("attic-99999")],
    "away": stage().away[0],
}))
"""


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """A game of Evennia's, and beside it the dataclasses that the space port's own repository makes."""
    repository = shutil.copytree(ROOT / "examples" / "spaceport", tmp_path / "port")
    project = repository / "pyproject.toml"
    project.write_text(project.read_text().replace('gen = "spaceport/gen"', 'gen = "spaceport/gen"\ndataclasses = "spaceport_client"'))
    words = [sys.executable, "-c", "from worldbus.cli import main; main()", "proto"]
    subprocess.run(words, cwd=repository, env=environment(repository), check=True, capture_output=True)
    shutil.move(repository / "spaceport_client", tmp_path / "spaceport_client")
    (tmp_path / "port_stage.py").write_text(STAGE)
    for arguments, folder in ((["--init", "game"], tmp_path), (["migrate"], tmp_path / "game")):
        if folder != tmp_path:
            with (folder / "server/conf/settings.py").open("a") as settings:
                settings.write('\nfrom worldbus_evennia.settings import *\nWORLDBUS_STAGE = "port_stage"\n')
        subprocess.run([str(EVENNIA / "evennia"), *arguments], cwd=folder, env=_environment(tmp_path), check=True, capture_output=True)
    return tmp_path


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{EVENNIA}:/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": f"{folder}:{folder / 'game'}",
        "DJANGO_SETTINGS_MODULE": "server.conf.settings",
    }


@pytest.mark.timeout(600)
def test_a_command_of_the_stage_publishes_an_event_of_its_world_and_what_comes_is_shown(port: Path) -> None:
    done = subprocess.run(
        [str(EVENNIA / "python"), "-c", PLAY], cwd=port / "game", env=_environment(port), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    found = json.loads(line.removeprefix("FOUND "))

    assert found["commands"] == ["dock", "talk"]
    assert found["subject"]
    assert found["shown"] == ["margin lies at berth 2 of meridian"]
    assert found["places"][0] == "docks"
    assert found["places"][1].startswith("attic-")
    assert found["rooms"] == [True, True, None]
    assert found["away"] == "Not now."
