"""The promises to the demo: every publish that was acknowledged, with the position it was given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bus.connection import Connection
    from bus.event import Draft
    from bus.publisher import Publisher
    from bus.subjects import LaneName

PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Promise:
    """The bus said: this event is in the log at this position."""

    id: str
    position: int


class Ledger:
    """Publishes, and keeps what was acknowledged. Not a counter of the code under test: it is what the report holds the log against."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.promises: list[Promise] = []
        self._asked: set[asyncio.Task[int]] = set()

    @property
    def connection(self) -> Connection:
        """The connection that it publishes through."""
        return self._publisher.connection

    async def publish_group(self, drafts: Sequence[Draft], *, expected: Mapping[LaneName, int] | None = None) -> list[int]:
        """Publish like `Publisher.publish_group`."""
        positions = await self._publisher.publish_group(drafts, expected=expected)
        self.promises += [Promise(draft.id, position) for draft, position in zip(drafts, positions, strict=True)]
        return positions

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """Publish like `Publisher.publish`; an answer that comes after the caller was cancelled is kept all the same."""
        task = asyncio.create_task(self._publish(draft, expected, once), name="publish")
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return await asyncio.shield(task)

    async def _publish(self, draft: Draft, expected: int | None, once: bool) -> int:
        position = await self._publisher.publish(draft, expected=expected, once=once)
        self.promises.append(Promise(draft.id, position))
        return position

    async def settle(self) -> None:
        """Return when everything that was asked for has its answer."""
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def insist(self, draft: Draft) -> int:
        """Publish under one id until the log has it."""
        while True:
            try:
                return await self.publish(draft)
            except Transient:
                await asyncio.sleep(PAUSE_S)
