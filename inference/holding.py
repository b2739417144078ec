"""The requests in one worker's hands, delivered to it and not settled, and the tasks that see them to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from inference.asked import Asked
from inference.metrics import Metrics
from inference.queue import TierQueue
from inference.work import Work

log = structlog.get_logger(__name__)


class Holding:
    """Settles what is held. `dropped` is called whenever something has left our hands."""

    def __init__(self, queue: TierQueue, asked: Asked, metrics: Metrics, dropped: Callable[[], None]) -> None:
        self.held: dict[int, Work] = {}
        """Deliveries that are not settled, by position."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._queue = queue
        self._asked = asked
        self._metrics = metrics
        self._dropped = dropped

    def __contains__(self, work: Work) -> bool:
        return self.held.get(work.ask.event.position) is work

    def take(self, work: Work) -> None:
        """Take a request into this worker's hands."""
        self.held[work.ask.event.position] = work

    def settle(self, work: Work) -> None:
        """Settle a request that has its end in the log."""
        if work in self:
            self._queue.ack(work.ask.reply)
            self._drop(work)

    def hand_back(self, work: Work) -> None:
        """Hand a request back, for another worker to take now."""
        if work in self:
            self._metrics.counts["handed_back"] += 1
            self._queue.hand_back(work.ask.reply)
            self._drop(work)

    def forget(self, work: Work) -> None:
        """Let it come again when it is due: whoever speaks it may die."""
        if work in self:
            self._metrics.counts["lost"] += 1
            self._drop(work)

    async def conclude(self, work: Work, end: Coroutine[Any, Any, bool]) -> None:
        """See an end into the log, then settle; without an end of ours somebody else speaks, and the queue will ask again if they die."""
        ended = False
        try:
            if not await work.is_fresh():
                end.close()
                return
            ended = await end
            if ended:
                await self._asked.mark(work.ask.world, work.ask.id, work.ask.event.position)
        finally:
            if ended:
                self.settle(work)
            else:
                self.forget(work)  # also after an error that nobody foresaw: the queue gives it to somebody again

    def heartbeat(self) -> None:
        """Tell the queue that what we hold is still in work."""
        for work in self.held.values():
            self._queue.working(work.ask.reply)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], work: Work | None = None) -> None:
        """Run it beside everything else. An error that nobody foresaw is reported, and the queue gives `work` to somebody again."""
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(lambda done: self._on_done(done, work))

    def _drop(self, work: Work) -> None:
        del self.held[work.ask.event.position]
        if work.timer is not None:
            work.timer.cancel()
        self._dropped()

    def _on_done(self, task: asyncio.Task[Any], work: Work | None) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("request_failed", error=repr(error), exc_info=error)
            if work is not None:
                self.forget(work)
