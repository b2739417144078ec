"""The client without asyncio against a real nats-server, read by our own reader."""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import signal as signals
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Draft, Event
from bus.protobuf_format import from_protobuf
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered as Tokens
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved as Moved
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment as Shown
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from tests.pausing import pause
from worldbus.embedded import NatsServer
from worldbus_client import BadEvent, BadSettings, Client, Closed, NotConnected, QueueFull, Unknown, WrongThread
from worldbus_client.client import ROOM
from worldbus_client.envelope import new_id, pack
from worldbus_client.gen.worldbus.inference.v1 import TokensDelivered
from worldbus_client.gen.worldbus.player.v1 import PlayerJoined, PlayerMoved
from worldbus_client.gen.worldbus.runtime.v1 import EventParked
from worldbus_client.gen.worldbus.time.v1 import PresentMoment
from worldbus_client.received import Event as Received

CLIENT = Path(__file__).parents[3] / "clients" / "python"
Recorded = Callable[[], list[Event]]


def test_it_needs_no_compiled_runtime() -> None:
    program = "import sys, worldbus_client, worldbus_client.gen.worldbus.npc.v1; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=CLIENT.parents[1], env={"PYTHONPATH": f"{CLIENT}:{CLIENT.parents[1]}"}
    )
    assert {name.partition(".")[0] for name in said.stdout.split()}.isdisjoint({"google", "msgspec", "uvloop", "bus"})


def test_every_event_is_in_the_log_once_in_order_and_keeps_our_own_rules(server: NatsServer, recorded: Recorded) -> None:
    with Client(server.url, world="w1") as bus:
        tickets = [bus.submit(f"p{number % 7}", PlayerMoved(zone="quay", x=float(number)), id=f"move-{number}") for number in range(500)]
        assert bus.publish("p0", PlayerMoved(zone="moor"), cause="move-1", correlation="move-0") == 501
    assert [ticket.result() for ticket in tickets] == list(range(1, 501))
    events = recorded()
    for number, event in enumerate(events[:500]):
        draft = from_protobuf(event.raw)
        assert (event.id, draft.entity, draft.subsystem, draft.data.x) == (f"move-{number}", f"p{number % 7}", "game", float(number))
    assert (events[-1].cause, events[-1].correlation) == ("move-1", "move-0")


def test_the_same_id_again_records_nothing(server: NatsServer, recorded: Recorded) -> None:
    for _ in range(2):
        with Client(server.url, world="w1") as bus:
            assert bus.publish("p", PlayerMoved(zone="quay"), id="once") == 1
    assert len(recorded()) == 1


def test_a_server_killed_while_the_game_plays_loses_and_doubles_nothing(server: NatsServer, recorded: Recorded) -> None:
    with Client(server.url, world="w1") as bus:
        tickets = []
        starts: list[threading.Timer] = []
        for number in range(1500):
            tickets.append(bus.submit(f"p{number % 5}", PlayerMoved(zone="quay"), id=f"move-{number}"))
            if number in {300, 800, 1200}:
                for start in starts:
                    start.join()  # on a busy machine it takes longer than the events in between
                server.kill()
                starts.append(threading.Timer(0.2, server.start))
                starts[-1].start()
            time.sleep(0.0005)
        starts[-1].join()
        bus.flush(60)
    assert sorted(ticket.result() for ticket in tickets) == list(range(1, 1501))
    assert [event.id for event in recorded()] == [f"move-{number}" for number in range(1500)]


def test_a_full_queue_is_said_and_nothing_is_dropped_silently(server: NatsServer, recorded: Recorded) -> None:
    with Client(server.url, world="w1", queue=10) as bus:
        pause(server.pid)
        try:
            tickets = [bus.submit("p", PlayerMoved(zone="quay")) for _ in range(10)]
            with pytest.raises(QueueFull, match="10 events wait for the log"):
                bus.submit("p", PlayerMoved(zone="quay"))
        finally:
            server.signal(signals.SIGCONT)
        assert [ticket.result(30) for ticket in tickets] == list(range(1, 11))
        bus.publish("p", PlayerMoved(zone="quay"))  # there is room again
    assert len(recorded()) == 11


def test_what_has_no_answer_ends_as_unknown_or_unsent(server: NatsServer) -> None:
    bus = Client(server.url, world="w1", window=1, answer_timeout=0.2, give_up=0.5).open()
    pause(server.pid)
    try:
        sent, waiting = bus.submit("p", PlayerMoved()), bus.submit("p", PlayerMoved())
        with pytest.raises(Unknown, match="same id within two minutes"):
            sent.result(10)
        with pytest.raises((NotConnected, Unknown)):
            waiting.result(10)
    finally:
        server.signal(signals.SIGCONT)
        bus.close()
    with pytest.raises(Closed):
        bus.submit("p", PlayerMoved())


