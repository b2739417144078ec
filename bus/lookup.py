"""Looking an event up in the log, where its acknowledgement leaves a question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bus.errors import BadEvent, Conflict, IdReused
from bus.event import Event
from bus.log import Log
from bus.publication import Parcel
from bus.subjects import partition_of

SKEW = timedelta(hours=1)  # our clock against the server's, generously


def same(event: Event, parcel: Parcel) -> bool:
    """Whether the log holds exactly this."""
    return event.raw == parcel.payload and event.subject.published().encode() == parcel.subject


def id_reused(id: str, event: Event) -> IdReused:
    """The error for an id that another event has."""
    return IdReused(
        f"id {id} is taken by another event at position {event.position} ({'.'.join(event.subject)}); nothing was recorded: use a new id",
        id=id,
        position=event.position,
    )


def conflict(fence: str, expected: int, found: int) -> Conflict:
    """The error for a lane that is not where it was expected."""
    return Conflict(
        f"expected the last event on {fence} at {expected}, found it at {found}: look again and decide again",
        expected=expected,
        found=found,
    )


def id_of(event: Event) -> str:
    """The event's id, or nothing if its envelope is damaged."""
    try:
        return event.id
    except BadEvent:
        return ""


async def behind(log: Log, fence: str, expected: int, at_least: int, parcel: Parcel) -> int:
    """The position of `parcel` behind `expected` in its lane, 0 if it is not there."""
    for event in await log.read_lane(fence, after=expected, at_least=at_least):
        if same(event, parcel):
            return event.position
    return 0


async def group(log: Log, ids: Sequence[str], parcels: Sequence[Parcel]) -> list[int]:
    """The positions of a group that the log says it has recorded lately, in one piece; raises `IdReused` if what it holds is something
    else.
    """
    filters = sorted({_stored(parcel.subject, log.partitions) for parcel in parcels})
    wanted = {one: index for index, one in enumerate(ids)}
    found: dict[int, Event] = {}
    async for events in log.read(since=datetime.now(UTC) - SKEW, filters=filters):
        found |= {wanted[known]: event for event in events if (known := id_of(event)) in wanted}
    positions = [found[index].position for index in sorted(found)]
    whole = len(found) == len(ids) and positions == list(range(positions[0], positions[0] + len(ids)))
    if whole and all(same(found[index], parcel) for index, parcel in enumerate(parcels)):
        return positions
    if not found:
        raise IdReused(f"an id of the group that begins with {ids[0]} is taken; nothing was recorded: use new ids", id=ids[0])
    first = min(found)
    raise id_reused(ids[first], found[first])


def _stored(subject: bytes, partitions: int) -> str:
    root, world, subsystem, entity, name = subject.decode().split(".")
    return f"{root}.{partition_of(world, entity, partitions)}.{world}.{subsystem}.{entity}.{name}"
