"""The rules of presence, one by one."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from bus.event import Draft, Event
from bus.testing import Case, Rehearsal, given
from handlers.player import PERIOD_MS, Player
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
from schemas.gen.worldbus.time.v1.time_pb2 import ClockPauseRequested, ClockStartRequested, RealTimePassed, WakeFired, WakeRequested
from tests.duskmarket import player, time

SECOND = 1_000_000_000  # nanoseconds


def joined(**more: Any) -> PlayerJoined:
    return PlayerJoined(**{"display_name": "Mira", "platform": "windows", "game_server": "gs-1", "zone": "quay", "x": 1.5, **more})


def online() -> Case[Player]:
    return given(player, entity="mira").when(joined(), time_ns=10 * SECOND)


def looked(case: Case[Player], session: int = 1, time_ns: int = 0) -> Case[Player]:
    """The clock's wake for the presence of a session."""
    return case.when(
        WakeFired(subsystem="player", entity="mira", name=f"presence-{session}"), entity="clock", subsystem="time", time_ns=time_ns
    )


def refusal(case: Case[Any]) -> str:
    (said,) = case.said
    assert isinstance(said, PlayerReportRefused)
    assert said.report
    assert said.report_event_id
    assert len(said.reason) > 20
    return said.code


def test_joining_begins_a_session_in_a_zone() -> None:
    online().then(
        PlayerArrived(session=1, display_name="Mira", platform="windows", game_server="gs-1"),
        PlayerEnteredZone(zone="quay", x=1.5, session=1),
        WakeRequested(name="presence-1", in_real_ms=PERIOD_MS),
    ).then_state(zone="quay", session=1, seen=False, zones_entered=1)


def test_moving_to_another_zone_leaves_one_and_enters_one() -> None:
    case = online().when(PlayerHeartbeat()).when(PlayerMoved(zone="moor", x=1, y=2, z=3))

    case.then(
        PlayerLeftZone(zone="quay", next="moor", session=1),
        PlayerEnteredZone(zone="moor", previous="quay", x=1, y=2, z=3, session=1),
    ).then_state(zone="moor", zones_entered=2)


def test_moving_within_a_zone_is_only_a_sign_of_life() -> None:
    case = online().when(PlayerMoved(zone="quay", x=9)).then(PlayerSeen(session=1))

    case.when(PlayerMoved(zone="quay", x=10)).then_nothing()


def test_only_the_first_sign_of_life_of_a_period_is_recorded() -> None:
    case = online().when(PlayerHeartbeat()).then(PlayerSeen(session=1)).when(PlayerHeartbeat()).then_nothing()
    case = looked(case).then(WakeRequested(name="presence-1", in_real_ms=PERIOD_MS))

    case.when(PlayerHeartbeat()).then(PlayerSeen(session=1))


def test_a_move_to_another_zone_is_a_sign_of_life() -> None:
    case = online().when(PlayerMoved(zone="moor")).then_types(PlayerSeen, PlayerLeftZone, PlayerEnteredZone)

    looked(case).then_types(WakeRequested)


def test_a_silent_player_departs() -> None:
    case = looked(online(), time_ns=70 * SECOND)

    case.then(
        PlayerLeftZone(zone="quay", session=1),
        PlayerDeparted(session=1, cause="timed_out", reason="no sign of life for 60 seconds or more"),
        PlayerSessionSummarised(session=1, duration_ms=60_000, zones_entered=1, last_zone="quay"),
    ).then_state(zone="")


def test_leaving_ends_the_session_with_its_figures() -> None:
    case = online().when(PlayerMoved(zone="moor")).when(PlayerLeft(reason="quit"), time_ns=25 * SECOND)

    case.then(
        PlayerLeftZone(zone="moor", session=1),
        PlayerDeparted(session=1, cause="left", reason="quit"),
        PlayerSessionSummarised(session=1, duration_ms=15_000, zones_entered=2, last_zone="moor"),
    )


def test_a_session_never_lasted_less_than_nothing() -> None:
    """Times come from publishers, whose clocks may differ."""
    case = online().when(PlayerLeft(), time_ns=5 * SECOND)

    assert case.said[-1] == PlayerSessionSummarised(session=1, duration_ms=0, zones_entered=1, last_zone="quay")


def test_joining_again_while_online_replaces_the_session() -> None:
    case = online().when(joined(game_server="gs-2", zone="moor"))

    case.then_types(PlayerLeftZone, PlayerDeparted, PlayerSessionSummarised, PlayerArrived, PlayerEnteredZone, WakeRequested)
    assert isinstance(case.said[1], PlayerDeparted)
    assert (case.said[1].cause, case.said[1].session) == ("replaced", 1)
    case.then_state(session=2, zone="moor", zones_entered=1)


def test_a_wake_of_an_earlier_session_does_not_end_the_next() -> None:
    case = online().when(PlayerLeft()).when(joined())

    looked(case, session=1).then_nothing().then_state(zone="quay", session=2)


def test_a_wake_after_the_departure_says_nothing() -> None:
    looked(online().when(PlayerLeft())).then_nothing()


def test_sessions_are_numbered_without_gaps() -> None:
    case = given(player, entity="mira")
    for session in (1, 2, 3):
        case = case.when(joined()).then_state(session=session).when(PlayerLeft())