def test_no_server_is_said_plainly() -> None:
    with pytest.raises(NotConnected, match="no NATS server answers at nats://127.0.0.1:9"):
        Client("nats://127.0.0.1:9", world="w1").open()


@pytest.mark.parametrize("entity", ["", "a.b", "*", "x" * 65, "ä", None])
def test_bad_names_are_refused_at_once(server: NatsServer, entity: str) -> None:
    with Client(server.url, world="w1") as bus, pytest.raises(BadEvent, match="entity must be 1 to 64"):
        bus.submit(entity, PlayerMoved())


def test_a_reader_hears_the_log_from_its_beginning_and_over_a_restart(server: NatsServer, say: Callable[[list[Draft]], None]) -> None:
    drafts = [Draft(data=Moved(zone="quay"), world="w1", entity=f"p{number}", id=f"move-{number}") for number in range(600)]
    say([*drafts[:300], Draft(data=Moved(zone="quay"), world="w2", entity="p0")])
    with Client(server.url, world="w1") as bus:
        events = bus.follow(subsystem="game", event="PlayerMoved", after=0, wait=20)
        heard = list(islice(events, 300))
        server.kill()
        server.start()
        say(drafts[300:])
        heard += islice(events, 300)
        assert [event.id for event in heard] == [draft.id for draft in drafts]
        assert [event.position for event in heard] == [*range(1, 301), *range(302, 602)]
        assert {event.data.zone for event in heard} == {"quay"}
        assert next(bus.follow(entity="p7", after=0, wait=20)).id == "move-7"


def test_a_connection_that_breaks_while_it_writes_is_replaced(server: NatsServer, say: Callable[[list[Draft]], None]) -> None:
    """nats-py tells nobody then: whoever only listened listened for ever. What it leaves behind would be an error of the event loop."""
    drafts = [Draft(data=Moved(zone="quay"), world="w1", entity="p", id=f"move-{number}") for number in range(2)]
    with Client(server.url, world="w1") as bus:
        events = bus.follow(after=0, wait=100)
        say(drafts[:1])
        assert next(events).id == "move-0"

        async def hold_back() -> None:
            link: Any = bus._link.connection
            link._transport.drain = lost
            link._flush_pending = nothing
            link._pending.append(b"PONG\r\n")
            link._pending_data_size += 6

        bus._link.call(hold_back)
        server.kill()
        server.start()
        say(drafts[1:])
        assert next(events).id == "move-1"
    gc.collect()


async def lost() -> None:
    raise ConnectionResetError("Connection lost")


async def nothing() -> None:
    """A flusher that did not come to it."""


def test_a_reader_whose_consumer_is_gone_misses_nothing(
    server: NatsServer, say: Callable[[list[Draft]], None], remove_readers: Callable[[], int]
) -> None:
    drafts = [Draft(data=Moved(zone="quay"), world="w1", entity=f"p{number}", id=f"move-{number}") for number in range(60)]
    say(drafts[:30])
    with Client(server.url, world="w1") as bus:
        events = bus.follow(event="PlayerMoved", after=0, wait=40)
        heard = list(islice(events, 30))
        assert remove_readers() == 1
        say(drafts[30:])
        heard += islice(events, 30)
    assert [event.id for event in heard] == [draft.id for draft in drafts]


def test_a_reader_slower_than_its_room_misses_nothing(server: NatsServer, say: Callable[[list[Draft]], None]) -> None:
    count = 3 * ROOM
    say([Draft(data=Moved(zone="quay"), world="w1", entity=f"p{number % 7}", id=f"move-{number}") for number in range(count)])
    with Client(server.url, world="w1") as bus:
        events = bus.follow(after=0, wait=20)
        time.sleep(1)  # the room is full by then, and the server was told to stop
        positions = [event.position for event in islice(events, count)]
    assert positions == list(range(1, count + 1))


def test_a_reader_of_what_is_new_hears_what_comes_after_it_asked(server: NatsServer, say: Callable[[list[Draft]], None]) -> None:
    say([Draft(data=Moved(zone="old"), world="w1", entity="p")])
    with Client(server.url, world="w1") as bus:
        events = bus.follow(wait=20)
        bus.publish("p", PlayerMoved(zone="new"))
        assert next(events).data.zone == "new"


def test_callbacks_hear_events_and_signals(server: NatsServer, send_signal: Callable[[str, bytes], None]) -> None:
    heard: queue.Queue[object] = queue.Queue()
    with Client(server.url, world="w1") as bus:
        bus.on_signal("tokens", lambda it: heard.put((it.key, it.read(TokensDelivered).text)))
        bus.on_signal("clock", lambda it: heard.put((it.key, it.read(PresentMoment).now.hour)))
        stop = bus.on_event(lambda it: heard.put(it.name), event="PlayerMoved")
        send_signal("sig.w1.clock", Shown(now=WorldTime(hour=7)).SerializeToString())
        assert heard.get(timeout=20) == ("", 7)
        send_signal("sig.w1.tokens.req-7", Tokens(request_id="req-7", text="Sit.").SerializeToString())
        assert heard.get(timeout=20) == ("req-7", "Sit.")
        bus.publish("p", PlayerMoved())
        assert heard.get(timeout=20) == "PlayerMoved"
        stop()


