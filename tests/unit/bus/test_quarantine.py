"""Whatever stops a lane stops that lane alone: its inputs are put aside in the log, the others are answered, and all are settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message

from bus.envelope import encode
from bus.errors import Transient
from bus.event import Draft, Event, LaneMark
from bus.handler import Handler
from bus.health import Health
from bus.lane import Lane
from bus.patience import Patience
from bus.verify import verify
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerLeftZone, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested
from tests.property.test_runtime_laws import Counted, _answers, _evolve, _publish, _wish, teller
from tests.simulator import PARTITIONS, WORLD, Member, World


def _world(handler: Handler[Any] = teller, *wishes: tuple[str, list[str], str]) -> World:
    world = World(handler, 1, 0.0)
    for number, wish in enumerate(wishes or [("1", [lane], lane) for _ in range(3) for lane in ("a", "b")]):
        _publish(world, number, wish)
    return world


def _settled(world: World) -> None:
    asyncio.run(world.settle())


def _said(world: World, entity: str) -> list[str]:
    return [event.name for event in _answers(world)[entity]]


def _floor(world: World) -> int:
    return max(world.floor.values())


def _control(world: World, data: Message, name: str) -> None:
    world.log.publish(Draft(data=data, world=WORLD, entity="a", subsystem="operator", id=name))


def _history(world: World, *, type_name: str = "worldbus.player.v1.PlayerFlew", lane: str = "0:1:0:1", url: str = "") -> Event:
    """An event of lane a, as another release may have written it."""
    name = type_name.rpartition(".")[2]
    raw = encode(
        id=f"from-{len(world.log.events)}", source="/worldbus/teller", type_name=type_name, world=WORLD, entity="a", time_ns=1,
        data=b"", lane=lane, producer_version="teller/9+abc",
    )  # fmt: skip
    if url:
        raw = raw.replace(f"type.googleapis.com/{type_name}".encode(), url.encode().ljust(20 + len(type_name), b"x"))
    return world.log._append(replaced_subject(name), raw)


def replaced_subject(name: str) -> Any:
    draft = Draft(data=PlayerEnteredZone(), world=WORLD, entity="a", subsystem="teller")
    return draft.subject._replace(name=name)


PARKED_BY = ["EventParked", "EventDeferred", "EventDeferred"]


def test_a_type_that_the_release_does_not_know_quarantines_its_lane() -> None:
    world = _world()
    _history(world, lane="0:0:0:1")
    _settled(world)

    assert _said(world, "a")[1:] == PARKED_BY
    assert _said(world, "b") == ["PlayerEnteredZone"] * 3
    assert _floor(world) == 6
    parked: Any = _answers(world)["a"][1].data
    assert (parked.code, parked.error_type) == ("LANE_HISTORY", "bus.errors.LaneStopped")
    for wanted in ("PlayerFlew by teller/9+abc", "position 7", "teller/1 cannot fold", "Run the release that wrote it"):
        assert wanted in parked.reason


def test_an_input_that_the_unfoldable_event_answered_is_recognised_all_the_same() -> None:
    world = _world()
    first = world.log.events[0]
    _history(world, lane=f"{first.partition}:{first.position}:0:1")
    _settled(world)

    assert _said(world, "a")[1:] == PARKED_BY[:2]


def test_an_envelope_that_breaks_a_rule_but_has_a_mark_quarantines_its_lane() -> None:
    world = _world()
    _history(world, type_name="worldbus.player.v1.PlayerEnteredZone", lane="0:0:0:1", url="type.googleapis.com/other")
    _settled(world)

    assert _said(world, "a")[1:] == PARKED_BY


@pytest.mark.parametrize("raw", [b"", b"\xff\xff", b"\x0a\x03abc", Draft(data=PlayerLeftZone(), world=WORLD, entity="a").encode()])
def test_what_no_handler_wrote_moves_the_position_of_a_lane_and_nothing_else(raw: bytes) -> None:
    world = _world()
    world.log._append(replaced_subject("PlayerLeftZone"), raw)
    _settled(world)

    assert [event.data.zone for event in _answers(world)["a"][1:]] == [f"in-{2 * n}/{n}/0" for n in range(3)]  # type: ignore[attr-defined]


def test_an_input_whose_lanes_cannot_be_read_is_parked_where_its_subject_points() -> None:
    """Written under a handler's name, so that it is never skipped: its sender is ours to mend."""
    world = _world(teller, ("1", ["b"], "a"))
    world.log._append(replaced_subject("PlayerMoved"), b"\xff\xff")
    _publish(world, 1, ("1", ["b"], "b"))
    _settled(world)

    assert _said(world, "a") == ["PlayerMoved", "EventParked"]
    assert _said(world, "b") == ["PlayerEnteredZone"] * 2
    parked: Any = _answers(world)["a"][1].data
    assert (parked.position, parked.code) == (2, "BAD_PAYLOAD")
    assert _floor(world) == 3


