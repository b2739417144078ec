"""A game whose rules hang, for tests of processes: `python -m tests.hanging run --only hanger …` is `worldbus` with its handlers.

What a move does is said by its zone. `PlayerEnteredZone(zone=…)` answers an ordinary one. The second handler answers heartbeats: the rest
of the world, which has to go on.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import Handler
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerHeartbeat, PlayerMoved, PlayerSessionSummarised

HELL: Final = re.compile(r"(a+)+b")


@dataclass(frozen=True, slots=True)
class Moves:
    """How often an entity moved."""

    count: int = 0


def loop() -> None:
    """Nothing but Python, for ever."""
    while True:
        pass


def regex() -> None:
    """Holds the interpreter's lock for longer than anybody lives."""
    HELL.match("a" * 64)


def sleep() -> None:
    time.sleep(3600)


def read() -> None:
    """A word that never comes."""
    ours, _theirs = socket.socketpair()
    ours.recv(1)


def swallow() -> None:
    """Keeps every exception for itself."""
    while True:
        try:
            loop()
        except BaseException:
            continue


def stuck() -> None:
    """C code that neither lets go of the interpreter's lock nor looks for signals."""
    deque(count(), maxlen=0)


def slow() -> None:
    """Takes two seconds of processor time, and comes to its end."""
    until = time.process_time() + 2.0
    while time.process_time() < until:
        pass


def exit_() -> None:
    os._exit(9)


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


WAYS: Final[dict[str, Callable[[], None]]] = {
    "loop": loop,
    "regex": regex,
    "sleep": sleep,
    "read": read,
    "swallow": swallow,
    "stuck": stuck,
    "slow": slow,
    "exit": exit_,
    "segfault": segfault,
}


def _decide(event: Event, state: Moves) -> Sequence[Message]:
    match event.data:
        case PlayerMoved(zone=zone):
            if zone in WAYS:
                sys.stderr.write(f"hangs by {zone}\n")
                WAYS[zone]()
            return (PlayerEnteredZone(zone=zone, session=state.count),)
        case _:
            return ()


def _evolve(state: Moves, event: Event) -> Moves:
    match event.data:
        case PlayerEnteredZone(zone=zone) if zone.startswith("evolve-"):
            WAYS[zone.removeprefix("evolve-")]()
    return replace(state, count=state.count + 1)


def _entities(event: Event) -> Sequence[str]:
    match event.data:
        case PlayerMoved(zone=zone) if zone.startswith("entities-"):
            WAYS[zone.removeprefix("entities-")]()
    return (event.entity,)


def _initial(entity: str) -> Moves:
    if entity.startswith("initial-"):
        WAYS[entity.removeprefix("initial-")]()
    return Moves()


hanger: Final = Handler(
    name="hanger",
    listens_to=(PlayerMoved,),
    emits=(PlayerEnteredZone,),
    initial=_initial,
    decide=_decide,
    evolve=_evolve,
    entities=_entities,
)


def _count(event: Event, state: Moves) -> Sequence[Message]:
    return (PlayerSessionSummarised(zones_entered=state.count),)


rest: Final = Handler(
    name="rest",
    listens_to=(PlayerHeartbeat,),
    emits=(PlayerSessionSummarised,),
    initial=lambda entity: Moves(),
    decide=_count,
    evolve=lambda state, event: replace(state, count=state.count + 1),
)

if __name__ == "__main__":
    from tests.duskmarket import PROJECTIONS, content
    from worldbus import Game, choose
    from worldbus.cli import main

    choose(Game(name="hanging", mark="", handlers=(hanger, rest), projections=PROJECTIONS, content=content))
    main()
