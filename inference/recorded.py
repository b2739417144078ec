"""The log's own copy of an event that was heard on its way there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bus.errors import BadEvent
from bus.event import Event
from bus.log import Log
from bus.subjects import ROOT, Subject, partition_of


async def recorded(log: Log, subject: Subject, is_it: Callable[[Event], bool], since: datetime) -> Event | None:
    """The event of this subject that `is_it`, if the log recorded it at or after `since`; mostly it is the subject's last.

    What `is_it` cannot read is another event. Raises `Transient`.
    """
    stored = ".".join((ROOT, str(partition_of(subject.world, subject.entity, log.partitions)), *subject))
    last = await log.last(stored)
    if last is None or _holds(is_it, last):
        return last
    async for events in log.read(since=since, filters=[stored]):
        for event in events:
            if _holds(is_it, event):
                return event
    return None


def _holds(is_it: Callable[[Event], bool], event: Event) -> bool:
    try:
        return is_it(event)
    except BadEvent:
        return False
