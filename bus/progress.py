"""How far a consumer was settled, kept in the log's own snapshots beside the server's word for it.

nats-server keeps an ack floor in a small file without a checksum: one flipped bit can move it forward, and the inputs in between would
never be answered, without any error (9 of 60 flips; docs/explanation/reliability.md). A message of a stream has a checksum. So whoever
holds a partition writes down there what it has settled, every few seconds, and whoever takes it up starts behind that record where the
server's floor is beyond it. Inputs that come again are recognised from the log.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import structlog

from bus.answers import status_of
from bus.connection import pub
from bus.errors import Disconnected, Transient
from bus.log import SNAPSHOT_ROOT

if TYPE_CHECKING:
    from bus.log import Log

EVERY_S = 5.0  # between two records of one consumer; under `strict` each costs the server a sync

logger = structlog.get_logger(__name__)


class Progress:
    """The record of one consumer. Losing it costs nothing but the protection: the server's floor is believed then."""

    def __init__(self, log: Log, consumer: str) -> None:
        self._log = log
        self._consumer = consumer
        self._subject = f"{SNAPSHOT_ROOT}.progress.{log.name}.{consumer}"
        self._created = ""
        self._settled = 0  # what is known to be settled
        self._saved = 0  # what the record says
        self._saved_at = 0.0

    async def read(self, created: str) -> int | None:
        """The position up to which everything is settled, if there is a record of the consumer that was made at `created`.

        A consumer that was made anew reads the log again from where it was told to, whatever its namesake had settled. Raises `Transient`
        while the record cannot be read.
        """
        self._created = created
        answers = await self._log._answers.ask(
            f"$JS.API.DIRECT.GET.{self._log.config.snapshots}", {"last_by_subj": self._subject}, timeout=2.0
        )
        status = status_of(answers[0][1])
        if status in (503, 408):
            raise Transient(f"the record of {self._consumer} cannot be read at the moment: retry")
        if status:
            return None
        try:
            record = json.loads(answers[0][2])
            found = int(record["settled"]) if record["created"] == created else None
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("progress_ignored", consumer=self._consumer, error=str(error))
            return None
        self._settled = self._saved = found or 0
        return found

    @property
    def position(self) -> int:
        """Everything up to here is known to be settled."""
        return self._settled

    def settled(self, position: int) -> None:
        """Everything up to `position` is settled; recorded every few seconds."""
        self._settled = position
        if time.monotonic() - self._saved_at > EVERY_S:
            self.save()

    def save(self) -> None:
        """Record what is settled now, without waiting for it."""
        if self._settled <= self._saved or not self._created:
            return
        record = json.dumps({"settled": self._settled, "created": self._created}).encode()
        try:
            self._log.connection.write(pub(self._subject.encode(), b"", record))
        except Disconnected:
            return
        self._saved, self._saved_at = self._settled, time.monotonic()
