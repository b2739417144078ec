"""Reading the log in order, without a consumer on the server: every question names the position that it wants to know of next.

So there is nothing to lose when a connection breaks, nothing to clean up, and a reader that was slow for an hour goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from worldbus_client.received import Event

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

BATCH: Final = 256
LOOK_S: Final = 1.0  # between looks when no hint came
SOON_S: Final = 0.01  # a hint comes a moment before the log has it
ANSWER_S: Final = 5.0


class Following:
    """One reader. Lives on the link's thread."""

    def __init__(
        self, log: str, world: str, subsystem: str, entity: str, name: str, after: int | None, heard: Callable[[Event], bool]
    ) -> None:
        """`heard` takes an event and says whether there is room for more; `resume` when there is again."""
        choice = ".".join(token or "*" for token in (world, subsystem, entity, name))
        self.stored, self.published = f"evt.*.{choice}", f"evt.{choice}"
        self._log, self._after, self._heard = log, after, heard
        self._nats: Nats | None = None
        self._wake = asyncio.Event()
        self._hinted = False
        self._room = asyncio.Event()
        self._room.set()

    async def attach(self, link: Nats) -> None:
        """Go on with this connection."""
        self._nats = link
        await link.subscribe(self.published, cb=self._on_hint)
        if self._after is None:
            self._after = await self._last(link)
        self._wake.set()

    def resume(self) -> None:
        """There is room again."""
        self._room.set()

    async def _on_hint(self, message: Msg) -> None:
        self._hinted = True
        self._wake.set()

    async def _last(self, link: Nats) -> int:
        answer = json.loads((await link.request(f"$JS.API.STREAM.INFO.{self._log}", b"", timeout=ANSWER_S)).data)
        return int(answer.get("state", {}).get("last_seq", 0))

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await self._room.wait()
            got = 0
            if self._nats is not None and self._after is not None and self._nats.is_connected:
                try:
                    got = await self._ask(self._nats, self._after)
                except (asyncio.TimeoutError, TimeoutError):  # noqa: UP041 - they are two before Python 3.11
                    got = 0
                except Exception:
                    self._nats = None  # until the next connection is attached
            if got:
                continue
            if self._hinted:
                self._hinted = False
                await asyncio.sleep(SOON_S)
                continue
            self._wake.clear()
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_S)

    async def _ask(self, link: Nats, after: int) -> int:
        """The next events behind `after`; how many there were."""
        inbox = link.new_inbox()
        subscription: Subscription = await link.subscribe(inbox)
        try:
            body = {"seq": after + 1, "next_by_subj": self.stored, "batch": BATCH}
            await link.publish(f"$JS.API.DIRECT.GET.{self._log}", json.dumps(body).encode(), inbox)
            got = 0
            while True:
                message = await subscription.next_msg(timeout=ANSWER_S)
                headers = message.headers or {}
                if "Nats-Sequence" not in headers:  # the end of the batch, or nothing there
                    return got
                got += 1
                position = int(headers["Nats-Sequence"])
                self._after = position
                _, _, world, subsystem, entity, name = headers["Nats-Subject"].split(".")
                if not self._heard(Event(position, world, subsystem, entity, name, message.data)):
                    self._room.clear()
        finally:
            await subscription.unsubscribe()
