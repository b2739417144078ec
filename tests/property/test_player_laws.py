"""Laws of presence, whatever game servers say in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
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
from schemas.gen.worldbus.time.v1.time_pb2 import ClockPauseRequested, ClockResumeRequested, ClockStartRequested, RealTimePassed
from tests.duskmarket import player, time

zones = st.sampled_from(["quay", "moor", "market", "", "bad zone"])
places = st.floats()
reports = st.one_of(
    st.builds(lambda zone, x: PlayerJoined(display_name="Mira", zone=zone, x=x), zones, places),
    st.builds(lambda zone, x: PlayerMoved(zone=zone, x=x), zones, places),
    st.just(PlayerMoved(zone="quay")),
    st.just(PlayerJoined(display_name="Mira", zone="quay")),
    st.just(PlayerHeartbeat()),
    st.just(PlayerLeft()),
)
times = st.builds(lambda ms: RealTimePassed(real_ms=ms), st.integers(1, 40_000))
pauses = st.sampled_from([ClockPauseRequested(), ClockResumeRequested()])
moments = st.integers(0, 10**18)
asked = st.lists(st.tuples(st.sampled_from(["mira", "tam"]), reports | times | pauses, moments), max_size=60)


def live(said: list[tuple[str, Any, int]]) -> Rehearsal:
    town = Rehearsal(time, player)
    town.say(ClockStartRequested(), entity="clock")
    for entity, report, time_ns in said:
        clock = report.DESCRIPTOR.file.package == "worldbus.time.v1"
        town.say(report, entity="clock" if clock else entity, time_ns=time_ns)
    return town


@given(asked)
@settings(deadline=None)
def test_arrivals_and_departures_alternate_and_a_player_is_in_one_zone_while_online(said: list[tuple[str, Any, int]]) -> None:
    town = live(said)
    for entity in ("mira", "tam"):
        session, online, zone, entered = 0, False, "", 0
        for event in town.log:
            if event.subsystem != "player" or event.entity != entity:
                continue
            match event.data:
                case PlayerArrived() as it:
                    assert not online
                    assert it.session == session + 1, "sessions without gaps"
                    online, session, entered = True, it.session, 0
                case PlayerEnteredZone() as it:
                    assert online
                    assert zone == ""
                    assert it.session == session
                    zone, entered = it.zone, entered + 1
                case PlayerLeftZone() as it:
                    assert it.zone == zone != it.next
                    zone = ""
                case PlayerDeparted() as it:
                    assert online
                    assert zone == ""
                    assert it.session == session
                    online = False
                case PlayerSessionSummarised() as it:
                    assert not online
                    assert (it.session, it.zones_entered) == (session, entered)
                    assert it.duration_ms >= 0
                case PlayerSeen():
                    assert online
                case PlayerReportRefused() as it:
                    assert online or it.code != "NOT_ONLINE" or it.report != "PlayerJoined"
        assert (town.state(player, entity).online, town.state(player, entity).zone) == (online, zone)
        assert online == (zone != "")


@given(asked)
@settings(deadline=None)
def test_who_gives_signs_of_life_stays_and_who_is_silent_goes(said: list[tuple[str, Any, int]]) -> None:
    town = live(said)
    timeouts = len(_timed_out(town, "mira"))
    online = town.state(player, "mira").online
    for _ in range(10):
        town.say(PlayerHeartbeat(), entity="mira")
        town.say(RealTimePassed(real_ms=50_000), entity="clock")
    assert len(_timed_out(town, "mira")) == timeouts
    assert town.state(player, "mira").online == online

    for _ in range(5):
        town.say(RealTimePassed(real_ms=50_000), entity="clock")
    assert not town.state(player, "mira").online
    assert len(_timed_out(town, "mira")) == timeouts + online


def _timed_out(town: Rehearsal, entity: str) -> list[PlayerDeparted]:
    return [it for it in town.said(PlayerDeparted, entity=entity) if it.cause == "timed_out"]


@given(asked)
@settings(deadline=None)
def test_the_state_is_the_fold_of_what_was_said(said: list[tuple[str, Any, int]]) -> None:
    town = live(said)

    assert town.refold() == {key: town.state(town.handlers[key[0]], key[1]) for key in town.refold()}


@given(st.integers(1, 200))
@settings(deadline=None)
def test_heartbeats_do_not_fill_the_log(beats: int) -> None:
    town = live([("mira", PlayerJoined(display_name="Mira", zone="quay"), 0)])
    before = len(town.log)
    for _ in range(beats):
        town.say(PlayerHeartbeat(), entity="mira")

    assert len(town.log) - before == beats + 1  # what the edge said, and one PlayerSeen