@pytest.mark.parametrize("report", [PlayerHeartbeat(), PlayerMoved(zone="quay"), PlayerLeft()], ids=lambda report: type(report).__name__)
def test_a_player_who_is_not_online_does_nothing(report: Any) -> None:
    assert refusal(given(player, entity="mira").when(report)) == "NOT_ONLINE"
    assert refusal(online().when(PlayerLeft()).when(report)) == "NOT_ONLINE"


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (joined(display_name=" "), "BAD_NAME"),
        (joined(display_name="x" * 65), "TOO_LONG"),
        (joined(platform="x" * 33), "TOO_LONG"),
        (joined(game_server="x" * 65), "TOO_LONG"),
        (joined(zone=""), "BAD_ZONE"),
        (joined(zone="a.b"), "BAD_ZONE"),
        (joined(y=nan), "BAD_PLACE"),
        (PlayerMoved(zone="two words"), "BAD_ZONE"),
        (PlayerMoved(zone="moor", z=inf), "BAD_PLACE"),
        (PlayerLeft(reason="x" * 257), "TOO_LONG"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(report: Any, code: str) -> None:
    case = online().when(report)

    assert refusal(case) == code
    case.then_state(zone="quay", session=1)


def test_wakes_of_other_subsystems_and_false_wakes_concern_nobody() -> None:
    ours = WakeFired(subsystem="player", entity="mira", name="presence-1")
    theirs = WakeFired(subsystem="weather", entity="mira", name="presence-1")

    online().when(theirs, entity="clock", subsystem="time").then_nothing()
    online().when(ours, entity="clock", subsystem="game").then_nothing()  # only the clock wakes


def test_with_the_clock_a_silent_player_departs_within_two_periods_also_while_the_world_is_paused() -> None:
    town = Rehearsal(time, player)
    town.say(ClockStartRequested(), entity="clock")
    town.say(joined(), entity="mira")
    town.say(ClockPauseRequested(), entity="clock")
    for second in range(0, 100, 10):  # silent after 90 seconds
        town.say(PlayerHeartbeat(), entity="mira")
        town.say(RealTimePassed(real_ms=10_000), entity="clock", time_ns=second * SECOND)
    assert town.said(PlayerDeparted) == ()
    for _ in range(8):
        town.say(RealTimePassed(real_ms=10_000), entity="clock")

    (departed,) = town.said(PlayerDeparted)
    assert departed.cause == "timed_out"


@pytest.mark.parametrize("name", ["\u200b", "M\nira", "\u202eMira"])
def test_a_name_that_cannot_be_seen_is_refused_and_ends_no_session(name: str) -> None:
    assert refusal(given(player, entity="mira").when(joined(display_name=name))) == "BAD_NAME"
    case = online().when(joined(display_name=name))
    assert refusal(case) == "BAD_NAME"
    case.then_state(session=1, zone="quay")


def test_a_name_arrives_in_the_form_in_which_it_is_kept() -> None:
    (arrived, *_) = given(player, entity="mira").when(joined(display_name="  Mira  Vane ")).said

    assert isinstance(arrived, PlayerArrived)
    assert arrived.display_name == "Mira Vane"


def reported(message: Any, state: Player, time_s: int, recorded_s: int) -> tuple[Any, ...]:
    """The answer to an event whose publisher's clock shows another time than the log's."""
    draft = Draft(data=message, world="duskmarket", entity="mira", subsystem="game", id="r", time_ns=time_s * SECOND)
    event = Event(raw=draft.encode(), subject=draft.subject, partition=0, position=9, recorded_ns=recorded_s * SECOND)
    return tuple(player.decide(event, state))


@pytest.mark.parametrize(
    ("joined_at", "left_at", "lasted_s", "ahead_s"),
    [
        ((4600, 1000), (1060, 1060), 60, 3600),  # an hour ahead, then right
        ((4600, 1000), (4660, 1060), 60, 3600),
        ((1000, 1000), (4660, 1060), 60, 3600),
        ((1001, 1000), (1061, 1060), 60, 0),  # within what clocks differ by
        ((1000, 5000), (1060, 5060), 60, 0),  # from a queue, late: the times are right
        ((253_402_300_799, 1000), (1060, 1060), 60, 253_402_299_799),  # the last second of the year 9999
    ],
)
def test_a_clock_that_is_ahead_does_not_make_a_session_longer_or_shorter(
    joined_at: tuple[int, int], left_at: tuple[int, int], lasted_s: int, ahead_s: int
) -> None:
    said = reported(joined(), Player(), *joined_at)
    state = Player()
    for message in said:
        draft = Draft(data=message, world="duskmarket", entity="mira", subsystem="player", id="o", time_ns=joined_at[0] * SECOND)
        state = player.evolve(state, Event(raw=draft.encode(), subject=draft.subject, partition=0, position=10, recorded_ns=0))
    *_, summary = reported(PlayerLeft(), state, *left_at)

    assert (summary.duration_ms, summary.clock_ahead_ms) == (lasted_s * 1000, ahead_s * 1000)
    assert said[0].clock_ahead_ms == (ahead_s * 1000 if joined_at[0] - joined_at[1] > 2 else 0)
