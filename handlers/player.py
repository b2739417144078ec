"""Presence of players as a handler, `player`: who is online, and in which zone.

    PlayerJoined ──▶ PlayerArrived, PlayerEnteredZone        PlayerLeft ──▶ PlayerLeftZone, PlayerDeparted, PlayerSessionSummarised
    PlayerMoved  ──▶ PlayerLeftZone, PlayerEnteredZone       silence    ──▶ the same, cause `timed_out`

Silence is measured in real time by the world's clock, also while the world is paused. To keep heartbeats out of the log, the handler
does not record when a player was last heard: every `PERIOD_MS` it asks whether there was any sign of life since it last asked, and only the
first one of a period is recorded (`PlayerSeen`). A silent player therefore departs after one to two periods.

A session lasts from one event's `time` to another's, as their publishers' clocks say. An event whose `time` is later than the moment at
which the log took it comes of a clock that is ahead: beyond `SKEW_MS` the log's time counts instead, and the session says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.display_name import BadName, shown
from handlers.names import NAME_RULE, is_token
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.player.v1.player_pb2 import (
    PlayerArrived,
    PlayerDeparted,
    PlayerEnteredZone,
    PlayerHeartbeat,
    PlayerJoined,
    PlayerLeft,
    PlayerLeftZone,
    PlayerMoved,
    PlayerReportRefused,
    PlayerSeen,
    PlayerSessionSummarised,
)
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content

PERIOD_MS: Final = 60_000  # real milliseconds between two looks at a player
SKEW_MS: Final = 2_000  # that a publisher's clock may be ahead of the log's
MAX_PLATFORM: Final = 32
MAX_GAME_SERVER: Final = 64
MAX_REASON: Final = 256
_MS: Final = 1_000_000  # nanoseconds

Said = Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """One player. `zone` is empty exactly while offline; `session` is the last one's number, 0 before the first."""

    session: int = 0
    zone: str = ""
    seen: bool = False  # a sign of life since the last look
    arrived_ns: int = 0  # when the session began: the time of the event that began it, unless its clock was ahead
    ahead_ms: int = 0  # how far that clock was ahead, if it was by more than `SKEW_MS`
    zones_entered: int = 0  # in this session

    @property
    def online(self) -> bool:
        """True if a session is open."""
        return self.zone != ""


def decide(event: Event, player: Player) -> Said:
    """The events that a game server's report, or the clock's, leads to."""
    match event.data:
        case PlayerHeartbeat():
            return _alive(event, player)
        case PlayerMoved() as it:
            return _moved(event, it, player)
        case WakeFired() as it:
            return _looked(event, it, player)
        case PlayerJoined() as it:
            return _joined(event, it, player)
        case PlayerLeft() as it:
            return _left(event, it, player)
        case _:
            return ()


def _refused(event: Event, code: str, reason: str) -> Said:
    return (PlayerReportRefused(report=event.name, report_event_id=event.id, code=code, reason=reason),)


def _not_online(event: Event) -> Said:
    return _refused(event, "NOT_ONLINE", f"player {event.entity} is not online: say PlayerJoined first")


def _alive(event: Event, player: Player) -> Said:
    if not player.online:
        return _not_online(event)
    return () if player.seen else (PlayerSeen(session=player.session),)


def _moved(event: Event, it: PlayerMoved, player: Player) -> Said:
    if not player.online:
        return _not_online(event)
    if refusal := _bad_place(event, it):
        return refusal
    if it.zone == player.zone:
        return _alive(event, player)
    sign = () if player.seen else (PlayerSeen(session=player.session),)
    return (*sign, PlayerLeftZone(zone=player.zone, next=it.zone, session=player.session), _entered(it, player.session, player.zone))


def _looked(event: Event, it: WakeFired, player: Player) -> Said:
    if not player.online or it.name != _look(player.session):
        return ()  # of a session that is over
    if player.seen:
        return (_next_look(player.session),)
    return _departed(event, player, "timed_out", f"no sign of life for {PERIOD_MS // 1000} seconds or more")


def _joined(event: Event, it: PlayerJoined, player: Player) -> Said:
    if refusal := _too_long(event, it) or _bad_place(event, it):
        return refusal
    try:
        name = shown(it.display_name)
    except BadName as error:
        return _refused(event, error.code, str(error))
    before = _departed(event, player, "replaced", f"joined again from {it.game_server}") if player.online else ()
    session = player.session + 1
    arrived = PlayerArrived(
        session=session, display_name=name, platform=it.platform, game_server=it.game_server, clock_ahead_ms=_ahead_ms(event)
    )
    return (*before, arrived, _entered(it, session, ""), _next_look(session))


