"""Looking an event up in the log, where its acknowledgement leaves a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bus.attributes import TEXTS, TIMES
from bus.errors import BadEvent, Conflict, IdReused
from bus.event import Event
from bus.log import Log
from bus.publication import Parcel
from bus.subjects import ROOT, LaneName, partition_of

SKEW = timedelta(hours=1)  # our clock against the server's, generously


def same(event: Event, parcel: Parcel) -> bool:
    """Return whether the log holds this event at that place: the one meaning of "the same event" for every gate."""
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
    """The content of an event, whatever its bytes; attributes that it does not have are missing."""
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


def conflict(lane: LaneName, expected: int, found: int) -> Conflict:
    """The error for a lane that is not where it was expected; position 0 stands for no event."""
    return Conflict(
        f"expected the last event of {lane} at {expected}, found it at {found}: look again and decide again",
        **lane._asdict(),
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
    """Find the id like `id_of`, but ten times as fast: our own encoding begins with the id, and the envelope need not be parsed."""
    raw = event.raw
    if len(raw) > 2 and raw[0] == 10 and raw[1] < 123 and event.header is None:  # 123 is `{`: a line feed and a JSON document begin so
        return raw[2 : 2 + raw[1]].decode("ascii", "replace")
    return id_of(event)


async def repeated(log: Log, id: str, parcel: Parcel, position: int) -> int:
    """`position`, where the log says that it knows the id; raises `IdReused` if it holds another event there."""
    event = await log.get(position)
    if not same(event, parcel):
        raise id_reused(id, event, parcel)
    return position


async def moved(log: Log, fence: str, expected: int, found: int, parcel: Parcel) -> int:
    """The position of a fenced publish that was refused: an earlier sending of it, or an earlier call, may be what moved the lane.

    Then it is the very next event behind `expected`. Raises `Conflict`.
    """
    for event in await log.read_lane(fence, after=expected, at_least=min(found, expected + 1), most=1):
        if same(event, parcel):
            return event.position
    raise conflict(LaneName.of_filter(fence), expected, found)


async def group(log: Log, ids: Sequence[str], parcels: Sequence[Parcel]) -> list[int]:
    """The positions of a group that the log says it has recorded lately; raises `IdReused` if what it holds is something else."""
    filters = sorted({_stored(parcel.subject, log.partitions) for parcel in parcels})
    wanted, found = frozenset(ids), dict[str, Event]()
    async for events in log.read(since=datetime.now(UTC) - SKEW, filters=filters):
        found |= {known: event for event in events if (known := id_of(event)) in wanted}
    if not found:
        raise IdReused(f"an id of the group that begins with {ids[0]} is taken by another event; nothing was recorded", id=ids[0])
    return whole(ids, parcels, found)


def whole(ids: Sequence[str], parcels: Sequence[Parcel], found: Mapping[str, Event]) -> list[int]:
    """The positions of a group of which the log holds `found`, by id: all of it, in one piece. Raises `IdReused` for anything else."""
    positions = [found[one].position for one in ids if one in found]
    in_one_piece = positions == list(range(positions[0], positions[0] + len(ids)))
    pairs = list(zip(ids, parcels, strict=True))
    if in_one_piece and all(same(found[one], parcel) for one, parcel in pairs):
        return positions
    taken = [(one, parcel) for one, parcel in pairs if one in found]
    first, parcel = next((pair for pair in taken if not same(found[pair[0]], pair[1])), taken[0])
    raise id_reused(first, found[first], parcel)


async def group_at(log: Log, parcels: Sequence[Parcel], first: int) -> list[int]:
    """The positions of a group whose first event would be at `first`; nothing if it is not there, whole and in one piece."""
    if first < 1:
        return []
    held: list[Event] = []
    async for events in log.read(after=first - 1, until=first + len(parcels) - 1):
        held += events
    if len(held) < len(parcels) or not all(same(event, parcel) for event, parcel in zip(held, parcels, strict=True)):
        return []
    return [event.position for event in held]


def _stored(subject: bytes, partitions: int) -> str:
    root, world, subsystem, entity, name = subject.decode().split(".")
    return f"{root}.{partition_of(world, entity, partitions)}.{world}.{subsystem}.{entity}.{name}"
