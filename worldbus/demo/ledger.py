"""What the demo was promised: every publish that was acknowledged, with the position it was given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.errors import Transient

if TYPE_CHECKING:
    from bus.event import Draft
    from bus.publisher import Publisher

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

    async def publish(self, draft: Draft, *, expected: int | None = None, once: bool = False) -> int:
        """As `Publisher.publish`."""
        position = await self._publisher.publish(draft, expected=expected, once=once)
        self.promises.append(Promise(draft.id, position))
        return position

    async def insist(self, draft: Draft) -> int:
        """Publish under one id until the log has it."""
        while True:
            try:
                return await self.publish(draft)
            except Transient:
                await asyncio.sleep(PAUSE_S)
