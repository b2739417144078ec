"""Writing a lost or damaged log again from its archive, every event at its old position.

The old stream is deleted first. Until the last event is back, `open_log` calls the log damaged, so nobody works on half a history; a
restore that was interrupted is simply started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple

import structlog

from bus.answers import status_of
from bus.check import check_stored
from bus.connection import ApiError, Connection
from bus.errors import BadSubject, Disconnected, LogDamaged, Misuse, Transient, Unknown
from bus.group_commit import MAX_BATCH, MAX_BATCH_BYTES, batch_frames, decode_ack
from bus.log import NO_STREAM, Log, LogConfig, attach, make
from bus.publication import Parcel

ANSWER_TIMEOUT = 10.0  # seconds
AGAIN_S = 0.2  # seconds until a deletion that kept what it should delete is tried again
PROGRESS = 100_000  # events between two words about it

logger = structlog.get_logger(__name__)


class Kept(NamedTuple):
    """An event as it goes back into the log: its subject, as published or as stored, its bytes, and its header lines."""

    subject: str
    raw: bytes
    lines: bytes = b""


async def restore_log(connection: Connection, config: LogConfig, events: AsyncIterable[Kept]) -> int:
    """Delete the log and write `events`, the whole history from position 1 on, in order; returns how many.

    No other program may publish meanwhile: one that does is noticed (`LogDamaged`) and the
    restore must be started again. Raises `Misuse` for a subject that the log would not take, naming the position.
    """
    log = await attach(connection, config)  # before the old one goes: the new one has as many partitions
    try:
        created = await _made_anew(log)
        last = 0
        async for parcels in _batches(events):
            await _write(log, parcels, last)
            last += len(parcels)
            if last // PROGRESS != (last - len(parcels)) // PROGRESS:
                logger.info("log_restoring", position=last)
        await log.mark(created)
    finally:
        await log.aclose()
    logger.info("log_restored", events=last)
    return last


async def _made_anew(log: Log) -> str:
    """An empty stream in the log's place; returns when it was made.

    While nats-server 2.15.1 still removes an earlier stream of that name from the disk, it deletes nothing, says that it did, and what the
    stream held is in the next one.
    """
    while True:
        await _delete(log.connection, log.name)
        created = await make(log.connection, log.config)
        if not (await log.state(timeout=60.0)).last:
            return created
        logger.info("log_still_there", stream=log.name)
        await asyncio.sleep(AGAIN_S)


async def _delete(connection: Connection, name: str) -> None:
    try:
        await connection.api(f"STREAM.DELETE.{name}", timeout=60.0)
    except ApiError as error:
        if error.err_code != NO_STREAM:
            raise


async def _batches(events: AsyncIterable[Kept]) -> AsyncIterator[list[Parcel]]:
    parcels: list[Parcel] = []
    size = position = 0
    async for subject, raw, lines in events:
        position += 1
        try:
            published = check_stored(subject)
        except BadSubject as error:
            raise Misuse(f"the archive's event at position {position} cannot be restored: {error}", position=position) from error
        parcels.append(Parcel(published.encode(), lines, raw))
        size += len(raw) + len(lines)
        if len(parcels) == MAX_BATCH or size > MAX_BATCH_BYTES:
            yield parcels
            parcels, size = [], 0
    if parcels:
        yield parcels


async def _write(log: Log, parcels: list[Parcel], last: int) -> None:
    """Append one atomic batch behind position `last`, however often the connection breaks."""
    sent = list(parcels)
    sent[0] = sent[0]._replace(lines=sent[0].lines + b"Nats-Expected-Last-Sequence: %d\r\n" % last)
    while True:
        try:
            stored = await _send(log, sent)
        except (Transient, Unknown, Disconnected) as error:
            logger.debug("restore_waits", error=str(error), position=last)
            await asyncio.sleep(0.1)
            stored = False
        if stored:
            return
        found = (await log.state(timeout=60.0)).last
        if found == last + len(parcels):
            return
        if found != last:
            raise LogDamaged(
                f"log {log.name} came to position {found} in its restore, wanted {last}: stop whoever publishes and start again",
                wanted=last,
                found=found,
            )


async def _send(log: Log, parcels: list[Parcel]) -> bool:
    connection = log.connection
    inbox = connection.new_inbox()
    answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def receive(subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if not answer.done():
            answer.set_result((status_of(header), payload))

    listener = await connection.listen(inbox, receive)
    try:
        connection.write(batch_frames(parcels, inbox.encode()))
        async with asyncio.timeout(ANSWER_TIMEOUT):
            status, payload = await answer
    except TimeoutError:
        return False
    finally:
        await listener.close()
    if status or not payload:
        return False
    ack = decode_ack(payload)
    if ack.error is not None and ack.error.code == 400 and ack.error.err_code not in (10071, 10164):
        raise Misuse(f"the log refuses an event of its archive: {ack.error.description} ({ack.error.err_code})")
    return ack.error is None