def test_an_input_whose_lanes_cannot_be_found_is_parked_and_decided_by_no_other_lane() -> None:
    def entities(event: Event) -> Sequence[str]:
        lanes = _wish(event)[1]
        if "x" in lanes:
            raise LookupError("nobody of that name")
        return lanes

    def differing() -> int:
        return verify([world.handler], world.log.events, partitions=PARTITIONS, settled=lambda *_: 1 << 60).different

    world = _world(replace(teller, entities=entities), ("1", ["a"], "a"), ("1", ["x"], "a"), ("1", ["a"], "a"), ("1", ["b"], "b"))
    _settled(world)

    assert _said(world, "a") == ["PlayerEnteredZone", *PARKED_BY[:2]]
    assert _said(world, "b") == ["PlayerEnteredZone"]
    parked: Any = _answers(world)["a"][1].data
    assert (parked.position, parked.code, parked.reason) == (2, "HANDLER_FAILED", "nobody of that name")
    assert parked.frames[-1].endswith("entities")
    assert (_floor(world), differing()) == (4, 0)

    _control(world, LaneRetryRequested(handler="teller"), "retry")
    _settled(world)
    assert _said(world, "a")[3:] == ["LaneRetryFailed"]
    assert _answers(world)["a"][-1].data.reason == "nobody of that name"  # type: ignore[attr-defined]

    _control(world, LaneDropRequested(handler="teller", position=2, reason="test"), "drop")
    _settled(world)
    assert _said(world, "a")[4:] == ["LaneInputDropped", "PlayerEnteredZone", "LaneInputRetried"]
    assert differing() == 0


def test_what_is_remembered_of_an_input_without_lanes_goes_with_it() -> None:
    def entities(event: Event) -> Sequence[str]:
        raise LookupError("nobody of that name")

    world = _world(replace(teller, entities=entities), *[("1", ["a"], lane) for lane in ("a", "b")] * 50)

    async def run() -> None:
        member = Member(world, range(PARTITIONS))
        for partition in range(PARTITIONS):
            member.read(partition, 1000)
        assert member.runner.caution.alarmed
        assert await member.runner.quiesce(20.0)
        assert not member.runner.caution.alarmed
        await member.die()

    asyncio.run(run())
    assert _said(world, "a") == _said(world, "b") == ["EventParked"] + ["EventDeferred"] * 49


def _failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def test_an_initial_that_raises_quarantines_its_lane() -> None:
    def initial(entity: str) -> Counted:
        if entity == "a":
            raise ValueError("nobody of that name")
        return Counted()

    world = _world(replace(teller, initial=initial))
    _settled(world)

    assert _said(world, "a") == PARKED_BY
    assert _said(world, "b") == ["PlayerEnteredZone"] * 3
    assert "nobody of that name" in _answers(world)["a"][0].data.reason  # type: ignore[attr-defined]
    assert _floor(world) == 6


class Mute(Exception):
    """Cannot be told in words."""

    def __str__(self) -> str:
        return str(self.args[1])


def test_an_error_that_cannot_be_told_in_words_is_told_by_its_class() -> None:
    def fails(*_: object) -> Any:
        raise Mute

    world = _world(replace(teller, initial=fails))
    _settled(world)
    parked: Any = _answers(world)["a"][0].data
    report = verify([replace(teller, decide=fails)], _world(teller).log.events, partitions=PARTITIONS)

    assert _said(world, "a") == PARKED_BY
    assert parked.code == "LANE_HISTORY"
    assert "found that `initial` raises Mute" in parked.reason
    assert report.open == 6


