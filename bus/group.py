"""Groups: several events that are recorded together or not at all, as one atomic batch of the log, each lane where it was expected.

The server checks one expected position on each message of a batch, against the log as it was before the batch, and none of them on a
message that it does not store. So a group carries as many expectations as it has events; an expectation of a lane that the group only read
travels on an event of another lane. (Found on nats-server 2.15.1; tests/integration/bus/test_group.py holds us to it.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus import lookup
from bus.answers import status_of
from bus.connection import ApiError, Connection, Listener
from bus.errors import BadEvent, Conflict, Disconnected, NoLog, PermissionDenied, TooLarge, Transient, Unknown, WorldbusError
from bus.event import Draft
from bus.group_commit import ATOMIC_DUPLICATE, MAX_BATCH, WRONG_LAST_SEQUENCE, batch_frames, decode_ack
from bus.log import READ_BATCH, Log
from bus.publication import Parcel, fence_lines
from bus.subjects import LaneName

PAUSE: Final = 0.05  # seconds before another try


@dataclass(frozen=True, slots=True)
class Group:
    """Drafts that keep every rule, and where the lanes are expected that they depend on."""

    ids: tuple[str, ...]
    lanes: tuple[LaneName, ...]
    """Of each event."""
    parcels: tuple[Parcel, ...]
    fenced: tuple[Parcel, ...]
    """The messages to be sent: the parcels, with the expectations."""
    expected: Mapping[LaneName, int]

    @classmethod
    def of(cls, drafts: Sequence[Draft], parcels: Sequence[Parcel], expected: Mapping[LaneName, int], partitions: int) -> Group:
        """Raises `BadEvent` for a group that the log cannot take, `BadSubject` for a lane that cannot be."""
        ids, lanes = tuple(draft.id for draft in drafts), tuple(draft.subject.lane for draft in drafts)
        if len(parcels) > MAX_BATCH:
            raise TooLarge(
                f"group of {len(parcels)} events, wanted at most {MAX_BATCH}: split it",
                code="BATCH_TOO_LARGE",
                limit=MAX_BATCH,
                found=len(parcels),
            )
        if len(set(ids)) < len(ids):
            raise BadEvent("two events of the group have the same id: give each its own", code="DUPLICATE_ID")
        return cls(ids, lanes, tuple(parcels), tuple(_fenced(lanes, parcels, expected, partitions)), expected)


def _fenced(lanes: Sequence[LaneName], parcels: Sequence[Parcel], expected: Mapping[LaneName, int], partitions: int) -> Sequence[Parcel]:
    """Each expectation on a parcel of its own: of its lane if there is one, else on one that carries none."""
    if len(expected) > len(parcels):
        raise BadEvent(
            f"wanted at most one expected position for each event of a group, found {len(expected)} for {len(parcels)}: "
            "record what was read as an event of its own, or expect fewer lanes",
            code="TOO_MANY_EXPECTED",
            limit=len(parcels),
            found=len(expected),
        )
    own = {lane: lanes.index(lane) for lane in expected if lane in lanes}
    free = (index for index in range(len(parcels)) if index not in own.values())
    sent = list(parcels)
    for lane, position in expected.items():
        index = own[lane] if lane in own else next(free)
        sent[index] = sent[index]._replace(lines=sent[index].lines + fence_lines(lane.stored(partitions), position))
    return sent


class Groups:
    """Sends groups through an inbox of its own. A group without an answer is sent again, as a whole, with the same ids.

    `admits` says whether anything may be sent now.
    """

    def __init__(self, connection: Connection, log: Log, answer_timeout: float, admits: Callable[[], bool]) -> None:
        self._connection = connection
        self._log = log
        self._answer_timeout = answer_timeout
        self._admits = admits
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

    async def publish(self, group: Group, deadline: float) -> list[int]:
        """The positions of the recorded group; see `Publisher.publish_group` for the promises. `deadline` is seconds from now."""
        end = self._loop.time() + deadline
        tries = refusals = 0
        refused: WorldbusError | None = None
        while (left := end - self._loop.time()) > 0:
            try:
                answer = await self._send(group, min(left, self._answer_timeout))
                tries += 1
                verdict = await self._judge(answer, group)
                if not isinstance(verdict, WorldbusError):
                    return verdict
                refusals, refused = refusals + 1, verdict
            except Disconnected:
                pass  # not sent
            except Transient:
                tries += 1
            await asyncio.sleep(PAUSE)
        if tries == 0:
            raise Disconnected(f"group of {len(group.ids)} events was not sent within {deadline:g} s: publish it again")
        if refused is not None and refusals == tries:
            raise refused
        events = f"group of {len(group.ids)} events"
        raise Unknown(f"{events} may be in the log or not, no answer within {deadline:g} s: publish it again with the same ids")

    async def _send(self, group: Group, answer_timeout: float) -> tuple[int, bytes]:
        if not self._admits():
            raise Disconnected(f"connection {self._connection.name!r} to NATS has just come back: retry")
        self._number += 1
        reply = b"%b%d" % (self._prefix, self._number)
        future: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._connection.write(batch_frames(group.fenced, reply))
        self._waiting[reply] = frozenset(parcel.subject for parcel in group.parcels), future
        try:
            async with asyncio.timeout(answer_timeout):
                return await future
        except (Disconnected, TimeoutError) as error:
            raise Unknown("no answer") from error
        finally:
            del self._waiting[reply]

    async def _judge(self, answer: tuple[int, bytes], group: Group) -> list[int] | WorldbusError:
        """The positions, or why the log does not take it at the moment."""
        payload = answer[1]
        if not payload:
            return no_log(group.parcels[-1].subject, self._log.name)
        ack = decode_ack(payload)
        if ack.error is None:
            return list(range(ack.seq - len(group.ids) + 1, ack.seq + 1))
        if ack.error.err_code == ATOMIC_DUPLICATE:
            return await lookup.group(self._log, group.ids, group.parcels)
        words = f"{ack.error.description} ({ack.error.err_code})"
        if ack.error.err_code in WRONG_LAST_SEQUENCE:
            return await self._moved(group) or Transient(
                f"the log has another write to a lane of the group under way: {words}; publish it again"
            )
        if ack.error.code == 400:
            raise ApiError("group", {"description": ack.error.description, "code": 400, "err_code": ack.error.err_code})
        return Transient(f"the log cannot store the group now: {words}; publish it again with the same ids", err_code=ack.error.err_code)

    async def _moved(self, group: Group) -> list[int]:
        """The positions if an earlier sending of this group, or an earlier call, is what moved its lanes; nothing if all are as expected.

        Raises `Conflict` with the first lane that is elsewhere, `IdReused` if what moved it is another event under an id of ours.
        """
        moved: Conflict | None = None
        for lane, expected in group.expected.items():
            last = await self._log.last(lane.stored(self._log.partitions))
            found = last.position if last is not None else 0
            if found == expected:
                continue
            moved = moved or lookup.conflict(lane, expected, found)
            # Had the group been stored, its event would be the very next one of a lane that it expected there.
            if lane in group.lanes and (positions := await self._recognise(group, lane, expected, most=1)):
                return positions
        if moved is None:
            return []
        if not any(lane in group.lanes for lane in group.expected) and (
            positions := await self._recognise(group, group.lanes[0], max(group.expected.values()))
        ):
            return positions
        raise moved

    async def _recognise(self, group: Group, lane: LaneName, after: int, most: int = READ_BATCH) -> list[int]:
        """The group's positions, if its first event of the lane is among the next ones behind `after`."""
        index = group.lanes.index(lane)
        for event in await self._log.read_lane(lane.stored(self._log.partitions), after=after, most=most):
            if lookup.id_of(event) == group.ids[index]:
                if positions := await lookup.group_at(self._log, group.parcels, event.position - index):
                    return positions
                raise lookup.id_reused(group.ids[index], event, group.parcels[index])
        return []


def no_log(subject: bytes, name: str) -> NoLog:
    """The error for a subject that nobody stores."""
    return NoLog(f"no stream takes {subject.decode()}: is log {name} there, and its server started?", subject=subject.decode())


def last_number(text: str) -> int:
    """The number that ends the server's `wrong last sequence: 7`, 0 if it does not say."""
    word = text.rpartition(" ")[2]
    return int(word) if word.isdigit() else 0
