"""Requests of an operator to lanes: the request goes into the log, and what came of it is read there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worldbus.cli.output import remark, say, say_json

if TYPE_CHECKING:
    from bus.event import Event
    from worldbus.opening import World
    from worldbus.settings import Settings

OPERATOR = "operator"
Lane = tuple[str, str, str]  # world, handler, entity
Wanted = tuple[Lane, int | None]  # and the input to drop; None: retry the lane

_PUT_ASIDE = frozenset({"EventParked", "EventDeferred"})
_TAKEN_UP = frozenset({"LaneInputRetried", "LaneInputDropped"})
_FAILED = "LaneRetryFailed"


@dataclass(slots=True)
class _State:
    """A lane as the log has it: the inputs that wait in it, in order, and up to where it has answered each partition."""

    waiting: list[int] = field(default_factory=list)
    answered: dict[int, int] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """The next event of the lane."""
        mark = event.lane
        if mark is None:
            return
        if event.name in _PUT_ASIDE and mark.position not in self.waiting:
            self.waiting.append(mark.position)
        elif event.name in _TAKEN_UP and mark.position in self.waiting:
            self.waiting.remove(mark.position)
        if mark.step == mark.steps - 1:
            self.answered[mark.partition] = max(self.answered.get(mark.partition, 0), mark.position)


async def order(settings: Settings, wanted: Iterable[Wanted], reason: str, wait_s: float, as_json: bool) -> list[str]:
    """Ask each lane, one after the other, and tell what came of it; the lanes in which it did not come about."""
    from worldbus.opening import open_world

    async with open_world(settings, name="worldbus-parked", postgres=False, create=False) as world:
        return [f"{lane[1]}/{lane[2]}" for lane, position in wanted if not await _one(world, lane, position, reason, wait_s, as_json)]


async def _one(world: World, lane: Lane, position: int | None, reason: str, wait_s: float, as_json: bool) -> bool:
    name = f"{lane[1]}/{lane[2]}"
    last = (await world.log.state()).last
    state = _State()
    async for events in world.log.read(until=last, filters=[_subject(lane)]):
        for event in events:
            state.take(event)
    idle = "nothing is parked" if position is None and not state.waiting else await _why_not(world, lane, position, state, last)
    if idle:
        if as_json:
            say_json({"lane": name, "world": lane[0], "position": None, "outcome": [], "problem": idle})
        else:
            remark(f"{name}: {idle}")
        return False
    asked = await _publish(world, lane, position, reason)
    outcome = await _outcome(world, lane, asked, state, position, wait_s) if wait_s else []
    if as_json:
        say_json({"lane": name, "world": lane[0], "position": asked, "outcome": [_ending(event) for event in outcome]})
    else:
        say(f"{name}: asked at position {asked}" + "".join(f"; {_words(event)}" for event in outcome))
    return not wait_s or _came_about(outcome, position)


def _came_about(outcome: list[Event], position: int | None) -> bool:
    if position is None:
        return bool(outcome) and outcome[-1].name != _FAILED
    return any(event.name == "LaneInputDropped" and event.lane and event.lane.position == position for event in outcome)


async def _why_not(world: World, lane: Lane, position: int | None, state: _State, last: int) -> str:
    """The reason for which an input cannot be dropped; nothing if it can."""
    if position is None or position in state.waiting[:1]:
        return ""
    if position in state.waiting:
        return f"{position} is deferred behind {state.waiting[0]}: drop or retry that first"
    if position > last:
        return f"there is no position {position}: the log ends at {last}"
    event = await world.log.get(position)
    if position <= state.answered.get(event.partition, 0):
        return f"nothing to drop: the lane has answered {position}, or passed it over"
    return (
        "" if _concerns(lane, event) else f"{position} ({event.world or '?'}: {event.entity or '?'} {event.name}) is no input of this lane"
    )


def _concerns(lane: Lane, event: Event) -> bool:
    """True if an event may be an input of a lane, as far as can be said without asking `entities`, which may be what hangs."""
    from schemas.upcast import recorded_names
    from worldbus.games import current

    handler = current().by_name.get(lane[1])
    if handler is None:  # of another release
        return True
    return event.name in recorded_names(handler.listens_to) and event.world == lane[0] and (not handler.at_home or event.entity == lane[2])


async def _publish(world: World, lane: Lane, position: int | None, reason: str) -> int:
    from bus.event import Draft
    from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested

    name, handler, entity = lane
    data = (
        LaneRetryRequested(handler=handler, reason=reason)
        if position is None
        else LaneDropRequested(handler=handler, position=position, reason=reason)
    )
    return await world.publisher.publish(Draft(data=data, world=name, entity=entity, subsystem=OPERATOR))


def _subject(lane: Lane) -> str:
    from bus.subjects import stored_filter

    name, handler, entity = lane
    return stored_filter(world=name, subsystem=handler, entity=entity)


async def _outcome(world: World, lane: Lane, after: int, state: _State, position: int | None, wait_s: float) -> list[Event]:
    """The records of the lane about what was asked: until nothing waits, one failed again, the input was answered, or the time is over."""
    found: list[Event] = []
    open_ = {*state.waiting, *([] if position is None else [position])}
    try:
        async with asyncio.timeout(wait_s):
            async for events in world.log.read(after=after, filters=[_subject(lane)], follow=True):
                for event in events:
                    mark = event.lane
                    if mark is None or mark.position not in open_ or event.name in _PUT_ASIDE:
                        continue
                    ended = event.name in _TAKEN_UP or event.name == _FAILED
                    if ended or (mark.position not in state.waiting and mark.step == mark.steps - 1):
                        found.append(event)
                    if event.name == _FAILED:
                        return found
                    if event in found:
                        open_.discard(mark.position)
                    if not open_:
                        return found
    except TimeoutError:
        if not found:
            remark("no answer yet: is a handler running? What was asked stays in the log and will be done.")
    return found


def _ending(event: Event) -> dict[str, Any]:
    data: Any = event.data
    position = event.lane.position if event.lane else 0
    return {"event": event.name, "input": position, "position": event.position, "reason": getattr(data, "reason", "")}


def _words(event: Event) -> str:
    position, data = event.lane.position if event.lane else 0, event.data
    match event.name:
        case "LaneInputRetried":
            return f"{position} decided"
        case "LaneInputDropped":
            return f"{position} dropped"
        case "LaneRetryFailed":
            return f"{position} failed again: {getattr(data, 'reason', '')}"
        case _:
            return f"{position} was decided meanwhile, by {event.name} at {event.position}"
