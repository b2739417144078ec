"""Laws of `verify`: it finds nothing where nothing changed, whatever happened to the run, and everything where something did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.event import Draft, Event
from bus.handler import Handler
from bus.rules import producer
from bus.verify import Report, Verifier, verify
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested
from tests.laws import examples
from tests.property.test_runtime_laws import Counted, _decide, _disturbed_run, _first_waiting, _publish, _wish, inputs, teller
from tests.simulator import PARTITIONS, WORLD, World

Wishes = list[tuple[str, list[str], str]]
QUICK = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
RUNS = {"wishes": inputs, "seed": st.integers(0, 2**32), "trouble": st.sampled_from([0.0, 0.25])}


async def _lived(wishes: Wishes, seed: int, trouble: float, *, drops: bool = False) -> World:
    """A run with all its misfortunes, at rest; with `drops` whatever was parked has been given up, so that the lanes went on."""
    world = World(teller, seed, trouble)
    await _disturbed_run(world, wishes)
    await world.settle()
    for attempt in range(len(wishes) if drops else 0):
        for entity, position in _first_waiting(world).items():
            wish = LaneDropRequested(handler="teller", position=position, reason="test")
            world.log.publish(Draft(data=wish, world=WORLD, entity=entity, subsystem="operator", id=f"drop-{attempt}-{entity}"))
        await world.settle()
    return world


def _all_settled(handler: str, partition: int) -> int:
    return 1 << 60


def _parked_or_behind(world: World) -> set[tuple[int, str]]:
    """Inputs that were put aside, by lane."""
    return {
        (event.lane.position, event.entity)
        for event in world.log.events
        if event.lane is not None and event.name in ("EventParked", "EventDeferred")
    }


def _decisions(world: World) -> list[tuple[Event, str, str]]:
    """Every (input, lane, kind of wish) that was published."""
    return [(event, lane, _wish(event)[0]) for event in world.log.events if event.name == "PlayerMoved" for lane in _wish(event)[1]]


@QUICK
@given(**RUNS, drops=st.booleans())
def test_the_same_rules_decide_the_same_whatever_happened(wishes: Wishes, seed: int, trouble: float, drops: bool) -> None:
    world = asyncio.run(_lived(wishes, seed, trouble, drops=drops))

    report = verify([teller], world.log.events, partitions=PARTITIONS, settled=_all_settled)

    assert report.differences == ()
    assert (report.identical, report.open, report.percent) == (report.decisions, 0, 100.0)
    retried = sum(event.name in ("LaneInputRetried", "LaneRetryFailed") for event in world.log.events)
    assert report.decisions == len(_decisions(world)) + retried


@QUICK
@given(**RUNS)
def test_a_changed_answer_is_found_in_every_decision_that_gives_it(wishes: Wishes, seed: int, trouble: float) -> None:
    def changed(event: Event, state: Counted) -> Sequence[Message]:
        return [*_decide(event, state), PlayerEnteredZone(zone="more")] if _wish(event)[0] == "2" else _decide(event, state)

    world = asyncio.run(_lived(wishes, seed, trouble))
    aside = _parked_or_behind(world)
    wanted = {(event.position, lane) for event, lane, kind in _decisions(world) if kind == "2" and (event.position, lane) not in aside}

    report = verify([replace(teller, decide=changed)], world.log.events, partitions=PARTITIONS, settled=_all_settled)

    assert {(one.input, one.entity) for one in report.differences} == wanted
    assert report.different == len(wanted)
    assert all(len(one.recorded) == 2 and one.today[2][1] == {"zone": "more"} for one in report.differences)


@QUICK
@given(**RUNS)
def test_an_answer_in_other_words_is_found(wishes: Wishes, seed: int, trouble: float) -> None:
    def changed(event: Event, state: Counted) -> Sequence[Message]:
        *before, last = _decide(event, state) or (None,)
        return [] if last is None else [*before, PlayerEnteredZone(zone=f"{last.zone}!")]  # type: ignore[attr-defined]

    world = asyncio.run(_lived(wishes, seed, trouble))
    aside = _parked_or_behind(world)
    wanted = {(event.position, lane) for event, lane, kind in _decisions(world) if kind in "123" and (event.position, lane) not in aside}

    report = verify([replace(teller, decide=changed)], world.log.events, partitions=PARTITIONS, settled=_all_settled)

    assert {(one.input, one.entity) for one in report.differences} == wanted
    assert all(len(one.recorded) == len(one.today) for one in report.differences)


@QUICK
@given(**RUNS)
def test_an_answer_where_there_was_silence_is_found(wishes: Wishes, seed: int, trouble: float) -> None:
    def changed(event: Event, state: Counted) -> Sequence[Message]:
        return [PlayerEnteredZone(zone="new")] if _wish(event)[0] == "0" else _decide(event, state)

    world = asyncio.run(_lived(wishes, seed, trouble))
    aside = _parked_or_behind(world)
    wanted = {(event.position, lane) for event, lane, kind in _decisions(world) if kind == "0" and (event.position, lane) not in aside}

    report = verify([replace(teller, decide=changed)], world.log.events, partitions=PARTITIONS, settled=_all_settled)

    assert {(one.input, one.entity) for one in report.differences} == wanted
    assert all(one.recorded == () and one.today == (("PlayerEnteredZone", {"zone": "new"}),) for one in report.differences)


@QUICK
@given(**RUNS)
def test_silence_where_there_was_an_answer_is_found(wishes: Wishes, seed: int, trouble: float) -> None:
    def changed(event: Event, state: Counted) -> Sequence[Message]:
        return () if _wish(event)[0] == "1" else _decide(event, state)

    world = asyncio.run(_lived(wishes, seed, trouble))
    aside = _parked_or_behind(world)
    wanted = {(event.position, lane) for event, lane, kind in _decisions(world) if kind == "1" and (event.position, lane) not in aside}

    report = verify([replace(teller, decide=changed)], world.log.events, partitions=PARTITIONS, settled=_all_settled)

    assert {(one.input, one.entity) for one in report.differences} == wanted
    assert all(one.today == () for one in report.differences)


@QUICK
@given(**RUNS, kept=st.integers(1, 3))
def test_inputs_that_are_not_kept_are_asked_for_and_the_report_is_the_same(wishes: Wishes, seed: int, trouble: float, kept: int) -> None:
    world = asyncio.run(_lived(wishes, seed, trouble, drops=True))
    frugal = Verifier([teller], partitions=PARTITIONS, kept=kept)
    for event in world.log.events:
        for position in frugal.missing(event):
            frugal.recall(world.log.events[position - 1])
        frugal.take(event)
        while stalled := frugal.stalled():
            for position in stalled:
                frugal.recall(world.log.events[position - 1])
            frugal.resume()

    assert frugal.finish(_all_settled) == verify([teller], world.log.events, partitions=PARTITIONS, settled=_all_settled)


def _window(world: World, handler: Handler[Counted], since: int) -> Report:
    """The report of what lies behind a position, with lanes folded as whoever reads the log would."""
    verifier = Verifier([handler], partitions=PARTITIONS, since=since)
    for event in world.log.events[since:]:
        for lane in verifier.unfolded(event):
            own = (lane.world, handler.name, lane.entity)
            lane.extend(one for one in world.log.events[:since] if (one.world, one.subsystem, one.entity) == own)
        for position in verifier.missing(event):
            verifier.recall(world.log.events[position - 1])
        verifier.take(event)
    return verifier.finish(_all_settled)


@QUICK
@given(**RUNS, drops=st.booleans(), share=st.floats(0, 1))
def test_a_window_of_the_log_has_the_differences_that_the_whole_log_has_there(
    wishes: Wishes, seed: int, trouble: float, drops: bool, share: float
) -> None:
    def changed(event: Event, state: Counted) -> Sequence[Message]:
        kind = _wish(event)[0]
        return () if kind == "1" else [PlayerEnteredZone(zone=f"{state}")] if kind in "02" else _decide(event, state)

    world = asyncio.run(_lived(wishes, seed, trouble, drops=drops))
    since = int(share * len(world.log.events))
    same, other = (_window(world, handler, since) for handler in (teller, replace(teller, decide=changed)))

    whole = verify([replace(teller, decide=changed)], world.log.events, partitions=PARTITIONS, settled=_all_settled)
    retried = sum(
        event.name in ("LaneInputRetried", "LaneRetryFailed") and event.lane is not None and event.lane.position > since
        for event in world.log.events[since:]
    )
    assert (same.differences, same.open) == ((), 0)
    assert same.decisions == sum(event.position > since for event, _, _ in _decisions(world)) + retried
    assert [one for one in whole.differences if one.input > since] == list(other.differences)


def _small(*wishes: tuple[str, list[str], str]) -> World:
    return asyncio.run(_lived(list(wishes), 1, 0.0))


def _report(world: World, decide: object) -> Report:
    return verify([replace(teller, decide=decide)], world.log.events, partitions=PARTITIONS, settled=_all_settled)  # type: ignore[arg-type]


@QUICK
@given(**RUNS)
def test_a_difference_is_told_with_the_first_input_its_time_and_the_releases(wishes: Wishes, seed: int, trouble: float) -> None:
    def changed(event: Event, state: Counted) -> Sequence[Message]:
        return _decide(event, state)[:1] if _wish(event)[0] in "23" else _decide(event, state)

    world = asyncio.run(_lived(wishes, seed, trouble))
    today = replace(teller, decide=changed)

    report = verify([today], world.log.events, partitions=PARTITIONS, settled=_all_settled)

    assert set(report.since) == ({"teller"} if report.differences else set())
    assert {one.by for one in report.differences} <= {producer(teller)}
    if report.differences:
        first = report.since["teller"]
        assert (first.input, first.by, first.today) == (min(one.input for one in report.differences), producer(teller), producer(today))
        assert first.by != first.today


def test_silence_that_would_be_broken_today_is_dated_by_its_input() -> None:
    world = _small(("0", ["a"], "a"), ("1", ["a"], "a"))

    first = _report(world, lambda event, state: [PlayerEnteredZone(zone="new")]).since["teller"]

    assert (first.input, first.by) == (1, "")


def test_an_input_that_was_parked_and_would_pass_today_is_told_and_no_difference() -> None:
    world = _small(("1", ["a"], "a"), ("!", ["a"], "a"), ("1", ["a"], "a"))

    report = _report(world, lambda event, state: [] if _wish(event)[0] == "!" else _decide(event, state))

    assert (report.decisions, report.identical, report.would_pass) == (3, 3, 1)


def test_an_input_that_would_be_parked_today_is_a_difference_with_the_error() -> None:
    world = _small(("1", ["a"], "a"), ("2", ["a"], "a"))

    def changed(event: Event, state: Counted) -> Sequence[Message]:
        if _wish(event)[0] == "2":
            raise ValueError("no twos any more")
        return _decide(event, state)

    (difference,) = _report(world, changed).differences
    assert (difference.type, difference.error) == ("PlayerMoved", "ValueError: no twos any more")


def test_a_retried_input_is_verified_as_it_was_decided_again() -> None:
    async def run() -> World:
        world = await _lived([("1", ["a"], "a"), ("!", ["a"], "a"), ("2", ["a"], "a")], 1, 0.0)
        world.handler = replace(teller, decide=_healed)
        world.log.publish(Draft(data=LaneRetryRequested(handler="teller"), world=WORLD, entity="a", subsystem="operator", id="retry"))
        await world.settle()
        return world

    world = asyncio.run(run())

    report = _report(world, _healed)
    assert [event.name for event in world.log.events].count("LaneInputRetried") == 2
    assert (report.different, report.percent, report.would_pass) == (0, 100.0, 1)
    assert _report(world, lambda event, state: []).different > 0


def _healed(event: Event, state: Counted) -> Sequence[Message]:
    return [] if _wish(event)[0] == "!" else _decide(event, state)


def test_inputs_that_the_handler_has_not_come_to_are_open_and_no_difference() -> None:
    world = _small(("1", ["a"], "a"))
    for number in (7, 8):
        _publish(world, number, ("1", ["a"], "a"))

    assert _settled_up_to(world, 1).open == 2
    late = _settled_up_to(world, len(world.log.events) - 1)
    assert (late.open, late.different) == (1, 1)


def _settled_up_to(world: World, position: int) -> Report:
    return verify([teller], world.log.events, partitions=PARTITIONS, settled=lambda handler, partition: position)


def test_a_new_version_that_decides_alike_is_identical() -> None:
    world = _small(("1", ["a"], "a"), ("3", ["a", "b"], "b"))

    report = verify([replace(teller, version=2)], world.log.events, partitions=PARTITIONS)

    assert report.percent == 100.0


def test_an_answer_to_an_input_that_is_not_in_the_log_is_a_difference() -> None:
    world = _small(("1", ["a"], "a"))
    answer = world.log.events[1]

    report = verify([teller], [answer], partitions=PARTITIONS)

    (difference,) = report.differences
    assert (difference.input, difference.error) == (1, "its input is not in the log")


def test_a_hundred_percent_is_never_rounded_up() -> None:
    world = _small(*[("1", ["a"], "a")] * 24)
    events = list(world.log.events)

    report = verify([replace(teller, decide=lambda event, state: _decide(event, state) if event.id != "in-3" else [])], events,
                    partitions=PARTITIONS)  # fmt: skip

    assert report.percent < 100
    assert isinstance(events[0].data, PlayerMoved)
