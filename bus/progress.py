"""The position up to which a consumer was settled, kept in the log's own snapshots beside the server's word for it.

nats-server keeps an ack floor in a small file without a checksum: one flipped bit can move it forward, and the inputs in between would
never be answered, without any error (9 of 60 flips; docs/explanation/reliability.md). A message of a stream has a checksum. So whoever
holds a partition writes down there what it has settled, every few seconds, and whoever takes it up starts behind that record where the
server's floor is beyond it. Inputs that come again are recognised from the log.

A consumer that is gone, or that somebody made or rewrote, says nothing about what was settled; whoever finds that begins behind the record
as well, behind the part of it that is `sound`: settled while the consumer was known to be as it has to be. A rewritten one may have passed
over events, which would count as settled with those behind them. The record is about the log that was made at `log`, and no other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from bus.connection import pub
from bus.errors import Disconnected
from bus.log import SNAPSHOT_ROOT

if TYPE_CHECKING:
    from bus.log import Log

EVERY_S = 5.0  # between two records of one consumer; under `strict` each costs the server a sync

logger = structlog.get_logger(__name__)


def subject_of(log: Log, consumer: str) -> str:
    """The subject of a consumer's record."""
    return f"{SNAPSHOT_ROOT}.progress.{log.name}.{consumer}"


async def has_record(log: Log, consumer: str) -> bool:
    """Return whether a consumer of that name was ever settled by anybody. Raises `Transient`."""
    return await log.kept(subject_of(log, consumer)) is not None


class _Record(msgspec.Struct, frozen=True):
    """The record of one consumer: positions, and the times at which it and its log were made."""

    settled: int
    created: str
    sound: int = 0
    log: str = ""


class Progress:
    """The record of one consumer. Losing it costs nothing but the protection: the server's floor is believed then."""

    def __init__(self, log: Log, consumer: str) -> None:
        self._log = log
        self._consumer = consumer
        self._subject = subject_of(log, consumer)
        self._created = ""
        self._log_created = ""
        self._settled = 0  # what is known to be settled
        self._sound = 0  # of that, what was settled while the consumer was as it has to be
        self._saved: _Record | None = None  # what the record says
        self._saved_at = 0.0

    async def read(self, created: str) -> int | None:
        """The position up to which everything is settled, as far as that is recorded; `created` is when the consumer was made.

        Of a consumer that was made anew by whomever only what is sound counts, and nothing if the log is another one too. Raises
        `Transient` while the record cannot be read.
        """
        record = await self._read()
        if created != self._created:
            self._log_created = await self._log.created()
        self._created, self._saved = created, record
        if record is None:
            return None
        if record.created == created:
            self._settled, self._sound = record.settled, max(record.sound, self._sound)
            return record.settled
        if record.log != self._log_created:
            self._settled = self._sound = 0
            return None
        self._settled = self._sound = max(record.sound, self._sound)
        return self._sound

    async def behind(self) -> int | None:
        """The position behind which a new consumer begins in place of a lost or rewritten one; None if nothing is known of this log.

        Raises `Transient` while the record cannot be read.
        """
        record, created = await self._read(), await self._log.created()
        known = [record.sound] if record is not None and record.log == created else []
        return max([*known, *([self._sound] if self._log_created == created else [])], default=None)

    @property
    def created(self) -> str:
        """The time at which the consumer was made, as far as it was read."""
        return self._created

    async def _read(self) -> _Record | None:
        raw = await self._log.kept(self._subject)
        try:
            return None if raw is None else msgspec.json.decode(raw, type=_Record)
        except msgspec.DecodeError as error:
            logger.warning("progress_ignored", consumer=self._consumer, error=str(error))
            return None

    def verified(self, position: int) -> None:
        """The consumer was found as it has to be, when `position` was settled."""
        self._sound = max(self._sound, position)

    @property
    def position(self) -> int:
        """The position up to which everything is known to be settled."""
        return self._settled

    def settled(self, position: int) -> None:
        """Take everything up to `position` as settled; it is recorded every few seconds."""
        self._settled = position
        if time.monotonic() - self._saved_at > EVERY_S:
            self.save()

    def save(self) -> None:
        """Record what is settled now, without waiting for it."""
        record = _Record(settled=self._settled, created=self._created, sound=self._sound, log=self._log_created)
        saved = self._saved or _Record(settled=0, created="")
        if not self._created or record == saved or not record.settled or record.settled < saved.settled:
            return
        try:
            self._log.connection.write(pub(self._subject.encode(), b"", msgspec.json.encode(record)))
        except Disconnected:
            return
        self._saved, self._saved_at = record, time.monotonic()
