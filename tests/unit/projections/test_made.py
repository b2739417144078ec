"""The digest of a projection changes with what its rows depend on, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bus.event import Event
from projections.made import made_by
from projections.projection import Change, Projection, Table
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived, PlayerSeen

GUESTS = Table("guests", key=("world", "guest"))
SQL = "CREATE TABLE guests (world text, guest text, visits bigint, position bigint, PRIMARY KEY (world, guest));\n"


def arrived(event: Event, it: PlayerArrived) -> Change:
    return GUESTS.put(event.world, event.entity, visits=it.session)


def seen(event: Event, it: PlayerArrived) -> Change:
    """The same as `arrived`, with another figure."""
    return GUESTS.put(event.world, event.entity, visits=it.session + 1)


guests = Projection(name="guests", version=1, schema=SQL, tables=(GUESTS,), on={PlayerArrived: arrived})


def test_comment_lines_and_the_place_of_the_sql_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "guests.sql"
    file.write_text(f"-- Whoever was here.\n\n{SQL}")

    assert made_by(replace(guests, schema=file)) == made_by(guests)


@pytest.mark.parametrize(
    "other",
    [
        {"schema": SQL + "CREATE VIEW regulars AS SELECT guest FROM guests;"},
        {"schema": SQL + "COMMENT ON TABLE guests IS 'Whoever was here.';"},
        {"on": {PlayerArrived: seen}},
        {"on": {PlayerArrived: arrived, PlayerSeen: arrived}},
        {"tables": (Table("guests", key=("world", "guest"), keeps=("visits",)),)},
        {"version": 2},
        {"said_by": "player"},
    ],
    ids=["view", "comment", "function", "type", "table", "version", "said by"],
)
def test_whatever_the_rows_depend_on_changes_it(other: dict[str, object]) -> None:
    assert made_by(replace(guests, **other)) != made_by(guests)  # type: ignore[arg-type]
