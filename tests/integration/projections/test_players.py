"""Players as tables: names that look alike, and sessions of clocks that are ahead."""

from __future__ import annotations

from bus.event import Draft, Event
from bus.testing import Rehearsal
from projections import Listed, Projector
from projections.players import players
from projections.query import query
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived, PlayerDeparted, PlayerJoined, PlayerSessionSummarised
from tests.duskmarket import player

NAMES = {"mira": "Mira", "fake": "\u041cira", "tam": "Tam", "away": "mira", "refused": "\u202eMira"}


async def test_names_that_look_alike_are_told_and_nobody_is_refused_for_it(database: str, reader: str) -> None:
    town = Rehearsal(player)
    for name, shown in NAMES.items():
        town.say(PlayerJoined(display_name=shown, zone="quay"), entity=name)
    await Projector(database, [players]).run(Listed(town.log))

    rows = (await query(reader, "SELECT player, other FROM look_alikes ORDER BY 1, 2")).rows
    assert rows == [(one, other) for one in ("away", "fake", "mira") for other in ("away", "fake", "mira") if one != other]
    assert (await query(reader, "SELECT count(*) FROM players")).rows == [(4,)]


async def test_a_session_of_a_clock_that_is_ahead_begins_when_it_began(database: str, reader: str) -> None:
    hour_ms, began_s = 3_600_000, 1_700_000_000
    told = (
        (PlayerArrived(session=1, display_name="Mira", clock_ahead_ms=hour_ms), began_s + 3600),
        (PlayerDeparted(session=1, cause="left"), began_s + 60),
        (PlayerSessionSummarised(session=1, duration_ms=60_000, zones_entered=1, clock_ahead_ms=hour_ms), began_s + 60),
    )
    log = []
    for position, (message, time_s) in enumerate(told, start=1):
        draft = Draft(data=message, world="duskmarket", entity="mira", subsystem="player", id=f"e{position}", time_ns=time_s * 10**9)
        log.append(Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=began_s * 10**9))
    await Projector(database, [players]).run(Listed(log))

    columns = "extract(epoch FROM started_at)::bigint, extract(epoch FROM ended_at)::bigint, duration_ms, clock_ahead_ms"
    assert (await query(reader, f"SELECT {columns} FROM sessions")).rows == [(began_s, began_s + 60, 60_000, hour_ms)]