def _left(event: Event, it: PlayerLeft, player: Player) -> Said:
    if not player.online:
        return _not_online(event)
    if len(it.reason) > MAX_REASON:
        return _refused(event, "TOO_LONG", f"reason may have {MAX_REASON} characters, found {len(it.reason)}")
    return _departed(event, player, "left", it.reason)


def _ahead_ms(event: Event) -> int:
    """The lead of an event's publisher's clock over the log's, in milliseconds; 0 where it is as good as right."""
    ahead_ms = (event.time_ns - event.recorded_ns) // _MS
    return ahead_ms if event.recorded_ns and ahead_ms > SKEW_MS else 0


def _departed(event: Event, player: Player, cause: str, reason: str) -> Said:
    ahead_ms = _ahead_ms(event)
    return (
        PlayerLeftZone(zone=player.zone, session=player.session),
        PlayerDeparted(session=player.session, cause=cause, reason=reason),
        PlayerSessionSummarised(
            session=player.session,
            duration_ms=max(0, event.time_ns - ahead_ms * _MS - player.arrived_ns) // _MS,
            zones_entered=player.zones_entered,
            last_zone=player.zone,
            clock_ahead_ms=max(ahead_ms, player.ahead_ms),
        ),
    )


def _entered(it: PlayerJoined | PlayerMoved, session: int, previous: str) -> PlayerEnteredZone:
    return PlayerEnteredZone(zone=it.zone, previous=previous, x=it.x, y=it.y, z=it.z, session=session)


def _look(session: int) -> str:
    """Name of the wake; each session has its own, so that one still under way cannot end the next session."""
    return f"presence-{session}"


def _next_look(session: int) -> WakeRequested:
    return WakeRequested(name=_look(session), in_real_ms=PERIOD_MS)


def _too_long(event: Event, it: PlayerJoined) -> Said:
    for field, text, limit in (("platform", it.platform, MAX_PLATFORM), ("game_server", it.game_server, MAX_GAME_SERVER)):
        if len(text) > limit:
            return _refused(event, "TOO_LONG", f"{field} may have {limit} characters, found {len(text)}")
    return ()


def _bad_place(event: Event, it: PlayerJoined | PlayerMoved) -> Said:
    if not is_token(it.zone):
        return _refused(event, "BAD_ZONE", f"zone must be {NAME_RULE}, found {ascii(it.zone)[:80]}")
    if not (isfinite(it.x) and isfinite(it.y) and isfinite(it.z)):
        return _refused(event, "BAD_PLACE", f"x, y and z must be finite metres, found {it.x}, {it.y}, {it.z}")
    return ()


def evolve(player: Player, event: Event) -> Player:
    """The player after the handler said `event`."""
    match event.data:
        case PlayerSeen():
            return replace(player, seen=True)
        case WakeRequested():
            return replace(player, seen=False)
        case PlayerEnteredZone() as it:
            return replace(player, zone=it.zone, zones_entered=player.zones_entered + 1)
        case PlayerArrived() as it:
            return Player(session=it.session, arrived_ns=event.time_ns - it.clock_ahead_ms * _MS, ahead_ms=it.clock_ahead_ms)
        case PlayerDeparted():
            return replace(player, zone="")
        case _:
            return player


def entities(event: Event) -> Sequence[str]:
    """A wake concerns the player it names, if this handler asked the clock for it; everything else the player it is said about."""
    if event.kind != "WakeFired":
        return (event.entity,)
    woken = event.data
    assert isinstance(woken, WakeFired)
    return (woken.entity,) if woken.subsystem == "player" and event.subsystem == "time" else ()


player: Final[ByWorld[Content]] = ByWorld(
    name="player",
    listens_to=(PlayerHeartbeat, PlayerMoved, PlayerJoined, PlayerLeft, WakeFired),
    emits=(
        PlayerSeen,
        PlayerLeftZone,
        PlayerEnteredZone,
        PlayerArrived,
        PlayerDeparted,
        PlayerSessionSummarised,
        PlayerReportRefused,
        WakeRequested,
        *ANSWERS,
    ),
    make=lambda content: players(content.bounds),
)


def players(bounds: Bounds = UNBOUNDED) -> Handler[Player]:
    """The handler; reports are believed within `bounds`."""
    handler = player.with_rules(
        initial=lambda entity: Player(),
        decide=decide,
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
