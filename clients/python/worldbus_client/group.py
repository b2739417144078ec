"""Groups: events that are recorded together or not at all, each lane where it was expected, as one atomic batch of the log.

The server checks one expected position on each message of a batch, so a group expects as many lanes as it has events, those that it only
read included. A group without an answer is sent again as a whole; what the log has of it already is recognised by its ids and bytes.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import betterproto2
from nats.aio.client import Client as Nats
from nats.errors import MaxPayloadError

from worldbus_client.envelope import Parcel, pack
from worldbus_client.errors import BadEvent, ClientError, Conflict, NotConnected, Refused, Unknown
from worldbus_client.received import id_of
from worldbus_client.rules import check_token

if TYPE_CHECKING:
    from worldbus_client.link import Link

MOST: Final = 1000  # events in a group
BACK_OFF_S: Final = 0.1
LOOK_S: Final = 5.0  # for one look into the log
MEMORY: Final = timedelta(minutes=5)  # more than the two in which the log remembers ids
DUPLICATE: Final = 10201
WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
PASSES: Final = frozenset({408, 429, 500, 503})  # codes of answers that pass
_PARTITIONS: Final = re.compile(r"\{\{partition\((\d+),")


@dataclass(frozen=True)
class Draft:
    """One event of a group. `id`: your own, so that a retry after a crash is recorded once; else a fresh one. `time_ns`: nanoseconds since
    1970; else now.
    """

    entity: str
    event: betterproto2.Message
    id: str = ""
    cause: str = ""
    correlation: str = ""
    time_ns: int = 0


class Lane(NamedTuple):
    """The events of one subsystem about one entity."""

    subsystem: str
    entity: str


class Stored(NamedTuple):
    """A message of the log."""

    position: int
    data: bytes


class Group(NamedTuple):
    """Checked, and ready to be sent: each expectation has a parcel that carries it."""

    world: str
    parcels: tuple[Parcel, ...]
    lanes: tuple[Lane, ...]
    """Of each event."""
    expected: Mapping[Lane, int]
    carriers: Mapping[int, Lane]
    """Lanes, and the event on which the expectation of each travels."""


def group_of(world: str, subsystem: str, drafts: Sequence[Draft], expected: Mapping[Lane | str, int]) -> Group:
    """Check and encode a group. Raises `BadEvent`."""
    if not 1 <= len(drafts) <= MOST:
        raise BadEvent(f"wanted a group of 1 to {MOST} events, found {len(drafts)}: split it")
    parcels = tuple(
        pack(world, subsystem, one.entity, one.event, id=one.id, cause=one.cause, correlation=one.correlation, time_ns=one.time_ns)
        for one in drafts
    )
    if len({one.id for one in parcels}) < len(parcels):
        raise BadEvent("two events of the group have the same id: give each its own")
    lanes = tuple(Lane(subsystem, one.entity) for one in drafts)
    where = {Lane(subsystem, lane) if isinstance(lane, str) else Lane(*lane): position for lane, position in expected.items()}
    for lane, position in where.items():
        check_token(lane.subsystem, "subsystem")
        check_token(lane.entity, "entity")
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 2**63:
            raise BadEvent(f"expected position of {'/'.join(lane)} must be a whole number, 0 for a lane without events, found {position!r}")
    if len(where) > len(parcels):
        raise BadEvent(
            f"wanted at most one expected position for each event of a group, found {len(where)} for {len(parcels)}: "
            "record what was read as an event of its own, or expect fewer lanes"
        )
    own = {lanes.index(lane): lane for lane in where if lane in lanes}
    free = (index for index in range(len(parcels)) if index not in own)
    return Group(world, parcels, lanes, where, own | {next(free): lane for lane in where if lane not in lanes})


class Groups:
    """Sends groups, on the link's thread."""

    def __init__(self, link: Link, answer_timeout: float, give_up: float) -> None:
        self._link = link
        self._answer_timeout = answer_timeout
        self._give_up = give_up
        self._partitions = 0

    async def publish(self, group: Group) -> list[int]:
        """The positions of the recorded group. Raises as `Client.publish_group`."""
        until = time.monotonic() + self._give_up
        sent = False
        try:
            while (left := until - time.monotonic()) > 0:
                if self._link.trouble:
                    raise Unknown(self._link.trouble) if sent else Refused(self._link.trouble)
                link = self._link.connection
                if link is not None and not link.is_closed:
                    try:
                        fences = await self._fences(link, group)
                        sent = True
                        answer = await self._send(link, group, fences, min(left, self._answer_timeout))
                        if positions := await self._judge(link, group, answer):
                            self._link.acknowledged(positions[-1])
                            return positions
                    except ClientError:
                        raise
                    except MaxPayloadError as error:
                        raise Refused(f"the server does not take an event of the group ({error}): send a reference instead") from error
                    except Exception:  # the connection broke, or nobody answers at the moment
                        await asyncio.sleep(BACK_OFF_S)
                await asyncio.sleep(BACK_OFF_S)
        except asyncio.CancelledError:
            if sent:
                raise Unknown("the client was closed before the log answered the group") from None
            raise
        if sent:
            words = f"a group of {len(group.parcels)} events has no answer of the log; publish it again with the same ids to be sure"
            raise Unknown(words + self._link.objection)
        raise NotConnected("the log was away for too long; the group was not sent")

    async def _fences(self, link: Nats, group: Group) -> dict[Lane, str]:
        """The filter over stored subjects of each lane that is expected, and of the first event's."""
        if not self._partitions:
            info = json.loads((await link.request(f"$JS.API.STREAM.INFO.{self._link.log}", b"", timeout=LOOK_S)).data)
            found = _PARTITIONS.search(info["config"]["subject_transform"]["dest"])
            if found is None:
                raise Refused(f"stream {self._link.log} is no log of worldbus: it has no partitions")
            self._partitions = int(found[1])
        return {lane: lane_filter(group.world, lane, self._partitions) for lane in (*group.expected, *group.lanes)}

    async def _send(self, link: Nats, group: Group, fences: Mapping[Lane, str], answer_timeout: float) -> dict[str, Any]:
        batch, last = secrets.token_hex(16), len(group.parcels) - 1
        for index, parcel in enumerate(group.parcels):
            headers = {"Nats-Msg-Id": parcel.id, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(index + 1)}
            if (lane := group.carriers.get(index)) is not None:
                headers["Nats-Expected-Last-Subject-Sequence"] = str(group.expected[lane])
                headers["Nats-Expected-Last-Subject-Sequence-Subject"] = fences[lane]
            if index < last:
                await link.publish(parcel.subject, parcel.payload, headers=headers)
        headers["Nats-Batch-Commit"] = "1"
        reply = await link.request(group.parcels[last].subject, group.parcels[last].payload, timeout=answer_timeout, headers=headers)
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    async def _judge(self, link: Nats, group: Group, answer: dict[str, Any]) -> list[int]:
        """The positions, or nothing to try again."""
        error = answer.get("error")
        if error is None:
            last = int(answer["seq"])
            return list(range(last - len(group.parcels) + 1, last + 1))
        if error.get("err_code") == DUPLICATE:
            return await self._repeated(link, group)
        if error.get("err_code") in WRONG_LAST_SEQUENCE:
            return await self._moved(link, group)
        if error.get("code", 503) in PASSES:
            return []
        raise Refused(f"the log does not take the group: {error.get('description', error)}")

    async def _repeated(self, link: Nats, group: Group) -> list[int]:
        """The positions of a group of which the log says that it knows an id."""
        since = (datetime.now(UTC) - MEMORY - timedelta(hours=1)).isoformat()  # the log's clock may differ from ours
        fences = await self._fences(link, group)
        for index, lane in enumerate(group.lanes):
            if lane in group.lanes[:index]:
                continue
            body: dict[str, Any] = {"start_time": since}
            async for message in self._walk(link, body, fences[lane]):
                known = id_of(message.data)
                at = next((number for number, parcel in enumerate(group.parcels) if parcel.id == known), None)
                if at is not None:
                    return await self._whole(link, group, message.position - at, known)
        raise Refused(f"an id of the group that begins with {group.parcels[0].id} is taken by another event; nothing was recorded")

    async def _moved(self, link: Nats, group: Group) -> list[int]:
        """The positions of the group, if it is what moved its lanes itself; nothing if none has moved. Raises `Conflict`."""
        fences = await self._fences(link, group)
        conflict: Conflict | None = None
        for lane, expected in group.expected.items():
            last = await self._one(link, {"last_by_subj": fences[lane]})
            found = 0 if last is None else last.position
            if found == expected:
                continue
            conflict = conflict or Conflict(lane.subsystem, lane.entity, expected, found)
            if lane in group.lanes:  # had it been stored, its event would be the very next one of the lane
                index = group.lanes.index(lane)
                behind = await self._one(link, {"seq": expected + 1, "next_by_subj": fences[lane]})
                if behind is not None and id_of(behind.data) == group.parcels[index].id:
                    return await self._whole(link, group, behind.position - index, group.parcels[index].id)
        if conflict is None:
            return []
        if not any(lane in group.lanes for lane in group.expected):
            own = fences[group.lanes[0]]
            async for message in self._walk(link, {"seq": max(group.expected.values()) + 1}, own):
                if id_of(message.data) == group.parcels[0].id:
                    return await self._whole(link, group, message.position, group.parcels[0].id)
        raise conflict

    async def _whole(self, link: Nats, group: Group, first: int, known: str) -> list[int]:
        """The positions of the group, whose first event would be at `first`. Raises `Refused` if another one has its ids."""
        positions = list(range(first, first + len(group.parcels)))
        for position, parcel in zip(positions, group.parcels, strict=True):
            held = await self._one(link, {"seq": position}) if first > 0 else None
            if held is None or held.data != parcel.payload:
                raise Refused(f"id {known} is taken by another event; nothing was recorded")
        return positions

    async def _walk(self, link: Nats, body: dict[str, Any], subject: str) -> AsyncIterator[Stored]:
        """Every message from there on, in the order of the log."""
        while (message := await self._one(link, {**body, "next_by_subj": subject})) is not None:
            yield message
            body = {"seq": message.position + 1}

    async def _one(self, link: Nats, body: dict[str, Any]) -> Stored | None:
        """The message, or nothing if there is none. One at a time: whoever may ask for several (`DIRECT.GET`) may write any event."""
        reply = await link.request(f"$JS.API.STREAM.MSG.GET.{self._link.log}", json.dumps(body).encode(), timeout=LOOK_S)
        answer = json.loads(reply.data)
        if error := answer.get("error"):
            if error.get("code") == 404:
                return None
            raise ConnectionError(f"the log cannot be read at the moment ({error.get('description', error)})")
        return Stored(int(answer["message"]["seq"]), b64decode(answer["message"].get("data", "")))


def lane_filter(world: str, lane: Lane, partitions: int) -> str:
    """The filter over stored subjects of a lane; its partition is FNV-1a (32 bit) over world and entity, as the server computes it."""
    digest = 2166136261
    for byte in (world + lane.entity).encode():
        digest = ((digest ^ byte) * 16777619) & 0xFFFFFFFF
    return f"evt.{digest % partitions}.{world}.{lane.subsystem}.{lane.entity}.*"
