"""A process's report about itself: the parts of a world that it runs, and the state of each.

It travels in heartbeats (`bus.membership`). The other members need two fields of it; the rest is for operators, and sent when one asks.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

MS = 1_000_000  # nanoseconds
REASON = 300  # characters of a reason that are sent


class Hold(msgspec.Struct, array_like=True, frozen=True):
    """A partition that falls to a member."""

    partition: int  # -1: what the operator asks of lanes
    since_ms: int  # since when it does, Unix time
    open: int  # inputs that were delivered and have no answer yet
    oldest_ms: int  # when the first of those was recorded, Unix time; 0 without one
    settled: int  # every input up to this position has its answer; 0 if nothing was delivered since
    active: bool  # whether it reads it now: it stands by while there is nothing to read, or while another member still reads it
    received: int = 0  # position of the last input delivered to it since it began to read; 0: none, or its release does not say
    pin: str = ""  # by which the server knows it; empty: its release does not say


class HandlerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one handler of a member."""

    name: str
    holds: list[Hold] = []
    decided: int = 0  # decisions since the process started
    position: int = 0  # of the input that was decided last
    decided_ms: int = 0  # when that was, Unix time


class PartReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of another part of a process: its projector, ticker, gateway, a worker."""

    name: str
    state: str = ""  # one word or two: works, stands by, waits …
    reason: str = ""
    since_ms: int = 0  # since when it stands so, Unix time
    position: int = 0  # how far it is in the log, where that means something
    moved_ms: int = 0  # when that moved last, Unix time


class Heartbeat(msgspec.Struct, omit_defaults=True):
    """A sign of life. Older releases send the first three fields; nobody minds the others."""

    member: str
    handlers: list[str]
    leaving: bool = False
    host: str = ""
    pid: int = 0
    version: str = ""
    started_ms: int = 0  # Unix time
    health: list[str] = []  # reasons why it is not well; none: it is
    game: str = ""  # that it plays
    worlds: list[str] = []  # that its game plays; none: every world
    asked: str = ""  # the question that this answers; `reports` and `parts` are sent with an answer only
    more: bool = False  # the answer goes on in the next message
    reports: list[HandlerReport] = []
    parts: list[PartReport] = []


class Ill(Protocol):
    """The source of the reasons why a process is not well."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason; none: all is well."""


class Part:
    """One part of this process, as it stands now. Whoever runs the part tells it."""

    def __init__(self, name: str, probe: Callable[[], tuple[str, str]] | None = None) -> None:
        """`probe` gives state and reason when somebody asks, in place of `stands`."""
        self.name = name
        self._probe = probe
        self._state, self._reason = "starts", ""
        self._since_ms = _now_ms()
        self._position = self._moved_ms = 0

    def stands(self, state: str, reason: str = "") -> None:
        """Note how it stands from now on."""
        if state != self._state:
            self._since_ms = _now_ms()
        self._state, self._reason = state, reason

    def moved(self, position: int) -> None:
        """Note how far it is."""
        self._position, self._moved_ms = position, _now_ms()

    @property
    def state(self) -> str:
        """The present state."""
        return self._state

    @property
    def ran(self) -> bool:
        """True once it has moved."""
        return self._moved_ms > 0

    def report(self) -> PartReport:
        """The report for a heartbeat or an answer, made now."""
        if self._probe is not None:
            self.stands(*self._probe())
        return PartReport(self.name, self._state, self._reason[:REASON], self._since_ms, self._position, self._moved_ms)


class Presence:
    """The facts about this process for its heartbeats."""

    def __init__(self, version: str = "", health: Ill | None = None) -> None:
        self.host = socket.gethostname()
        self.pid = os.getpid()
        self.version = version
        self.started_ms = _now_ms()
        self.health = health
        self.game = ""
        self.worlds: list[str] = []
        self._parts: dict[str, Part] = {}

    @contextmanager
    def part(self, name: str, probe: Callable[[], tuple[str, str]] | None = None) -> Iterator[Part]:
        """A part that runs for the block."""
        part = self._parts[name] = Part(name, probe)
        try:
            yield part
        finally:
            if self._parts.get(name) is part:
                del self._parts[name]

    def parts(self) -> list[PartReport]:
        """Every part that runs now."""
        return [part.report() for part in self._parts.values()]

    def reasons(self) -> list[str]:
        """The reasons for which this process is not well; none if it is."""
        return [] if self.health is None else [reason[:REASON] for reason in self.health.reasons]


def _now_ms() -> int:
    return time.time_ns() // MS
