"""The rules of beacons, one by one."""

from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, WakeFired, WakeRequested
from worldbus.testing import Rehearsal, given

from newgame import game
from newgame.beacon import beacon
from newgame.gen.newgame.beacon.v1.beacon_pb2 import BeaconLightRequested, BeaconLit, BeaconRefused, BeaconWentDark

AN_HOUR = BeaconLightRequested(oil_minutes=60, keeper="ansa")
LIT = BeaconLit(oil_minutes=60, keeper="ansa")


def test_a_beacon_burns_as_long_as_its_oil_lasts() -> None:
    given(beacon).when(AN_HOUR).then(LIT, WakeRequested(name="dark", in_world_ms=3_600_000))


def test_a_burning_beacon_is_not_lit_again() -> None:
    given(beacon, LIT).when(AN_HOUR).then_nothing().then_state(burning=True)


def test_a_beacon_without_oil_is_refused() -> None:
    given(beacon).when(BeaconLightRequested()).then_types(BeaconRefused).then_state(burning=False)


def test_a_timer_puts_it_out() -> None:
    over = WakeFired(subsystem="beacon", entity="north", name="dark")
    given(beacon, LIT, entity="north").when(over, entity="clock", subsystem="time").then(BeaconWentDark())


def test_with_the_clock_of_this_game_it_goes_dark_by_itself() -> None:
    coast = Rehearsal(game.handler("time"), beacon)
    coast.say(ClockStartRequested(scale=60_000), entity="clock")  # a world minute for each real second
    coast.say(AN_HOUR, entity="north")
    coast.say(RealTimePassed(real_ms=59_000), entity="clock")
    assert coast.state(beacon, "north").burning

    coast.say(RealTimePassed(real_ms=1_000), entity="clock")
    assert coast.said(BeaconWentDark, entity="north") == (BeaconWentDark(),)
