"""Partitions whose earlier holders died of them.

Whoever takes up a partition in which inputs wait writes down where it begins, beside the snapshots; whoever lets it go alive takes that
back. A successor that finds the record, at the same place, has a predecessor that ended without a word and settled nothing. One is bad
luck; after the second the process goes on carefully (`bus.careful`). A partition that gets on, is let go in good order or has nothing to
decide is never suspected, and costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from bus.connection import pub
from bus.errors import Disconnected
from bus.log import SNAPSHOT_ROOT

if TYPE_CHECKING:
    from bus.careful import Careful
    from bus.log import Log
    from bus.membership import Membership

DEATHS: Final = 2  # in a row, at one place, without a word

logger = structlog.get_logger(__name__)


class _Held(msgspec.Struct, kw_only=True):
    """The holder of the partition, if there is one: its first ack floor, the number of those who died there before, and its care."""

    created: str
    floor: int
    member: str
    held: bool = True
    deaths: int = 0
    careful: bool = False


_decode = msgspec.json.Decoder(_Held).decode


class Succession:
    """The record of one consumer."""

    def __init__(self, log: Log, consumer: str, careful: Careful, membership: Membership) -> None:
        self._log = log
        self._consumer = consumer
        self._careful = careful
        self._membership = membership
        self._subject = f"{SNAPSHOT_ROOT}.held.{log.name}.{consumer}"
        self._now: _Held | None = None

    async def begin(self, info: dict[str, Any]) -> None:
        """Take the partition up; `info` is the server's word on its consumer after the reset. Raises `Transient`."""
        self._now = None
        if not info["num_pending"]:
            return
        before = await self._read()
        now = _Held(created=info["created"], floor=info["ack_floor"]["stream_seq"], member=self._membership.me)
        if before is not None and before.held and before.created == now.created and not self._membership.lives(before.member):
            now.deaths = before.deaths + 1 if before.floor == now.floor else 0
            now.careful = before.careful or now.deaths >= DEATHS
        self._now = now
        self._write()
        if now.careful:
            self._careful.begin_with(self._consumer, self._survived)

    def end(self, settled: int, *, taken: bool) -> None:
        """Let the partition go, alive, with everything settled up to `settled`. `taken`: another member has it already, and the record."""
        self._careful.end_with(self._consumer)
        if self._now is not None and not taken and (self._now.careful or settled <= self._now.floor):
            self._survived()
        self._now = None

    def _survived(self) -> None:
        """Clear the record: no holder died of this partition."""
        if self._now is not None:
            self._now.held = self._now.careful = False
            self._now.deaths = 0
            self._write()

    def _write(self) -> None:
        try:
            self._log.connection.write(pub(self._subject.encode(), b"", msgspec.json.encode(self._now)))
        except Disconnected:
            return

    async def _read(self) -> _Held | None:
        raw = await self._log.kept(self._subject)
        try:
            return None if raw is None else _decode(raw)
        except msgspec.DecodeError as error:
            logger.warning("succession_ignored", consumer=self._consumer, error=str(error))
            return None
