"""The players: they ask, listen, and keep what became of every request that they offered."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

from bench.load.script import Script, arrivals
from bus.connection import Connection, Listener
from bus.event import Draft, Event
from bus.publisher import Publisher
from bus.subjects import Subject
from inference.outcome import ENDS
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered

WORLD = "bench"
NPCS = 200


@dataclass(slots=True)
class Asked:
    """One request as its player sees it. Times are seconds of this process's clock; 0: not yet, or never."""

    at: float
    deadline: float
    player: str
    heard: float = 0.0
    ended: float = 0.0
    end: Any = None

    @property
    def kind(self) -> str:
        """Name of the event that ended it; nothing while it waits."""
        return "" if self.end is None else self.end.DESCRIPTOR.name

    @property
    def rung(self) -> str:
        """The rung that answered, or the kind of end without an answer."""
        return getattr(self.end, "rung", "") or self.kind or "none"

    @property
    def engine(self) -> str:
        """The engine that was called for it, if any."""
        return "" if self.end is None or self.kind == "InferenceRejected" else cast(str, self.end.measured.engine)

    @property
    def in_time(self) -> bool:
        """True if something speakable was heard by the deadline."""
        return 0 < self.heard <= self.deadline

    @property
    def full(self) -> bool:
        """The whole answer was recorded by the deadline: the worker judges that on the log's clock."""
        return self.kind == "InferenceCompleted"


@dataclass(slots=True)
class Players:
    """See the module."""

    publisher: Publisher
    asked: dict[str, Asked] = field(default_factory=dict)
    open: int = 0
    """Asked and not ended."""
    number: int = 0
    lag: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    """Lateness of each request of a schedule, seconds: the generator's own share."""
    _ends: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _listeners: list[Listener] = field(default_factory=list)

    async def listen(self, connection: Connection) -> None:
        """Hear chunks and ends."""
        self._listeners = [
            await connection.listen(f"sig.{WORLD}.tokens.*", self._on_chunk),
            await connection.listen(f"evt.{WORLD}.inference.*.*", self._on_end),
        ]

    async def aclose(self) -> None:
        for listener in self._listeners:
            await listener.close()

    def ask(self, run: str, player: str, script: Script, *, late_ms: int = 0) -> str:
        """Offer one request. With `late_ms` its deadline passed that long ago."""
        self.number += 1
        name = f"{run}-{self.number}"
        request = script.request(name, player, self.number, f"npc-{self.number % NPCS}")
        if late_ms:
            request.deadline_ms, request.budget_ms = time.time_ns() // 1_000_000 - late_ms, 0
        now = time.perf_counter()
        self.asked[name] = Asked(now, now + (request.budget_ms or script.budget_ms) / 1000, player)
        self.open += 1
        future = self.publisher.submit(Draft(data=request, world=WORLD, entity=request.npc, subsystem="npc"))
        future.add_done_callback(lambda done: done.exception())
        return name

    async def play(
        self, run: str, script: Script, rate: float, seconds: float, *, burstiness: float = 1.0, player: str = "", players: int = 20
    ) -> list[Asked]:
        """Offer a load of some players (or of one); returns what became of it. The same `run` asks at the same moments."""
        dice = random.Random(run)
        began = time.perf_counter()
        names = []
        for at in arrivals(rate, seconds, dice, burstiness=burstiness):
            pause = began + at - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            self.lag.append(time.perf_counter() - began - at)
            names.append(self.ask(run, player or f"p{dice.randrange(players)}", script))
        await self.ended(names, max([self.asked[name].deadline - self.asked[name].at for name in names], default=0.0) + 5.0)
        return [self.asked[name] for name in names]

    async def ended(self, names: list[str], within_s: float) -> None:
        """Wait until all of these have ended, or for so long."""
        until = time.perf_counter() + within_s
        while time.perf_counter() < until and not all(self.asked[name].ended for name in names):
            await asyncio.sleep(0.01)

    async def end_of(self, name: str) -> None:
        """Wait until it has ended."""
        if not self.asked[name].ended:
            await self._ends.setdefault(name, asyncio.get_running_loop().create_future())

    def _on_chunk(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        chunk = TokensDelivered.FromString(payload)
        one = self.asked.get(chunk.request_id)
        if one is not None and chunk.text and not one.heard:
            one.heard = time.perf_counter()

    def _on_end(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        tokens = subject.decode().split(".")
        if tokens[-1] not in ENDS:
            return
        data = cast(Any, Event(raw=payload, subject=Subject(*tokens[1:]), partition=0, position=0).data)
        one = self.asked.get(data.request_id)
        if one is not None and not one.ended:
            one.ended, one.end = time.perf_counter(), data
            self.open -= 1
            if (waiting := self._ends.pop(data.request_id, None)) is not None:
                waiting.set_result(None)
