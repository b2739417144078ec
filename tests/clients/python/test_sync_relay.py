"""The relay beside a game, against a real nats-server: what was said to it is recorded once, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Draft, Event
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered as Tokens
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved as Moved
from worldbus.embedded import NatsServer
from worldbus_client.envelope import pack
from worldbus_client.frames import LONGEST, BadFrame, Frames, frame
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client.relay import Wanted

ROOT = Path(__file__).parents[3]
WORDS = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0"), min_size=1), min_size=1, max_size=4
)
Recorded = Callable[[], list[Event]]


class Beside:
    """A relay and the game's end of its socket."""

    def __init__(self, server: NatsServer, after: int | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worldbus_client.relay", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'clients' / 'python'}:{ROOT}"},
            )
        self.heard: queue.Queue[tuple[list[str], bytes]] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        wanted = Wanted(
            url=server.url,
            world="w1",
            name="test",
            give_up=60.0,
            events=[("game", "PlayerMoved"), ("npc", "NpcSpoke")],
            signals=["tokens"],
            after=after,
        )
        self.socket.sendall(wanted.as_frame())

    def _read(self) -> None:
        frames = Frames()
        with contextlib.suppress(OSError):
            while data := self.socket.recv(65536):
                for one in frames.feed(data):
                    self.heard.put(one)

    def until(self, kind: str, count: int = 1) -> list[tuple[list[str], bytes]]:
        """The next so many frames of a kind."""
        found: list[tuple[list[str], bytes]] = []
        while len(found) < count:
            one = self.heard.get(timeout=40)
            if one[0][0] == kind:
                found.append(one)
        return found

    def say(self, numbers: range) -> None:
        for number in numbers:
            self.socket.sendall(said(number))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()


def said(number: int) -> bytes:
    parcel = pack("w1", "game", f"p{number % 5}", PlayerMoved(zone="quay"), id=f"move-{number}", cause="", correlation="", time_ns=0)
    return frame("publish", parcel.id, parcel.subject, f"{time.monotonic():.3f}", rest=parcel.payload)


@pytest.fixture
def beside(server: NatsServer) -> Iterator[Callable[..., Beside]]:
    """Start relays; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(after: int | None = None) -> Beside:
            one = Beside(server, after)
            stack.callback(one.close)
            return one

        yield start


def test_what_a_game_says_is_recorded_in_order_and_what_others_say_is_heard(
    beside: Callable[..., Beside],
    recorded: Recorded,
    say: Callable[[list[Draft]], None],
    send_signal: Callable[[str, bytes], None],
) -> None:
    one = beside()
    one.until("up")
    one.say(range(200))
    assert [words[1] for words, _ in one.until("recorded", 200)] == [f"move-{number}" for number in range(200)]
    assert [event.id for event in recorded()] == [f"move-{number}" for number in range(200)]

    say([Draft(data=Moved(zone="moor"), world="w1", entity="p9", id="other")])
    while (last := one.until("event")[0])[0][1] != "201":
        pass
    assert last[0] == ["event", "201", "w1.game.p9.PlayerMoved"]
    send_signal("sig.w1.tokens.req-7", payload := Tokens(request_id="req-7", text="Sit.").SerializeToString())
    assert one.until("signal") == [(["signal", "w1.tokens.req-7"], payload)]


def test_a_killed_relay_is_replaced_and_nothing_is_lost_doubled_or_out_of_order(beside: Callable[..., Beside], recorded: Recorded) -> None:
    """As the adapter does it: without an answer is said again, in order, before anything new."""
    waiting = dict.fromkeys(f"move-{number}" for number in range(400))
    one = beside()
    one.until("up")
    one.say(range(300))
    for words, _ in one.until("recorded", 100):
        del waiting[words[1]]
    one.process.kill()
    one.process.wait()
    one._thread.join(20)
    while not one.heard.empty():
        if (words := one.heard.get()[0])[0] == "recorded":
            del waiting[words[1]]

    another = beside()
    for name in waiting:
        another.socket.sendall(said(int(name.removeprefix("move-"))))
    another.until("recorded", len(waiting))
    assert [event.id for event in recorded()] == [f"move-{number}" for number in range(400)]


def test_a_reader_goes_on_behind_its_position(beside: Callable[..., Beside], say: Callable[[list[Draft]], None]) -> None:
    say([Draft(data=Moved(zone="quay"), world="w1", entity="p", id=f"move-{number}") for number in range(20)])
    assert [int(words[1]) for words, _ in beside(after=5).until("event", 15)] == list(range(6, 21))


def test_what_was_said_is_sent_though_the_game_has_ended(server: NatsServer, beside: Callable[..., Beside], recorded: Recorded) -> None:
    one = beside()
    one.say(range(100))
    one.socket.shutdown(socket.SHUT_WR)
    assert one.process.wait(40) == 0
    assert len(recorded()) == 100


def test_a_relay_waits_for_a_server_that_is_not_there_and_ends_with_its_game(
    server: NatsServer, beside: Callable[..., Beside], recorded: Recorded
) -> None:
    server.kill()
    one, idle = beside(), beside()
    one.say(range(10))
    one.until("away")
    idle.until("away")
    idle.socket.shutdown(socket.SHUT_WR)
    assert idle.process.wait(40) == 0
    server.start()
    one.until("recorded", 10)
    assert len(recorded()) == 10


@given(st.lists(st.tuples(WORDS, st.binary(max_size=300))), st.lists(st.integers(1, 50)))
def test_frames_come_out_as_they_went_in_however_they_are_cut(said: list[tuple[list[str], bytes]], cuts: list[int]) -> None:
    whole = b"".join(frame(*words, rest=rest) for words, rest in said)
    found: list[tuple[list[str], bytes]] = []
    frames, place = Frames(), 0
    for length in [*cuts, len(whole) + 1]:
        found += frames.feed(whole[place : place + length])
        place += length
    assert found == said


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_said_to_be_none(data: bytes) -> None:
    with contextlib.suppress(BadFrame):
        list(Frames().feed(data))


def test_a_frame_that_is_too_long_is_refused_before_it_is_there() -> None:
    with pytest.raises(BadFrame, match="at most 1048576 bytes, found one of 1048577"):
        list(Frames().feed((LONGEST + 1).to_bytes(4, "big")))
