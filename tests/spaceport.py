"""The repository of a game outside this tree, with packages that are not named `worldbus.*`, written into a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas import registry

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from worldbus.cli import main; main()"]
DOCKING = "proto/spaceport/docking/v1/docking.proto"
FILES = {
    "pyproject.toml": """
[tool.worldbus]
game = "spaceport:game"
proto = "proto"
gen = "spaceport/gen"
""",
    DOCKING: """
// Ships at the berths of a station. The entity is the ship.
syntax = "proto3";

package spaceport.docking.v1;

import "google/protobuf/timestamp.proto";
import "spaceport/docking/v1/types.proto";
import "worldbus/time/v1/types.proto";

// A ship asks for a berth.
message DockingRequested {
  // Length of the ship, metres, 1 or more.
  int32 length_m = 1;
}

// A ship has a berth.
message BerthAssigned {
  // The berth.
  Berth berth = 1;
  // When the ship is expected, by the station's clock.
  google.protobuf.Timestamp expected_at = 2;
  // When it is expected, by the world's clock.
  worldbus.time.v1.WorldTime expected = 3;
}

// A ship was sent away.
message DockingRefused {
  // For a person.
  string reason = 1;
}
""",
    "proto/spaceport/docking/v1/types.proto": """
syntax = "proto3";

package spaceport.docking.v1;

// A place where a ship lies.
message Berth {
  // Its number, 1 or more.
  int32 number = 1;
}
""",
    "spaceport/__init__.py": '''
"""The game."""

from pathlib import Path

from handlers.content import Content
from handlers.permissions import ANY, CLIENT, GAME, OWN, Right
from spaceport.berths import berths
from spaceport.docking import docking
from spaceport.gen.spaceport.docking.v1.docking_pb2 import DockingRequested
from worldbus.game import Game

game = Game(
    name="spaceport",
    handlers=(docking,),
    projections=(berths,),
    content=Content(Path(__file__).parent / "content"),
    packages=("spaceport.gen",),
    rights={DockingRequested: Right(may={GAME: ANY, CLIENT: OWN}, answers="docking")},
)
''',
    "spaceport/docking.py": '''
"""Berths for ships."""

from bus.handler import Handler
from spaceport.gen.spaceport.docking.v1.docking_pb2 import BerthAssigned, DockingRefused, DockingRequested
from spaceport.gen.spaceport.docking.v1.types_pb2 import Berth


def decide(event, docked):
    if event.data.length_m < 1:
        return [DockingRefused(reason="a ship has a length")]
    return [] if docked else [BerthAssigned(berth=Berth(number=event.data.length_m % 7 + 1))]


docking = Handler(
    name="docking",
    listens_to=(DockingRequested,),
    emits=(BerthAssigned, DockingRefused),
    initial=lambda entity: False,
    decide=decide,
    evolve=lambda docked, event: docked or isinstance(event.data, BerthAssigned),
)
''',
    "spaceport/berths.py": '''
"""The berth of each ship."""

from projections.projection import Projection, Table, sql_beside
from spaceport.gen.spaceport.docking.v1.docking_pb2 import BerthAssigned

BERTHS = Table("berths", key=("world", "ship"))
berths = Projection(
    name="berths",
    version=1,
    schema=sql_beside(__file__),
    tables=(BERTHS,),
    on={BerthAssigned: lambda event, it: BERTHS.put(event.world, event.entity, number=it.berth.number)},
    said_by="docking",
)
''',
    "spaceport/berths.sql": """
-- The berth of each ship.
CREATE TABLE berths (
    world    text,
    ship     text,
    number   integer,
    position bigint,
    PRIMARY KEY (world, ship)
);
""",
}


def write(folder: Path) -> Path:
    """Write the sources of the game; its code is not generated yet."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    return folder


def edit(folder: Path, old: str, new: str, name: str = DOCKING) -> None:
    """Change a file as somebody would by hand."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def call(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`worldbus words…` in the game's folder, to its end."""
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, env=environment(folder), text=True, capture_output=True, check=False, timeout=200, **options
    )


def environment(folder: Path) -> dict[str, str]:
    """That of somebody who has worldbus installed, and works in the game's folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORLDBUS_")}
    return {**kept, "PYTHONPATH": str(ROOT), "WORLDBUS_DATA": str(folder / ".worldbus"), "WORLDBUS_DURABILITY": "relaxed"}


@contextmanager
def known_here() -> Iterator[None]:
    """Forget at the end of the block what was added to the registry within it: other tests ask for all the events there are."""
    held = [registry._messages, registry._newest, registry._first, registry._folders]
    before, events = [dict(one) for one in held], list(registry._events)
    try:
        yield
    finally:
        for one, was in zip(held, before, strict=True):
            one.clear()
            one.update(was)
        registry._events[:] = events
        for clear in registry._caches:
            clear()
