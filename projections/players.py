"""Players as tables: who is online and where, and every session."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from projections.skeletons import skeleton
from schemas.gen.worldbus.player.v1 import player_pb2 as said

PLAYERS = Table("players", key=("world", "player"), adds=("sessions", "zones_entered", "played_ms"), keeps=("first_seen",))
MS = 1_000_000  # nanoseconds
SESSIONS = Table("sessions", key=("world", "player", "session"))


def arrived(event: Event, it: said.PlayerArrived) -> list[Change]:
    player = (event.world, event.entity)
    both = {"platform": it.platform, "game_server": it.game_server}
    at_ns = event.time_ns - it.clock_ahead_ms * MS
    seen = {"first_seen": at_ns, "last_seen": at_ns, "looks_like": skeleton(it.display_name)}
    return [
        PLAYERS.put(*player, online=True, session=it.session, display_name=it.display_name, sessions=1, **seen, **both),
        SESSIONS.put(*player, it.session, started_at=at_ns, clock_ahead_ms=it.clock_ahead_ms, **both),
    ]


def seen(event: Event, it: said.PlayerSeen) -> Change:
    return PLAYERS.put(event.world, event.entity, last_seen=event.time_ns)


def entered_zone(event: Event, it: said.PlayerEnteredZone) -> Change:
    return PLAYERS.put(event.world, event.entity, zone=it.zone, x=it.x, y=it.y, z=it.z, zones_entered=1, last_seen=event.time_ns)


def departed(event: Event, it: said.PlayerDeparted) -> list[Change]:
    player = (event.world, event.entity)
    return [
        PLAYERS.put(*player, online=False, last_seen=event.time_ns),
        SESSIONS.put(*player, it.session, ended_at=event.time_ns, cause=it.cause, reason=it.reason),
    ]


def summarised(event: Event, it: said.PlayerSessionSummarised) -> list[Change]:
    player = (event.world, event.entity)
    return [
        PLAYERS.put(*player, played_ms=it.duration_ms),
        SESSIONS.put(
            *(*player, it.session),
            duration_ms=it.duration_ms,
            zones_entered=it.zones_entered,
            last_zone=it.last_zone,
            clock_ahead_ms=it.clock_ahead_ms,
        ),
    ]


players = Projection(
    name="players",
    version=2,
    said_by="player",
    schema=sql_beside(__file__),
    tables=(PLAYERS, SESSIONS),
    on={
        said.PlayerArrived: arrived,
        said.PlayerSeen: seen,
        said.PlayerEnteredZone: entered_zone,
        said.PlayerDeparted: departed,
        said.PlayerSessionSummarised: summarised,
    },
)
