"""Groups: several events that are recorded together or not at all, as one atomic batch of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bus import lookup
from bus.answers import status_of
from bus.connection import ApiError, Connection, Listener
from bus.errors import BadEvent, Disconnected, NoLog, PermissionDenied, TooLarge, Transient, Unknown, WorldbusError
from bus.group_commit import ATOMIC_DUPLICATE, MAX_BATCH, PubAck, batch_frames, decode_ack
from bus.log import Log
from bus.publication import Parcel, fence_lines

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
PAUSE = 0.05  # seconds before another try


class Groups:
    """Sends groups through an inbox of its own. A group without an answer is sent again, as a whole, with the same ids."""

    def __init__(self, connection: Connection, log: Log, answer_timeout: float) -> None:
        self._connection = connection
        self._log = log
        self._answer_timeout = answer_timeout
        self._prefix = f"{connection.new_inbox()}.".encode()
        self._number = 0
        self._waiting: dict[bytes, tuple[frozenset[bytes], asyncio.Future[tuple[int, bytes]]]] = {}
        self._listener: Listener | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Listen for answers."""
        self._listener = await self._connection.listen(f"{self._prefix.decode()}*", self._on_answer)

    async def aclose(self) -> None:
        """Stop listening; groups on their way end as `Unknown`."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        self.forget()

    def forget(self) -> None:
        """The connection broke: no answer will come to what is on its way."""
        self._fail(lambda subjects: True, Disconnected("the connection broke before the log answered"))

    def denied(self, reason: str) -> None:
        """The server refused a subject."""
        self._fail(
            lambda subjects: any(f'"{subject.decode().lower()}"' in reason for subject in subjects),
            PermissionDenied(f"these credentials may not publish a subject of the group: {reason}"),
        )

    def _fail(self, concerns: Callable[[frozenset[bytes]], bool], error: WorldbusError) -> None:
        for subjects, future in self._waiting.values():
            if concerns(subjects) and not future.done():
                future.set_exception(error)

    def _on_answer(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        waiting = self._waiting.get(subject)
        if waiting is not None and not waiting[1].done():
            waiting[1].set_result((status_of(header), payload))

    async def publish(self, ids: Sequence[str], parcels: Sequence[Parcel], fence: str, expected: int, deadline: float) -> list[int]:
        """The positions of the recorded group; see `Publisher.publish_group` for the promises. `deadline` is seconds from now."""
        if len(parcels) > MAX_BATCH:
            raise TooLarge(
                f"group of {len(parcels)} events, wanted at most {MAX_BATCH}: split it",
                code="BATCH_TOO_LARGE",
                limit=MAX_BATCH,
                found=len(parcels),
            )
        if len(set(ids)) < len(ids):
            raise BadEvent("two events of the group have the same id: give each its own", code="DUPLICATE_ID")
        sent = list(parcels)
        if fence:
            sent[0] = sent[0]._replace(lines=sent[0].lines + fence_lines(fence, expected))
        end = self._loop.time() + deadline
        tries = refusals = 0
        refused: WorldbusError | None = None
        while (left := end - self._loop.time()) > 0:
            try:
                answer = await self._send(sent, min(left, self._answer_timeout))
                tries += 1
                positions = await self._judge(answer, ids, parcels, fence, expected, again=tries > 1)
                if positions:
                    return positions
                refusals, refused = refusals + 1, no_log(parcels[-1].subject, self._log.name)
            except Disconnected:
                pass  # not sent
            except Transient:
                tries += 1
            await asyncio.sleep(PAUSE)
        if tries == 0:
            raise Disconnected(f"group of {len(ids)} events was not sent within {deadline:g} s: publish it again")
        if refused is not None and refusals == tries:
            raise refused
        raise Unknown(
            f"group of {len(ids)} events may be in the log or not, no answer within {deadline:g} s: publish it again with the same ids"
        )

    async def _send(self, parcels: list[Parcel], answer_timeout: float) -> tuple[int, bytes]:
        self._number += 1
        reply = b"%b%d" % (self._prefix, self._number)
        future: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._connection.write(batch_frames(parcels, reply))
        self._waiting[reply] = frozenset(parcel.subject for parcel in parcels), future
        try:
            async with asyncio.timeout(answer_timeout):
                return await future
        except (Disconnected, TimeoutError) as error:
            raise Unknown("no answer") from error
        finally:
            del self._waiting[reply]

    async def _judge(
        self, answer: tuple[int, bytes], ids: Sequence[str], parcels: Sequence[Parcel], fence: str, expected: int, *, again: bool
    ) -> list[int]:
        """The positions, or nothing to try again."""
        payload = answer[1]
        if not payload:
            return []
        ack = decode_ack(payload)
        if ack.error is None:
            return list(range(ack.seq - len(ids) + 1, ack.seq + 1))
        if ack.error.err_code == ATOMIC_DUPLICATE:
            return await lookup.group(self._log, ids, parcels)
        if ack.error.err_code in WRONG_LAST_SEQUENCE:
            return await self._conflict(ack, parcels, fence, expected, again=again)
        if ack.error.code == 400:
            raise ApiError("group", {"description": ack.error.description, "code": 400, "err_code": ack.error.err_code})
        return []

    async def _conflict(self, ack: PubAck, parcels: Sequence[Parcel], fence: str, expected: int, *, again: bool) -> list[int]:
        assert ack.error is not None
        found = last_number(ack.error.description)
        if again:  # the first sending may be what moved the lane on
            first = await lookup.behind(self._log, fence, expected, found, parcels[0])
            if first:
                return list(range(first, first + len(parcels)))
        raise lookup.conflict(fence, expected, found)


def no_log(subject: bytes, name: str) -> NoLog:
    """The error for a subject that nobody stores."""
    return NoLog(f"no stream takes {subject.decode()}: is log {name} there, and its server started?", subject=subject.decode())


def last_number(text: str) -> int:
    """The number that ends the server's `wrong last sequence: 7`, 0 if it does not say."""
    word = text.rpartition(" ")[2]
    return int(word) if word.isdigit() else 0
