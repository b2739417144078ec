"""The source of lanes that are not in memory: a snapshot, if there is a fitting one, and the log behind it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import structlog

from bus.connection import ApiError, pub
from bus.errors import WorldbusError
from bus.event import Event
from bus.handler import Handler, Subsystem
from bus.lane import Lane
from bus.log import SNAPSHOT_ROOT, Log
from bus.quarantine import QUARANTINE, code_of
from bus.rules import rules
from bus.subjects import stored_filter
from bus.waiting import Waiting, WaitingInputs
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked

log = structlog.get_logger(__name__)
ROOM = 1024  # bytes for subject and headers
MOST_WAITING = 20_000  # inputs; a lane in which more wait is folded from the log instead of filling snapshots


FORMAT = 2  # of a snapshot


class _Stamp(msgspec.Struct):
    """The beginning of every snapshot, whatever release wrote it."""

    fingerprint: str


class _Snapshot(msgspec.Struct):
    fingerprint: str
    position: int
    done: dict[int, int]
    waiting: list[Waiting]
    cause: str
    state: msgspec.Raw


def fingerprint(handler: Handler[Any]) -> str:
    """Changes whenever a state folded by today's rules might differ: with any rule or content table that the handler can reach."""
    return f"{FORMAT}-{rules(handler)}"


def _shape(handler: Handler[Any]) -> Any:
    """Any first state; none of a handler that has no such state for this name. Its lanes are folded from the log then."""
    try:
        return handler.initial("shape")
    except Exception:
        return None


class LogLaneStore:
    """Lanes of one handler, folded from the log. Snapshots shorten the fold and are never the truth: what does not fit is ignored."""

    def __init__(self, log_: Log, handler: Subsystem) -> None:
        self._log = log_
        self._handler = handler
        self._state_types: dict[str, Any] = {}  # by fingerprint

    async def load(self, lane: Lane[Any], *, at_least: int) -> None:
        """Bring `lane` up to date, at least to position `at_least`. Raises `Transient` while the log cannot be read."""
        faulty, doubtful = lane.fault is not None, lane.loaded or lane.position > 0
        snapshot = False
        if lane.position == 0 and not lane.loaded and lane.snapshots:
            snapshot = await self._from_snapshot(lane)
        fits = await self._extend(lane, at_least, snapshot=snapshot)
        fault = lane.fault
        if not fits or (fault is not None and not faulty and lane.snapshots and (snapshot or doubtful)):
            # Perhaps the fault of the snapshot, the one read just now or that from which the lane in memory came: the log is the truth.
            lane.snapshots = False
            lane.forget()
            await self._extend(lane, at_least)
            if lane.fault is None:
                error = str(fault or "the log does not have the event with which it ends")
                log.warning("snapshot_ignored", handler=self._handler.name, lane=lane.entity, error=error)

    async def _extend(self, lane: Lane[Any], at_least: int, *, snapshot: bool = False) -> bool:
        """Fold what the log has behind the lane's position. False: the log does not have the event with which a snapshot ends."""
        last = lane.position if snapshot else 0
        async for events in self._log.lane_pages(lane.filter, after=lane.position - snapshot, at_least=at_least):
            if last and events[0].position != last:
                return False
            last = 0
            lane.extend(events)
        return not last

    async def quarantined(self, partition: int) -> list[tuple[str, str]]:
        """The lanes (world, entity) of a partition in which an input was last parked because its lane could not be folded."""
        parked = stored_filter(partition=partition, subsystem=self._handler.name, name=EventParked.DESCRIPTOR.name)
        found = [event for event in await self._log.last_of_each(parked) if self._handler.played.has(event.world)]
        return [(event.world, event.entity) for event in found if code_of(event) in QUARANTINE]

    async def input_at(self, position: int) -> Event:
        """The event at a position of the log."""
        return await self._log.get(position)

    def save(self, lane: Lane[Any]) -> None:
        """Keep a snapshot, without waiting for it."""
        if lane.group is not None or not lane.loaded or lane.fault is not None:
            return
        lane.unsnapped = 0  # also after a failure: the next try is due after as many events again
        if len(lane.waiting) > MOST_WAITING:
            return
        try:
            state = msgspec.Raw(msgspec.msgpack.encode(lane.state))
            raw = msgspec.msgpack.encode(
                _Snapshot(fingerprint(lane.handler), lane.position, lane.done, list(lane.waiting), lane.cause, state)
            )
            if len(raw) > self._log.connection.max_payload - ROOM:
                raise ValueError(f"{len(raw)} bytes are more than the server takes in one message")
            self._log.connection.write(pub(self._subject(lane).encode(), b"", raw))
        except Exception as error:  # whatever is in the state: losing a snapshot loses nothing
            log.warning("snapshot_not_kept", handler=self._handler.name, lane=lane.entity, error=str(error))

    def _state_type(self, handler: Handler[Any]) -> Any:
        of = fingerprint(handler)
        if of not in self._state_types:
            self._state_types[of] = type(_shape(handler))
        return self._state_types[of]

    def _subject(self, lane: Lane[Any]) -> str:
        return f"{SNAPSHOT_ROOT}.lane.{self._handler.name}.{lane.world}.{lane.entity}"

    async def _from_snapshot(self, lane: Lane[Any]) -> bool:
        raw = await self._read(self._subject(lane))
        if not raw:
            return False
        try:
            if msgspec.msgpack.decode(raw, type=_Stamp).fingerprint != fingerprint(lane.handler):
                return False
            snapshot = msgspec.msgpack.decode(raw, type=_Snapshot)
            state = msgspec.msgpack.decode(snapshot.state, type=self._state_type(lane.handler))
            waiting = WaitingInputs(snapshot.waiting)
        except Exception as error:  # whatever a release or a disk made of it: the log is the truth
            log.warning("snapshot_ignored", handler=self._handler.name, lane=lane.entity, error=str(error))
            return False
        lane.state, lane.position, lane.done = state, snapshot.position, snapshot.done
        lane.waiting, lane.cause = waiting, snapshot.cause
        return True

    async def _read(self, subject: str) -> bytes:
        try:
            answer = await self._log.connection.request(
                f"$JS.API.DIRECT.GET.{self._log.config.snapshots}", json.dumps({"last_by_subj": subject}).encode()
            )
        except (ApiError, WorldbusError):
            return b""
        return answer