def test_an_event_that_its_handler_cannot_fold_is_not_written_and_parks_its_input_alone() -> None:
    def evolve(state: Counted, event: Event) -> Counted:
        if state.said == 1:
            raise ZeroDivisionError("two is too much")
        return _evolve(state, event)

    world = _world(replace(teller, evolve=evolve), ("1", ["a"], "a"), ("1", ["a"], "a"), ("1", ["b"], "b"))
    _settled(world)

    assert _said(world, "a") == ["PlayerEnteredZone", "EventParked"]
    parked: Any = _answers(world)["a"][1].data
    assert (parked.code, parked.attempts) == ("HANDLER_FAILED", 2)
    assert Lane(teller, WORLD, "a", PARTITIONS).fault is None


@pytest.mark.parametrize("where", ["load", "advance", "stored", "save"])
def test_an_error_of_ours_quarantines_its_lane(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = _world()

    async def run() -> None:
        member = Member(world, range(PARTITIONS))
        runner = member.runner
        runner.distrust()

        if where == "load":
            monkeypatch.setattr(runner.store, "load", _for_lane_a(runner.store.load))
            for lane in "ab":
                runner._lane(WORLD, lane).must_load = True
        elif where == "advance":
            monkeypatch.setattr(runner, "_decide", lambda lane, event, decide=runner._decide: _broken_for_a(lane, decide, lane, event))
            monkeypatch.setattr(runner.failing, "failed", _failing(KeyError("ours")))
        elif where == "stored":
            monkeypatch.setattr(runner.writer, "_fold", _broken_once_for_a(runner.writer._fold))
        else:
            runner.limits = replace(runner.limits, snapshot_every=1)
            monkeypatch.setattr(runner.store, "save", lambda lane: _broken_for_a(lane, lambda: None))
        for partition in range(PARTITIONS):
            member.read(partition, 100)
        assert await runner.quiesce(20.0)
        runner.limits = world.limits
        await member.die()

    asyncio.run(run())

    assert _said(world, "b") == ["PlayerEnteredZone"] * 3
    assert _floor(world) == 6, "an input was not settled"
    if where in ("load", "advance"):
        assert _said(world, "a") == PARKED_BY
        assert _answers(world)["a"][0].data.code == "HANDLER_FAILED"  # type: ignore[attr-defined]
    else:
        assert _said(world, "a") == ["PlayerEnteredZone"] * 3


def _broken_for_a(lane: Lane[Any], call: Callable[..., Any], *args: Any) -> Any:
    if lane.entity == "a":
        raise KeyError("ours")
    return call(*args)


def _for_lane_a(load: Callable[..., Any]) -> Callable[..., Any]:
    async def broken(lane: Lane[Any], *, at_least: int) -> None:
        await _broken_for_a(lane, lambda: load(lane, at_least=at_least))

    return broken


def _broken_once_for_a(fold: Callable[..., Any]) -> Callable[..., Any]:
    broken: list[bool] = []

    def once(run: Any, *args: Any) -> None:
        if run.lane.entity == "a" and not broken:
            broken.append(True)
            raise KeyError("ours")
        fold(run, *args)

    return once


def test_inputs_that_were_answered_before_their_lane_went_blind_are_not_decided_again() -> None:
    world = _world()
    _settled(world)
    world.floor.clear()  # everything is read once more

    async def blind() -> None:
        member = Member(world, range(PARTITIONS))
        member.runner.store.load = _for_lane_a(member.runner.store.load)  # type: ignore[method-assign]
        for partition in range(PARTITIONS):
            member.read(partition, 100)
        assert await member.runner.quiesce(20.0)
        await member.die()

    asyncio.run(blind())
    assert _said(world, "a") == ["PlayerEnteredZone"] * 3 + PARKED_BY

    _control(world, LaneRetryRequested(handler="teller"), "retry")
    _settled(world)
    assert _said(world, "a") == ["PlayerEnteredZone"] * 3 + PARKED_BY + ["LaneInputRetried"] * 3


def test_a_retry_in_quarantine_tells_why_not_and_a_drop_gives_up_the_first_input() -> None:
    world = _world()
    _history(world, lane="0:0:0:1")
    _settled(world)
    _control(world, LaneRetryRequested(handler="teller"), "retry")
    _settled(world)
    assert _said(world, "a")[4:] == ["LaneRetryFailed"]
    assert _answers(world)["a"][-1].data.code == "LANE_HISTORY"  # type: ignore[attr-defined]

    _control(world, LaneDropRequested(handler="teller", position=1, reason="test"), "drop")
    _settled(world)

    assert _said(world, "a")[5:] == ["LaneInputDropped", "LaneRetryFailed"]
    assert _answers(world)["a"][-1].data.position == 3  # type: ignore[attr-defined]


def test_a_release_that_can_fold_the_lane_takes_it_up_by_itself_and_in_order() -> None:
    healed: Handler[Counted] = replace(teller, emits=(PlayerEnteredZone, PlayerLeftZone), version=2)
    world = _world()
    mark = LaneMark(0, 0, 0, 1)
    left = Draft(data=PlayerLeftZone(zone="new"), world=WORLD, entity="a", subsystem="teller", id="left", lane=str(mark))
    world.log.publish(left)
    _settled(world)
    assert _said(world, "a")[1:] == PARKED_BY

    world.handler = healed
    _settled(world)

    assert _said(world, "a")[4:] == ["PlayerEnteredZone", "LaneInputRetried"] * 3
    assert [event.data.zone for event in _answers(world)["a"] if event.name == "PlayerEnteredZone"] == ["in-0/1/0", "in-2/2/0", "in-4/3/0"]  # type: ignore[attr-defined]


def test_a_type_that_is_retired_is_folded_still() -> None:
    world = _world()
    world.log.publish(Draft(data=PlayerLeftZone(), world=WORLD, entity="a", subsystem="teller", id="left", lane="0:0:0:1"))
    world.handler = replace(teller, retired=(PlayerLeftZone,))
    _settled(world)

    assert _said(world, "a")[1:] == ["PlayerEnteredZone"] * 3


def test_a_quarter_of_a_million_inputs_of_a_quarantined_lane_cost_little_memory() -> None:
    import tracemalloc

    lane = Lane(teller, WORLD, "a", PARTITIONS)
    tracemalloc.start()
    for position in range(1, 250_000):
        lane.waiting.add(0, position)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert held < 250_000 * 60  # bytes
    for position in range(1, 250_000):
        assert lane.waiting[0].position == position
        lane.waiting.remove(position)
    assert not lane.waiting


def test_a_log_that_cannot_be_read_is_waited_for_told_of_once_in_a_while_and_makes_the_process_unhealthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bus.patience.LONG_S", 0.05)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("bus.patience.log", type("Log", (), {"warning": lambda self, name, **facts: told.append(facts)})())
    healths: list[Sequence[str]] = []

    async def run() -> None:
        patience = Patience("teller", 0.001)
        patience.health = Health()
        until = asyncio.get_running_loop().time() + 0.5

        async def read() -> None:
            healths.append(patience.health.reasons)  # type: ignore[union-attr]
            if asyncio.get_running_loop().time() < until or not healths[-1]:
                raise Transient("the log is away")

        lanes = [Lane(teller, WORLD, f"e{number}", PARTITIONS) for number in range(200)]
        await asyncio.gather(*(patience.until_read(lane, read) for lane in lanes))
        healths.append(patience.health.reasons)

    asyncio.run(run())

    assert len(told) < 20
    assert told[-1]["lanes"] == 200
    assert any("teller/e0 and 199 more cannot be read from the log" in reason for reasons in healths for reason in reasons)
    assert healths[-1] == ()


def test_an_input_of_a_quarantined_lane_is_told_of_once_in_the_process_log(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    shut = {"error": lambda self, name, **facts: told.append(name)} | {
        name: (lambda self, *args, **facts: None) for name in ("warning", "info", "debug")
    }
    monkeypatch.setattr("bus.failing.log", type("Log", (), shut)())
    world = _world(teller, *[("1", ["a"], "a")] * 300)
    _history(world, lane="0:0:0:1")
    _settled(world)

    assert _said(world, "a").count("EventDeferred") == 299
    assert told == ["lane_quarantined"]
    assert isinstance(world.log.events[0].data, PlayerMoved)
