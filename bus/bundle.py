"""Several decisions of one lane that are written together, as one atomic batch under one fence.

A lane writes one event per round trip. One that many others speak to (the clock, which all wakes go through) falls behind at a few
hundred per second; decided ahead on a copy of the lane, its answers can travel together. The batch is recorded whole or not at all, and
its fence proves that the copy was the lane: if anybody wrote in between, nothing is recorded and the lane is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bus.errors import HandlerHung
from bus.event import Draft, Event, LaneMark
from bus.lane import RUNTIME_NAMES, Lane
from bus.lane_run import LaneRun, Output
from bus.routing import CONTROL_EVENTS

if TYPE_CHECKING:
    from bus.caution import Caution

MAX_OUTPUTS = 256
MAX_BYTES = 512 * 1024


class Bundle(NamedTuple):
    """The answers to a lane's first `inputs` inputs."""

    outputs: list[Output]
    inputs: int


def outputs_of(lane: Lane[Any], event: Event, drafts: Sequence[Draft]) -> list[Output]:
    """Drafts that answer `event`, encoded and folded.

    Raises `Rejected`, or what `evolve` raises, before anything is written: half a decision must not be in the log, and neither must an
    event that its own handler cannot fold.
    """
    steps = int(drafts[0].lane.rpartition(":")[2])  # more than there are drafts when only the rest of a group is written
    first = steps - len(drafts)
    state, evolve, outputs = lane.state, lane.handler.evolve, []
    partition, position = event.partition, event.position
    for number, draft in enumerate(drafts):
        raw, subject = draft.encode(), draft.subject
        own = Event(raw=raw, subject=subject, partition=lane.partition, position=lane.position + 1 + number, data=draft.data)
        if subject.name not in RUNTIME_NAMES:
            state = lane.watch.call("decide", lane, event, evolve, state, own)  # a part of this input's decision
        mark = LaneMark(partition, position, first + number, steps)
        outputs.append(Output(draft, raw, subject.published().encode(), mark, own, state))
    return outputs


def bundle(
    run: LaneRun[Any],
    decide: Callable[[Lane[Any], Event], list[Draft]],
    at_least: int,
    caution: Caution[Any],
) -> Bundle | None:
    """The lane's answers to the inputs that wait for it, up to the first that needs a turn of its own; None if that is too little.

    Silences in between count: they were decided on the state that the fence proves.
    """
    trial, inputs, size = run.lane.copy(), 0, 0
    outputs: list[Output] = []
    for entry in run.queue:
        event = entry.event
        if entry.stale or event.name in CONTROL_EVENTS or inputs > 2 * len(outputs) + at_least:
            break
        if caution.alarmed and caution.minds(trial, event):
            break
        if not trial.has_done(event.partition, event.position):
            try:
                drafts = decide(trial, event)
                said = outputs_of(trial, event, drafts) if drafts else []
            except HandlerHung as error:
                caution.hung_ahead(trial, event, error)
                break
            except Exception:  # tried again, and parked if need be, in its own turn
                break
            size += sum(len(output.raw) for output in said)
            if len(outputs) + len(said) > MAX_OUTPUTS or size > MAX_BYTES:
                break
            for output in said:
                trial.apply(output.event, output.mark, state=output.state)
            outputs += said
        inputs += 1
    return Bundle(outputs, inputs) if len(outputs) >= at_least else None
