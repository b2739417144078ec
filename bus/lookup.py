"""Looking an event up in the log, where its acknowledgement leaves a question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bus.attributes import TEXTS, TIMES
from bus.errors import BadEvent, Conflict, IdReused
from bus.event import Event
from bus.log import Log
from bus.publication import Parcel
from bus.subjects import ROOT, partition_of

SKEW = timedelta(hours=1)  # our clock against the server's, generously


def same(event: Event, parcel: Parcel) -> bool:
    """Whether the log holds this event at that place: the one meaning of "the same event" for every gate."""
    return not differences(event, parcel)


def differences(event: Event, parcel: Parcel) -> list[str]:
    """In what a recorded event differs from one that is to be published: `subject`, `id`, `type`, `data`, or names of attributes.

    The same event may have other bytes: it was written in another format, or by another release. A time that the publisher did not give is
    no part of it, whenever it is published again.
    """
    if f"{ROOT}.{'.'.join(event.subject)}".encode() != parcel.subject:
        return ["subject"]
    if event.raw == parcel.payload:
        return []
    again = Event(raw=parcel.payload, subject=event.subject, partition=event.partition, position=event.position)
    try:
        before, now = _content(event), _content(again)
    except BadEvent as error:
        return [f"what can be read of it ({error.code})"]
    if parcel.timeless:
        before.pop("time", None)
        now.pop("time", None)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _content(event: Event) -> dict[str, Any]:
    """What an event says, whatever its bytes; attributes that it does not say are missing."""
    said: dict[str, Any] = {name: event.text(name) for name in TEXTS} | {name: event.moment(name) for name in TIMES}
    said |= event.extensions
    said["depth"] = event.depth
    data = event.data
    return {name: value for name, value in said.items() if value} | {"id": event.id, "type": data.DESCRIPTOR.full_name, "data": data}


def id_reused(id: str, event: Event, parcel: Parcel) -> IdReused:
    """The error for an id that another event has."""
    return IdReused(
        f"id {id} is taken by the event at position {event.position} ({'.'.join(event.subject)}), which differs in "
        f"{', '.join(differences(event, parcel)) or 'its group'}; nothing was recorded: the same id is the same event, for ever",
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


def quick_id(event: Event) -> str:
    """As `id_of`. Our own encoding begins with the id; parsing the envelope of every event would cost ten times as much."""
    raw = event.raw
    if len(raw) > 2 and raw[0] == 10 and raw[1] < 123 and event.header is None:  # 123 is `{`: a line feed and a JSON document begin so
        return raw[2 : 2 + raw[1]].decode("ascii", "replace")
    return id_of(event)


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
        raise IdReused(f"an id of the group that begins with {ids[0]} is taken by another event; nothing was recorded", id=ids[0])
    first = min(found)
    raise id_reused(ids[first], found[first], parcels[first])


def _stored(subject: bytes, partitions: int) -> str:
    root, world, subsystem, entity, name = subject.decode().split(".")
    return f"{root}.{partition_of(world, entity, partitions)}.{world}.{subsystem}.{entity}.{name}"
