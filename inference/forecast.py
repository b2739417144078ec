"""The forecast of a queue: who, of those that wait, would begin too late. Numbers in, a place out.

Waiting until the last moment and being refused then is the worst of both: the player waits for nothing, and an overloaded machine finds all
its refusals due at once. So who cannot be served in full is found when they come, and answered from the ladder while there is time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


def first_late(free_in: Sequence[float], waiting: Iterable[tuple[float, float]]) -> int | None:
    """The place of the first of `waiting` that begins later than it may, if each takes the slot that is free first; None: nobody does.

    `free_in`: when each slot is free. `waiting`, in the order in which they begin: until when each may begin, and how long it takes.
    All in seconds from now.

    >>> first_late([0.0, 0.2], [(0.1, 1.0), (0.3, 1.0), (0.5, 1.0)])
    2
    """
    slots = list(free_in)
    heapq.heapify(slots)
    for place, (until, takes) in enumerate(waiting):
        if not slots or slots[0] > until:
            return place
        heapq.heapreplace(slots, max(slots[0], 0.0) + takes)
    return None
