"""A player whose commands are timed, in a process of its own: the one that carries the bus would add its own work to every figure.

`python -m clients.evennia.demo.measure PORT` logs in and writes a line per command: when it was typed and when its answer was shown, in
seconds of the machine's monotonic clock. It goes on until it is told to end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from clients.evennia.demo.game import GameFailed
from clients.evennia.demo.telnet import enter

NAME = "Measure"
PASSWORD = "only-for-the-demo-1"
ROOMS = ("The Evennia Inn", "Outside Evennia Inn")
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Commands:
    """The measurements so far: (typed, shown) of each command, in order; and the screens of those that had no answer."""

    timed: list[tuple[float, float]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)


async def play(port: int) -> None:
    """Type for ever: a pose, and going from room to room."""
    player = await enter(port, NAME, PASSWORD, create=True)
    player.type("teleport Intro")
    _tell("in")
    number = 0
    while True:
        number += 1
        since = len(player.seen)
        if number % 2:
            typed = player.type(f"pose counts to {number}.")
            answer = f"counts to {number}\\."
        else:
            room = ROOMS[number // 2 % 2]
            typed = player.type(f"teleport {room}")
            answer = f"Teleported to {room}"
        try:
            moment, _ = await player.until(answer, since=since)
            _tell(f"{typed} {moment}")
        except TimeoutError as error:
            _tell(f"? {error}")
        await asyncio.sleep(PAUSE_S)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def measuring(port: int) -> AsyncIterator[Commands]:
    """Let it play for the block; returns when it is in the game."""
    # In a session of its own: Linux shares processors out by session, and in ours the bus's work would make the measuring player late.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(port), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    commands = Commands()
    assert process.stdout is not None
    if not await process.stdout.readline():
        await process.wait()
        raise GameFailed(f"wanted {NAME} in the game, but its process ended with {process.returncode}; what it said stands above")
    reading = asyncio.create_task(_read(process.stdout, commands), name="measure")
    try:
        yield commands
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def _read(lines: asyncio.StreamReader, commands: Commands) -> None:
    async for line in lines:
        match line.decode(errors="replace").split(maxsplit=1):
            case ["?", problem]:
                commands.unanswered.append(problem.strip())
            case [typed, shown]:
                commands.timed.append((float(typed), float(shown)))


if __name__ == "__main__":
    asyncio.run(play(int(sys.argv[1])))
