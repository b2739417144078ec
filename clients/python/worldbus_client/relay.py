"""A process beside a game that carries its events: a game whose own thread must never wait shares no interpreter with the connection.

`python -m worldbus_client.relay FD` speaks frames over a socket that it was given. Threads of one Python take turns: on a busy machine the
game's waited for the client's to be given a processor, tens of milliseconds for an event. So the game writes to a socket, and waits for
nothing. What the game says:

    open                          first of all; the rest is JSON, the fields of `Wanted`
    publish <id> <subject> <since>  the rest is the envelope; `since`: by the machine's monotonic clock, when the game first said it

What it hears:

    up                            connected and subscribed
    away                          not yet; the rest says why
    recorded <id> <position>
    failed <id>                   the rest says why
    event <position> <subject>    the rest is the envelope
    signal <subject>              the rest is the payload

When the game's end of the socket is closed, what it said is still sent, for a few seconds, and the process ends. When this process is
killed, the game starts another and says again what has no answer yet, with the same ids and in the same order: it is recorded once.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial

from worldbus_client.client import Client
from worldbus_client.envelope import Parcel
from worldbus_client.errors import ClientError
from worldbus_client.frames import Frames, frame
from worldbus_client.received import Event, Signal

QUEUE = 100_000  # events: what the game may say at once is the game's to bound
LAST_S = 5.0  # for what is under way when the game has ended
AGAIN_S = 1.0


@dataclass(frozen=True)
class Wanted:
    """A game's instructions to its relay. `after`: position behind which to hear; None for what is new."""

    url: str
    world: str
    name: str
    give_up: float
    events: list[tuple[str, str]]
    """(subsystem, event)."""
    signals: list[str]
    after: int | None

    def as_frame(self) -> bytes:
        """The frame that opens."""
        return frame("open", rest=json.dumps(asdict(self)).encode())


class Relay:
    """One game's."""

    def __init__(self, game: socket.socket) -> None:
        self._game = game
        self._lock = threading.Lock()

    def run(self) -> None:
        """Carry events until the game ends."""
        said = self._said()
        first = next(said, None)
        if first is None:
            return
        wanted = Wanted(**json.loads(first[1]))
        client = self._connect(wanted)
        if client is None:
            return
        for (_, name, subject, since), payload in said:
            try:
                ticket = client.submit_parcel(Parcel(name, subject, payload), since=float(since))
            except ClientError as error:
                self._tell("failed", name, rest=str(error).encode())
            else:
                ticket.add_done_callback(partial(self._ended, name))
        try:
            client.flush(LAST_S)
        except ClientError as error:
            sys.stderr.write(f"worldbus relay: {error}\n")
        client.close()

    def _connect(self, wanted: Wanted) -> Client | None:
        """Connect, as often as it takes; None when the game has ended before."""
        while True:
            client = Client(wanted.url, world=wanted.world, name=wanted.name, queue=QUEUE, give_up=wanted.give_up)
            try:
                client.open()
                for kind in wanted.signals:
                    client.on_signal(kind, self._signal)
                if wanted.events:
                    client.on_events(self._event, [(subsystem, event) for subsystem, event in wanted.events], after=wanted.after)
            except Exception as error:  # also what nats-py raises when the server goes away between two questions
                client.close()
                self._tell("away", rest=str(error).encode())
            else:
                self._tell("up")
                return client
            time.sleep(AGAIN_S)
            if self._over():
                return None

    def _over(self) -> bool:
        """Return whether the game has ended and said nothing that is still to be sent."""
        try:
            return not self._game.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _said(self) -> Iterator[tuple[list[str], bytes]]:
        frames = Frames()
        while True:
            try:
                data = self._game.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            yield from frames.feed(data)

    def _ended(self, id: str, ticket: Future[int]) -> None:
        error = ticket.exception()
        if error is None:
            self._tell("recorded", id, str(ticket.result()))
        else:
            self._tell("failed", id, rest=str(error).encode())

    def _event(self, event: Event) -> None:
        subject = f"{event.world}.{event.subsystem}.{event.entity}.{event.name}"
        self._tell("event", str(event.position), subject, rest=event.raw)

    def _signal(self, heard: Signal) -> None:
        self._tell("signal", f"{heard.world}.{heard.kind}.{heard.key}", rest=heard.payload)

    def _tell(self, *words: str, rest: bytes = b"") -> None:
        try:
            with self._lock:
                self._game.sendall(frame(*words, rest=rest))
        except OSError:
            pass  # the game has ended: what it said is sent all the same


def main() -> None:
    """Run `python -m worldbus_client.relay FD`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the game's to hear
    with socket.socket(fileno=int(sys.argv[1])) as game:
        Relay(game).run()


if __name__ == "__main__":
    main()
