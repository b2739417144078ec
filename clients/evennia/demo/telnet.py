"""A player at a keyboard: a telnet connection to Evennia that types lines and reads what comes."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Self

IAC, SB, SE = 255, 250, 240
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Telnet:
    """Made by `open`. `seen` holds (moment, line) of everything that was shown."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.seen: list[tuple[float, str]] = []
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._read(), name="telnet")

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a server of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def type(self, line: str) -> float:
        """Send a line; returns the moment."""
        self._writer.write(line.encode() + b"\r\n")
        return time.monotonic()

    async def until(self, pattern: str, *, since: int = 0, within: float = 30.0) -> tuple[float, str]:
        """The first line from number `since` on that fits, and when it came. Raises `TimeoutError`."""
        place = since
        try:
            async with asyncio.timeout(within):
                while True:
                    for moment, line in self.seen[place:]:
                        if re.search(pattern, line):
                            return moment, line
                    place = len(self.seen)
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            shown = " | ".join(line for _, line in self.seen[since:][-10:])
            raise TimeoutError(f"wanted {pattern!r} on the screen within {within:g} s, found {shown or 'nothing'}") from None

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        self._writer.close()

    async def _read(self) -> None:
        rest = ""
        while data := await self._reader.read(65536):
            *lines, rest = (rest + _COLOURS.sub("", _text(data))).replace("\r", "").split("\n")
            now = time.monotonic()
            self.seen += [(now, line) for line in lines if line.strip()]
            self._more.set()


async def enter(port: int, name: str, password: str, *, create: bool = False) -> Telnet:
    """A player, logged in. Raises `TimeoutError`."""
    player = await _greeted(port)
    if create:
        player.type(f"create {name} {password}")
        await asyncio.sleep(0.3)
        player.type("yes")
        await asyncio.sleep(0.3)
    since = len(player.seen)
    player.type(f"connect {name} {password}")
    await player.until(f"You become {name}", since=since, within=60)
    return player


async def _greeted(port: int) -> Telnet:
    """A connection that sees the login screen. A server that is just restarting (as a new game does once) forgets to show it."""
    async with asyncio.timeout(180):
        while True:
            player = await Telnet.open(port)
            for _ in range(3):
                try:
                    await player.until("connect", within=4)
                    return player
                except TimeoutError:
                    player.type("look")
            await player.close()


def _text(data: bytes) -> str:
    """Take out telnet's own commands."""
    out, place = bytearray(), 0
    while place < len(data):
        if data[place] != IAC:
            out.append(data[place])
            place += 1
        elif data[place + 1 : place + 2] == bytes((SB,)):
            end = data.find(bytes((IAC, SE)), place)
            place = len(data) if end < 0 else end + 2
        else:
            place += 3
    return out.decode("utf-8", errors="replace")