@given(name=st.text(max_size=200), x=st.floats())
def test_what_is_packed_keeps_the_rules_or_is_refused(name: str, x: float) -> None:
    message = PlayerJoined(display_name=name, x=x)
    try:
        parcel = pack("w1", "game", "p", message, id="", cause="", correlation="", time_ns=0)
    except BadEvent:
        return
    draft = from_protobuf(parcel.payload)
    assert (draft.data.display_name, draft.data.x) == (name, x)


@given(value=st.one_of(st.none(), st.binary(), st.integers(), st.text(), st.lists(st.integers())))
def test_a_field_of_another_type_is_refused(value: object) -> None:
    message = PlayerMoved()
    message.zone = value  # type: ignore[assignment]
    try:
        parcel = pack("w1", "game", "p", message, id="", cause="", correlation="", time_ns=0)
    except BadEvent:
        return
    assert from_protobuf(parcel.payload).data.zone == (value or "")


def test_the_runtimes_records_are_not_a_games_to_publish() -> None:
    with pytest.raises(BadEvent, match="runtime's own record"):
        pack("w1", "game", "p", EventParked(handler="player"), id="", cause="", correlation="", time_ns=0)


def test_an_event_that_is_written_as_json_says_so() -> None:
    event = Received(7, "w1", "game", "p", "PlayerMoved", b'{"data": {"zone": "quay"}}')
    with pytest.raises(BadEvent, match="through the gateway"):
        event.data  # noqa: B018
    assert event.name == "PlayerMoved"


def test_ids_are_fresh_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [one[:10] for one in ids] == sorted(one[:10] for one in ids)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trouble", ["none", "paused", "killed"])
def test_closing_ends_whatever_the_server_does(server: NatsServer, trouble: str) -> None:
    """A game server that stops must not hang on its bus: tasks in the middle of a question, a server that answers nothing any more."""
    for round_ in range(6):
        bus = Client(server.url, world="w1").open()
        for name in ("PlayerMoved", "PlayerJoined", "NpcSpoke", "WeatherChanged"):
            bus.on_event(lambda it: None, event=name, after=0)
        for number in range(40):
            bus.submit("p", PlayerMoved(zone="quay"), id=f"{trouble}-{round_}-{number}")
        if trouble == "paused":
            pause(server.pid)
        elif trouble == "killed":
            server.kill()
        time.sleep(0.02 * round_)
        try:
            bus.close()
        finally:
            if trouble == "paused":
                server.signal(signals.SIGCONT)
            elif trouble == "killed":
                server.start()
        assert not bus._link._thread.is_alive()


@pytest.mark.timeout(60)
def test_closing_ends_a_task_that_lost_its_cancellation(server: NatsServer) -> None:
    """As `asyncio.wait_for` does before Python 3.12 when an answer comes in the same turn: seen once, as a game server that never ended."""
    bus = Client(server.url, world="w1").open()
    lost = threading.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            lost.set()
        await asyncio.sleep(3600)

    asyncio.run_coroutine_threadsafe(stubborn(), bus._link.loop)
    time.sleep(0.1)
    bus.close()

    assert lost.is_set()
    assert not bus._link._thread.is_alive()


@pytest.mark.timeout(60)
def test_in_a_callback_whatever_would_wait_for_itself_is_refused(server: NatsServer, recorded: Recorded) -> None:
    heard: queue.Queue[object] = queue.Queue()
    with Client(server.url, world="w1") as bus:

        def hear(event: object) -> None:
            for act in (
                lambda: bus.publish("q", PlayerMoved()),
                bus.flush,
                lambda: bus.follow(wait=1),
                lambda: bus.on_signal("tokens", print),
            ):
                try:
                    heard.put(act())
                except WrongThread as error:
                    heard.put(error)
            bus.submit("q", PlayerMoved())

        bus.on_event(hear, entity="p")
        bus.publish("p", PlayerMoved())
        assert [type(heard.get(timeout=20)) for _ in range(4)] == [WrongThread] * 4
        assert next(bus.follow(entity="q", after=0, wait=20)).entity == "q"
    assert [event.entity for event in recorded()] == ["p", "q"]


@pytest.mark.timeout(60)
def test_a_callback_may_close_its_client(server: NatsServer) -> None:
    bus = Client(server.url, world="w1").open()
    bus.on_event(lambda event: bus.close())
    bus.submit("p", PlayerMoved())
    bus._link._thread.join()
    with pytest.raises(Closed):
        bus.submit("p", PlayerMoved())


