"""Lanes that stopped, as a table: what is parked, why, and what waits behind it."""

from __future__ import annotations

from typing import Any

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.runtime.v1 import runtime_pb2 as said

PARKED = Table("parked", key=("world", "handler", "entity", "input"), adds=("retries",))


def _own(event: Event, it: Any) -> bool:
    """True if a handler says it of a lane of its own, as the answer to an input: anybody else's word about lanes counts for nothing."""
    return event.subsystem == it.handler and event.lane is not None


def parked(event: Event, it: said.EventParked) -> Change | None:
    if not _own(event, it):
        return None
    return PARKED.put(
        *(event.world, event.subsystem, event.entity, it.position),
        status="parked",
        code=it.code,
        reason=it.reason,
        error_type=it.error_type,
        frames=list(it.frames),
        stack=it.stack or None,
        type=it.type,
        event_id=it.event_id,
        attempts=it.attempts,
        handler_version=it.handler_version,
        since=it.first_failed_at.ToNanoseconds(),
    )


def deferred(event: Event, it: said.EventDeferred) -> Change | None:
    if not _own(event, it):
        return None
    return PARKED.put(
        *(event.world, event.subsystem, event.entity, it.position),
        status="deferred",
        type=it.type,
        event_id=it.event_id,
        since=event.time_ns,
    )


def retry_failed(event: Event, it: said.LaneRetryFailed) -> Change | None:
    if not _own(event, it):
        return None
    return PARKED.put(
        *(event.world, event.subsystem, event.entity, it.position),
        status="parked",
        code=it.code,
        reason=it.reason,
        error_type=it.error_type,
        frames=list(it.frames),
        stack=it.stack or None,
        retries=1,
    )


def over(event: Event, it: said.LaneInputRetried | said.LaneInputDropped) -> Change | None:
    if not _own(event, it):
        return None
    return PARKED.drop(event.world, event.subsystem, event.entity, it.position)


lanes = Projection(
    name="lanes",
    version=2,
    schema=sql_beside(__file__),
    tables=(PARKED,),
    on={
        said.EventParked: parked,
        said.EventDeferred: deferred,
        said.LaneRetryFailed: retry_failed,
        said.LaneInputRetried: over,
        said.LaneInputDropped: over,
    },
)
