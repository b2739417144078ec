"""Reading the log in order: a consumer of the moment pushes what comes behind a position, and the position is ours.

The server remembers nothing for us. Whatever goes wrong (a connection that breaks, a message that was dropped, a reader that is too slow,
a consumer that is gone), a new consumer starts behind the last event that was heard, so nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from worldbus_client.received import Event

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

HEARTBEAT_S: Final = 5.0
"""The server says that nothing came at least so often; twice as long without a word, and its consumer is given up."""
FORGOTTEN_S: Final = 30.0  # until the server removes a consumer that nobody listens to
ANSWER_S: Final = 5.0
BACK_OFF_S: Final = 0.5
CONTROL: Final = "100"


def subject_of(world: str, subsystem: str, entity: str, name: str) -> str:
    """The filter for such events' recorded subjects; an empty name means any."""
    return f"evt.*.{'.'.join(token or '*' for token in (world, subsystem, entity, name))}"


class Following:
    """One reader. Lives on the link's thread."""

    def __init__(self, log: str, subjects: Sequence[str], after: int | None, heard: Callable[[Event], bool]) -> None:
        """Of `subjects` (`subject_of`) no two may fit the same event. `heard` takes an event and says whether there is room for more;
        `resume` when there is again.
        """
        self._subjects = list(subjects)
        self._log, self._after, self._heard = log, after, heard
        self._nats: Nats | None = None
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._number = 0
        """Deliveries of this consumer: a gap means that one was dropped on the way."""
        self._lost = asyncio.Event()
        self._word = False
        self._room = asyncio.Event()
        self._room.set()

    async def attach(self, link: Nats) -> None:
        """Go on with this connection."""
        self._nats, self._subscription, self._consumer = link, None, ""
        if self._after is None:
            self._after = await self._last(link)
        self._lost.set()

    def resume(self) -> None:
        """Go on: there is room again."""
        self._room.set()

    async def run(self) -> None:
        """Read for ever."""
        try:
            while True:
                await self._room.wait()
                await self._read()
        finally:
            await self._end()

    async def _read(self) -> None:
        """Read for as long as one consumer lasts."""
        if self._nats is None:
            await self._until_lost(None)
            return
        try:
            await self._begin(self._nats)
        except Exception:  # the connection broke, and another one will be attached; or the log is not ready
            await self._end()
            await asyncio.sleep(BACK_OFF_S)
            return
        await self._until_lost(2 * HEARTBEAT_S)
        await self._end()

    async def _until_lost(self, silence_s: float | None) -> None:
        """Wait until this consumer is of no use any more; `silence_s` without a word of it is enough."""
        while not self._lost.is_set():
            self._word = False
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._lost.wait(), silence_s)
            if not self._word:
                return

    async def _last(self, link: Nats) -> int:
        answer = json.loads((await link.request(f"$JS.API.STREAM.INFO.{self._log}", b"", timeout=ANSWER_S)).data)
        return int(answer.get("state", {}).get("last_seq", 0))

    async def _begin(self, link: Nats) -> None:
        assert self._after is not None
        self._lost.clear()
        self._number, self._consumer = 0, f"follow-{secrets.token_hex(8)}"
        inbox = link.new_inbox()
        self._subscription = await link.subscribe(inbox, cb=self._arrived)
        alone = len(self._subjects) == 1
        config = {
            "name": self._consumer,
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._after + 1,
            **({"filter_subject": self._subjects[0]} if alone else {"filter_subjects": self._subjects}),
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
            "inactive_threshold": int(FORGOTTEN_S * 1e9),
            "num_replicas": 1,
            "mem_storage": True,
        }
        create = f"$JS.API.CONSUMER.CREATE.{self._log}.{self._consumer}{'.' + self._subjects[0] if alone else ''}"
        body = json.dumps({"stream_name": self._log, "config": config}).encode()
        answer = json.loads((await link.request(create, body, timeout=ANSWER_S)).data)
        if "error" in answer:
            raise RuntimeError(answer["error"].get("description", ""))

    async def _end(self) -> None:
        """Listen no more; the server forgets the consumer."""
        subscription, self._subscription, self._consumer = self._subscription, None, ""
        if subscription is not None:
            with suppress(Exception):  # it went with its connection
                await subscription.unsubscribe()

    async def _arrived(self, message: Msg) -> None:
        self._word = True
        if message.headers and message.headers.get("Status", "") == CONTROL:
            await self._told(message)
            return
        delivery = message.metadata
        if delivery.consumer != self._consumer:
            return
        self._number += 1
        if delivery.sequence.consumer != self._number:
            self._lost.set()
            return
        position = delivery.sequence.stream
        self._after = position
        _, _, world, subsystem, entity, name = message.subject.split(".")
        if not self._heard(Event(position, world, subsystem, entity, name, message.data)):
            self._room.clear()
            self._consumer = ""  # what is still on its way comes again when there is room
            self._lost.set()

    async def _told(self, message: Msg) -> None:
        """The server says that nothing came, or asks whether we keep up."""
        assert message.headers is not None
        if message.reply:
            await message.respond(b"")
        elif stalled := message.headers.get("Nats-Consumer-Stalled"):
            assert self._nats is not None
            await self._nats.publish(stalled, b"")
        if int(message.headers.get("Nats-Last-Consumer", self._number)) > self._number and self._consumer:
            self._lost.set()