def test_a_callback_that_fails_is_told_and_hears_the_next_event(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    heard: queue.Queue[int] = queue.Queue()

    def hear(event: Any) -> None:
        heard.put(event.position)
        raise ValueError("a bug of the game")

    with Client(server.url, world="w1") as bus:
        bus.on_event(hear, event="PlayerMoved")
        for _ in range(2):
            bus.publish("p", PlayerMoved())
        assert [heard.get(timeout=20) for _ in range(2)] == [1, 2]
    assert "a callback failed at event 1, PlayerMoved of p" in caplog.text
    assert "a bug of the game" in caplog.text


@pytest.mark.timeout(60)
def test_a_client_that_is_not_open_or_not_any_more_says_so(server: NatsServer) -> None:
    bus = Client(server.url, world="w1")
    for act in (lambda: bus.publish("p", PlayerMoved()), lambda: bus.follow(wait=1), lambda: bus.on_event(print)):
        with pytest.raises(NotConnected, match="call `open`"):
            act()
    with bus.open():  # open already
        bus.publish("p", PlayerMoved())
        stop = bus.on_event(print)
        stop()
        stop()
    for act in (lambda: bus.publish("p", PlayerMoved()), lambda: bus.follow(wait=1), lambda: bus.on_event(print), bus.open):
        with pytest.raises(Closed):
            act()
    stop()
    bus.close()


@pytest.mark.timeout(60)
def test_what_is_submitted_while_another_thread_closes_ends(server: NatsServer) -> None:
    for _ in range(20):
        bus = Client(server.url, world="w1").open()
        tickets = []

        def say(bus: Client = bus, tickets: list[Any] = tickets) -> None:
            try:
                while True:
                    tickets.append(bus.submit("p", PlayerMoved()))
            except Closed:
                return

        saying = threading.Thread(target=say)
        saying.start()
        time.sleep(0.01)
        bus.close()
        saying.join()
        assert {type(ticket.exception(20)) for ticket in tickets} <= {type(None), Unknown, Closed}


FORK = """
import os, sys
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client import Client, Closed
with Client(sys.argv[1], world="w1") as bus:
    bus.publish("p", PlayerMoved())
    if os.fork() == 0:
        for act in (lambda: bus.publish("p", PlayerMoved()), lambda: bus.follow(), bus.flush):
            try:
                act()
            except Closed as error:
                assert "fork" in str(error)
            else:
                os._exit(1)
        bus.close()
        with Client(sys.argv[1], world="w1") as own:
            own.publish("child", PlayerMoved())
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    bus.publish("p", PlayerMoved())
"""

EXIT = """
import sys
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client import Client
bus = Client(sys.argv[1], world="w1").open()
for _ in range(300):
    bus.submit("p", PlayerMoved())
"""


def _run(program: str, server: NatsServer) -> str:
    said = subprocess.run(
        [sys.executable, "-c", program, server.url],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={"PYTHONPATH": f"{CLIENT}:{CLIENT.parents[1]}"},
    )
    return said.stderr


def test_a_forked_process_is_told_that_the_client_is_not_its_own(server: NatsServer, recorded: Recorded) -> None:
    assert "Traceback" not in _run(FORK, server).replace("SystemExit", "")
    assert [event.entity for event in recorded()] == ["p", "child", "p"]


def test_a_program_that_ends_leaves_nothing_behind_and_says_so_if_it_must(server: NatsServer, recorded: Recorded) -> None:
    assert _run(EXIT, server) == ""
    assert len(recorded()) == 300

    with subprocess.Popen(
        [sys.executable, "-c", EXIT.replace("for _", "input()\nfor _"), server.url],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": f"{CLIENT}:{CLIENT.parents[1]}"},
    ) as waiting:
        while not _connected(server, "worldbus-client"):
            time.sleep(0.05)
        pause(server.pid)
        try:
            _, said = waiting.communicate("go\n", timeout=60)
        finally:
            server.signal(signals.SIGCONT)
    assert "300 events have no answer" in said


def _connected(server: NatsServer, name: str) -> bool:
    """True if a connection of that name is open and has subscribed."""
    with urllib.request.urlopen(f"{server.monitor_url}/connz", timeout=10) as answer:
        return any(one.get("name") == name and one["subscriptions"] for one in json.load(answer)["connections"])


@pytest.mark.parametrize(
    "settings",
    [{"queue": 0}, {"window": 0}, {"answer_timeout": 0.0}, {"give_up": 1.0}, {"give_up": 120.0}, {"give_up": float("nan")}],
)
def test_settings_that_cannot_work_are_said_plainly(settings: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="wanted"):
        Client(world="w1", **settings)
