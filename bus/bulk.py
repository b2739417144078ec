"""Publishing in bulk, without sync: whole blocks of events go out in one write, their acknowledgements are counted, and only what was not
acknowledged plainly is handled one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice

from bus.connection import Connection, Listener, hpub
from bus.errors import Disconnected
from bus.event import Draft
from bus.publication import Parcel, pack

BLOCK = 512  # events
SHIFT = BLOCK.bit_length() - 1

Answered = Callable[[bytes | None, bytes], None]


class Block:
    """Up to 512 events that went out together. `positions` fills as they are acknowledged."""

    __slots__ = ("ids", "late", "left", "parcels", "positions")

    def __init__(self, ids: list[str], parcels: list[Parcel]) -> None:
        self.ids = ids
        self.parcels = parcels
        self.positions = [0] * len(parcels)
        self.left = len(parcels)
        self.late: list[tuple[int, asyncio.Future[int]]] = []

    async def finish(self) -> list[int]:
        """The positions, once those that were handed over have ended too; raises the first error."""
        for index, future in self.late:
            self.positions[index] = await future
        return self.positions


class Bulk:
    """Blocks on their way. `hand_over(block, index, header, payload)` gets each event that needs more than its first sending; an empty
    `payload` without a header means that no answer came.
    """

    def __init__(
        self,
        connection: Connection,
        position_in: Callable[[bytes], int],
        hand_over: Callable[[Block, int, bytes | None, bytes], None],
    ) -> None:
        self._connection = connection
        self._position_in = position_in
        self._hand_over = hand_over
        self._prefix = f"{connection.new_inbox()}.".encode()
        self._cut = len(self._prefix)
        self._number = 0
        self._blocks: dict[int, Block] = {}
        self._sent_at: dict[int, float] = {}
        self._listener: Listener | None = None
        self._loop = asyncio.get_running_loop()
        self._less = asyncio.Event()

    async def open(self) -> None:
        """Listen for acknowledgements."""
        self._listener = await self._connection.listen(f"{self._prefix.decode()}*", self._on_ack)

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    async def publish(
        self, drafts: Iterable[Draft] | AsyncIterable[Draft], most: int, room: Callable[[], Awaitable[None]], away: Callable[[], bool]
    ) -> list[int]:
        """The positions of many drafts, in order, with at most about `most` blocks on their way. Raises the first error."""
        positions: list[int] = []
        blocks: deque[Block] = deque()
        async for ids, parcels in packed(drafts, self._connection.max_payload):
            await room()
            blocks.append(Block(ids, parcels))
            self.send(blocks[-1], away=away())
            await asyncio.sleep(0)  # let acknowledgements in
            await self.until(most)
            while blocks and blocks[0].left == 0:
                positions += await blocks.popleft().finish()
        await self.until(0)
        for block in blocks:
            positions += await block.finish()
        return positions

    def send(self, block: Block, *, away: bool = False) -> None:
        """Send a block; while we are `away` from the server its events are handed over."""
        self._number = number = self._number + 1
        first = number << SHIFT
        prefix = self._prefix
        self._blocks[number] = block
        self._sent_at[number] = self._loop.time()
        if away:
            self.release(float("inf"))
            return
        try:
            self._connection.write(
                b"".join(
                    [
                        hpub(subject, b"%b%d" % (prefix, index), b"NATS/1.0\r\n%b\r\n" % lines, payload)
                        for index, (subject, lines, payload, _) in enumerate(block.parcels, first)
                    ]
                )
            )
        except Disconnected:
            self.release(float("inf"))  # in order: what went out before is lost as well

    async def until(self, blocks: int) -> None:
        """Wait until at most so many blocks are on their way."""
        while len(self._blocks) > blocks:
            self._less.clear()
            await self._less.wait()

    def release(self, before: float) -> None:
        """Hand over what was sent before that loop time and has no answer."""
        for number in [number for number, sent_at in self._sent_at.items() if sent_at < before]:
            self._release(number)

    def denied(self, reason: str) -> None:
        """The server refused a subject: hand over the blocks with it; their publications will be refused by themselves."""
        for number, block in list(self._blocks.items()):
            if any(f'"{parcel.subject.decode().lower()}"' in reason for parcel in block.parcels):
                self._release(number)

    def _release(self, number: int) -> None:
        block = self._blocks.pop(number)
        self._sent_at.pop(number, None)
        for index, position in enumerate(block.positions):
            if position == 0:
                self._hand_over(block, index, None, b"")
        block.left = 0
        self._less.set()

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        number = int(subject[self._cut :])
        block = self._blocks.get(number >> SHIFT)
        if block is None:
            return
        index = number & (BLOCK - 1)
        position = self._position_in(payload)
        if position:
            block.positions[index] = position
        else:
            block.positions[index] = -1  # its publication will say
            self._hand_over(block, index, header, payload)
        block.left -= 1
        if block.left == 0:
            del self._blocks[number >> SHIFT]
            del self._sent_at[number >> SHIFT]
            self._less.set()


async def packed(drafts: Iterable[Draft] | AsyncIterable[Draft], max_payload: int) -> AsyncIterator[tuple[list[str], list[Parcel]]]:
    """The ids and parcels of the drafts, in blocks; raises `Rejected` for a bad one."""
    if isinstance(drafts, AsyncIterable):
        several: list[Draft] = []
        async for draft in drafts:
            several.append(draft)
            if len(several) == BLOCK:
                yield [one.id for one in several], [pack(one, max_payload) for one in several]
                several = []
        if several:
            yield [one.id for one in several], [pack(one, max_payload) for one in several]
    else:
        rest = iter(drafts)
        while several := list(islice(rest, BLOCK)):
            yield [one.id for one in several], [pack(one, max_payload) for one in several]


async def each(drafts: Iterable[Draft] | AsyncIterable[Draft]) -> AsyncIterator[Draft]:
    """The drafts one by one, from either kind of source."""
    if isinstance(drafts, AsyncIterable):
        async for draft in drafts:
            yield draft
    else:
        for draft in drafts:
            yield draft
