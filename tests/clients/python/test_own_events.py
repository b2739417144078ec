"""A game's own events in the client without asyncio: dataclasses of `worldbus proto`, packed, read by the server and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from bus.event import Event as Stored
from schemas import registry
from tests import spaceport
from worldbus_client.envelope import pack
from worldbus_client.errors import BadEvent
from worldbus_client.received import Event, class_of

CLIENT = "port_client"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The sources of a game that names a folder for dataclasses, with everything generated."""
    spaceport.write(tmp_path)
    spaceport.edit(tmp_path, 'gen = "spaceport/gen"', f'gen = "spaceport/gen"\ndataclasses = "{CLIENT}"', "pyproject.toml")
    done = spaceport.call(tmp_path, "proto")
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path


@pytest.fixture
def docking(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The dataclasses, imported."""
    monkeypatch.syspath_prepend(str(repository))
    yield import_module(f"{CLIENT}.spaceport.docking.v1")
    for name in [name for name in sys.modules if name.partition(".")[0] in (CLIENT, "spaceport")]:
        del sys.modules[name]


def test_an_event_of_a_game_goes_out_and_comes_back(docking: ModuleType) -> None:
    time = import_module("worldbus_client.gen.worldbus.time.v1")
    assigned = docking.BerthAssigned(
        berth=docking.Berth(number=3), expected_at=datetime(2030, 1, 2, tzinfo=UTC), expected=time.WorldTime(year=4, day=7)
    )
    parcel = pack("main", "docking", "ring", assigned, id="", cause="", correlation="", time_ns=0)

    assert parcel.subject == "evt.main.docking.ring.BerthAssigned"
    event = Event(1, "main", "docking", "ring", "BerthAssigned", parcel.payload)
    assert event.data == assigned
    assert class_of("spaceport.docking.v1.BerthAssigned") is docking.BerthAssigned
    with spaceport.known_here():
        registry.add("spaceport.gen")
        stored = Stored.stored(parcel.payload, "evt.3.main.docking.ring.BerthAssigned", 1, 10**18)
        assert (stored.data.berth.number, stored.data.expected.day) == (3, 7)  # type: ignore[attr-defined]


def test_what_is_generated_is_in_step_and_alone(repository: Path) -> None:
    files = sorted(path.relative_to(repository / CLIENT).as_posix() for path in (repository / CLIENT).rglob("*.py"))
    assert files == ["__init__.py", "spaceport/__init__.py", "spaceport/docking/__init__.py", "spaceport/docking/v1/__init__.py"]
    assert spaceport.call(repository, "proto", "--check").returncode == 0

    (repository / CLIENT / "mine.py").write_text("mine = 1\n")
    refused = spaceport.call(repository, "proto")
    assert refused.returncode == 2
    assert "wanted generated code alone" in refused.stderr
    assert (repository / CLIENT / "mine.py").read_text() == "mine = 1\n"


def test_an_event_whose_dataclass_is_not_there_says_what_to_import() -> None:
    with pytest.raises(BadEvent, match=r"elsewhere\.v1\.ShipSank is not known here: it is a game's own; import that game's dataclasses"):
        class_of("elsewhere.v1.ShipSank")
    with pytest.raises(BadEvent, match="it is of a newer release; update the client"):
        class_of("worldbus.player.v1.PlayerDreamt")
