"""The warm interpreter and its children, from the side of whoever orders them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from worldbus.dev.warm import MOST

WARM = Path(__file__).with_name("warm.py")


class Stream:
    """One end of a socket over which lines of JSON go."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """The stream over a connected socket."""
        return cls(*await asyncio.open_connection(sock=end, limit=16 * MOST))

    async def hear(self) -> dict[str, Any] | None:
        """The next object; None once nobody will send one."""
        with suppress(OSError):
            line = await self._reader.readline()
            if line.endswith(b"\n"):
                return dict(json.loads(line))
        return None

    def say(self, **facts: Any) -> None:
        """Send one object."""
        self._writer.write(json.dumps(facts).encode() + b"\n")

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()


class Child:
    """A process that plays a game. `ended` is set, with its exit code, once it has ended."""

    def __init__(self, pid: int, ended: asyncio.Future[int], talk: Stream, comparison: Stream) -> None:
        self.pid = pid
        self.ended = ended
        self.talk = talk
        self.comparison = comparison

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs: its parent has not asked for its end before we hear of it."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self, within_s: float) -> int:
        """Ask it to settle and end; kill it if that takes too long. Its exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.ended

    def close(self) -> None:
        """Let go of what was said with it."""
        self.talk.close()
        self.comparison.close()


class Interpreter:
    """A warm interpreter that runs for the block. It ends with us, whatever ends us, and its children with it."""

    async def __aenter__(self) -> Self:
        ours, theirs = socket.socketpair()
        # A session of its own: Ctrl-C in the terminal reaches us alone, and children are ended in order.
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
            [sys.executable, "-P", str(WARM), str(theirs.fileno())], pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        ours.setblocking(False)
        self._orders = ours
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._forked: asyncio.Queue[int] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen(), name="warm-interpreter")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._orders.shutdown(socket.SHUT_RDWR)
        await asyncio.gather(self._listening, return_exceptions=True)
        self._orders.close()
        await asyncio.to_thread(self._process.wait)

    async def fork(self) -> Child:
        """A new child, which waits for its first order."""
        pairs = [socket.socketpair() for _ in range(2)]
        socket.send_fds(self._orders, [b'{"fork": 1}\n'], [theirs.fileno() for _, theirs in pairs])
        for _, theirs in pairs:
            theirs.close()
        talk, comparison = [await Stream.over(ours) for ours, _ in pairs]
        pid = await self._forked.get()
        return Child(pid, self._ends[pid], talk, comparison)

    async def warm(self, modules: Iterable[str]) -> None:
        """Let it import what is installed of these, for the children to come."""
        await asyncio.get_running_loop().sock_sendall(self._orders, json.dumps({"warm": list(modules)}).encode() + b"\n")

    async def _listen(self) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        with suppress(OSError):
            while data := await loop.sock_recv(self._orders, MOST):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))
        for ended in self._ends.values():
            if not ended.done():
                ended.set_result(-signal.SIGKILL)

    def _hear(self, report: dict[str, int]) -> None:
        if "forked" in report:
            self._ends[report["forked"]] = asyncio.get_running_loop().create_future()
            self._forked.put_nowait(report["forked"])
        else:
            self._ends[report["ended"]].set_result(report["code"])
