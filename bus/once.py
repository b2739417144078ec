"""Publishing once for ever: everything that was said in the events' lanes is looked through for their ids, beyond the log's own memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from bus import lookup
from bus.errors import Conflict
from bus.event import Draft, Event
from bus.log import Log
from bus.publication import Parcel
from bus.subjects import LaneName

Publish = Callable[[Mapping[LaneName, int]], Awaitable[list[int]]]


async def publish_once(
    log: Log, drafts: Sequence[Draft], parcels: Sequence[Parcel], expected: Mapping[LaneName, int], publish: Publish
) -> list[int]:
    """The positions of the drafts, where they are already or where `publish` puts them under the expectation that nothing else was said.

    Raises `IdReused`, `Conflict` for a lane that is not where `expected` says, and what `publish` raises.
    """
    ids = [draft.id for draft in drafts]
    seen = dict.fromkeys((draft.subject.lane for draft in drafts), 0)
    wanted, held = frozenset(ids), dict[str, Event]()
    while True:
        for lane, position in seen.items():
            for event in await log.read_lane(lane.stored(log.partitions), after=position):
                if (known := lookup.id_of(event)) in wanted:
                    held[known] = event
                seen[lane] = event.position
        if held:
            return lookup.whole(ids, parcels, held)
        for lane, position in expected.items():
            if seen.get(lane, position) != position:
                raise lookup.conflict(lane, position, seen[lane])
        try:
            return await publish({**expected, **seen})
        except Conflict as error:
            if LaneName(*(str(error.facts[field]) for field in LaneName._fields)) in expected:
                raise
