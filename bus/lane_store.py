"""Where lanes come from when they are not in memory: a snapshot, if there is a fitting one, and the log behind it."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

import msgspec
import structlog

from bus.connection import ApiError, pub
from bus.errors import Disconnected, WorldbusError
from bus.event import Event
from bus.handler import Handler
from bus.lane import Lane, Waiting
from bus.log import SNAPSHOT_ROOT, Log

log = structlog.get_logger(__name__)
ROOM = 1024  # bytes for subject and headers


class _Snapshot(msgspec.Struct):
    fingerprint: str
    position: int
    done: dict[int, int]
    waiting: list[tuple[int, int]]
    state: msgspec.Raw


def fingerprint(handler: Handler[Any]) -> str:
    """Changes whenever a state folded by today's rules might differ: handler version, its module's source, its state's shape."""
    module = inspect.getmodule(handler.evolve)
    try:
        source = inspect.getsource(module) if module is not None else ""
    except OSError:
        source = ""
    shape = repr(handler.initial("shape"))
    return hashlib.sha256(f"{handler.version}\n{source}\n{shape}".encode()).hexdigest()[:16]


class LogLaneStore:
    """Lanes of one handler, folded from the log. Snapshots shorten the fold and are never the truth: what does not fit is ignored."""

    def __init__(self, log_: Log, handler: Handler[Any]) -> None:
        self._log = log_
        self._handler = handler
        self._fingerprint = fingerprint(handler)
        self._state_type = type(handler.initial("shape"))

    async def load(self, lane: Lane[Any], *, at_least: int) -> None:
        """Bring `lane` up to date, at least to position `at_least`. Raises `Transient` while the log cannot be read."""
        if not lane.loaded and lane.position == 0:
            await self._from_snapshot(lane)
        lane.extend(await self._log.read_lane(lane.filter, after=lane.position, at_least=at_least))

    async def input_at(self, position: int) -> Event:
        """The event at a position of the log."""
        return await self._log.get(position)

    def save(self, lane: Lane[Any]) -> None:
        """Keep a snapshot, without waiting for it."""
        if lane.group is not None or not lane.loaded:
            return
        try:
            state = msgspec.Raw(msgspec.msgpack.encode(lane.state))
            waiting = [(one.partition, one.position) for one in lane.waiting]
            raw = msgspec.msgpack.encode(_Snapshot(self._fingerprint, lane.position, lane.done, waiting, state))
            if len(raw) > self._log.connection.max_payload - ROOM:
                raise ValueError(f"{len(raw)} bytes are more than the server takes in one message")
            self._log.connection.write(pub(self._subject(lane).encode(), b"", raw))
        except (Disconnected, TypeError, ValueError) as error:
            log.warning("snapshot_not_kept", handler=self._handler.name, lane=lane.entity, error=str(error))
        lane.unsnapped = 0  # also after a failure: the next try is due after as many events again

    def _subject(self, lane: Lane[Any]) -> str:
        return f"{SNAPSHOT_ROOT}.lane.{self._handler.name}.{lane.world}.{lane.entity}"

    async def _from_snapshot(self, lane: Lane[Any]) -> None:
        raw = await self._read(self._subject(lane))
        if not raw:
            return
        try:
            snapshot = msgspec.msgpack.decode(raw, type=_Snapshot)
            if snapshot.fingerprint != self._fingerprint:
                return
            state = msgspec.msgpack.decode(snapshot.state, type=self._state_type)
        except (msgspec.DecodeError, TypeError) as error:
            log.warning("snapshot_ignored", handler=self._handler.name, lane=lane.entity, error=str(error))
            return
        lane.state, lane.position, lane.done = state, snapshot.position, dict(snapshot.done)
        lane.waiting = [Waiting(*one) for one in snapshot.waiting]

    async def _read(self, subject: str) -> bytes:
        try:
            answer = await self._log.connection.request(
                f"$JS.API.DIRECT.GET.{self._log.config.snapshots}", json.dumps({"last_by_subj": subject}).encode()
            )
        except (ApiError, WorldbusError):
            return b""
        return answer
