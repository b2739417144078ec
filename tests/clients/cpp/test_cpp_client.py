"""The C++ client against a real nats-server, read by our own reader: what a game says is in the log once, in order."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

from bus.connection import Connection
from bus.event import Draft, Event
from bus.log import Log, open_log
from bus.protobuf_format import from_protobuf
from bus.publisher import open_publisher
from bus.signals import signal
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment
from tests.clients.cpp.conftest import GameServer
from tests.streams import forget_ids


def test_what_needs_no_server(programs: Path) -> None:
    assert subprocess.run([programs / "unit"], check=False).returncode == 0


async def recorded(log: Log) -> list[Event]:
    last = (await log.state()).last
    return [event async for batch in log.read(until=last) for event in batch] if last else []


async def test_every_event_is_in_the_log_once_in_order_and_keeps_our_own_rules(server: GameServer, log: Log, probe: Any) -> None:
    program = await probe("publish", server.game_url, "w1", 3000, 7)
    assert await program.line() == {"ready": True}
    said = await program.line()
    await program.end()

    assert said["flushed"]
    assert said["in_order"]
    assert said["recorded"] == 3000
    events = await recorded(log)
    assert [event.id for event in events] == [f"probe-{number}" for number in range(3000)]
    for number, event in enumerate(events):
        draft = from_protobuf(event.raw)  # what the bus itself would accept from anybody
        assert (draft.entity, draft.subsystem, draft.data.x) == (f"p{number % 7}", "game", float(number))
        assert event.subject.published() == f"evt.w1.game.p{number % 7}.PlayerMoved"


async def test_the_same_ids_again_record_nothing(server: GameServer, log: Log, probe: Any) -> None:
    for outcome in ("recorded", "repeated"):
        program = await probe("publish", server.game_url, "w1", 50, 3)
        await program.line()
        assert (await program.line())[outcome] == 50
        await program.end()
    assert (await log.state()).last == 50


async def test_a_server_killed_while_the_game_plays_loses_and_doubles_nothing(server: GameServer, log: Log, probe: Any) -> None:
    program = await probe("publish", server.game_url, "w1", 6000, 5, 300)
    await program.line()
    for _ in range(3):
        await asyncio.sleep(0.4)
        server.kill()
        server.start()
    said = await program.line()
    errors = await program.end()

    assert said["flushed"], errors
    assert said["reconnects"] >= 1, errors
    assert said["recorded"] + said.get("repeated", 0) == 6000, (said, errors)
    ids = [event.id for event in await recorded(log)]
    assert ids == [f"probe-{number}" for number in range(6000)]


async def test_a_paused_server_is_waited_for(server: GameServer, log: Log, probe: Any) -> None:
    import signal as signals

    program = await probe("publish", server.game_url, "w1", 4000, 5, 100)
    await program.line()
    server.signal(signals.SIGSTOP)
    await asyncio.sleep(1.0)
    server.signal(signals.SIGCONT)
    said = await program.line()
    await program.end()
    assert said["recorded"] == 4000
    assert [event.id for event in await recorded(log)] == [f"probe-{number}" for number in range(4000)]


async def published(server: GameServer) -> int:
    """The number of messages that the probe has sent, by the server's own count."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.monitor_url}/connz") as answer:
        return sum(one["in_msgs"] for one in (await answer.json())["connections"] if one.get("lang") == "C")


async def test_a_log_that_nobody_serves_yet_is_waited_for(server: GameServer, connection: Connection, probe: Any) -> None:
    program = await probe("publish", server.game_url, "w1", 40, 3)
    await program.line()
    while await published(server) < 40 + 40:  # each of them again: the server has said that nobody listens
        await asyncio.sleep(0.02)
    log = await open_log(connection)
    said = await program.line()
    await program.end()
    assert (said["recorded"], said["reconnects"]) == (40, 0)
    assert said["resent"] >= 40
    assert [event.id for event in await recorded(log)] == [f"probe-{number}" for number in range(40)]
    await log.aclose()


async def test_a_full_queue_is_said_and_every_queued_event_has_one_receipt(server: GameServer, log: Log, probe: Any) -> None:
    program = await probe("overflow", server.game_url, "w1", 64)
    said = await program.line()
    await program.end()
    assert said["full"] > 0
    assert said["queued"] + said["full"] == 200_000
    assert said["receipts"] == said["queued"]


async def test_bad_names_and_payloads_are_refused_before_they_are_queued(server: GameServer, log: Log, probe: Any) -> None:
    program = await probe("refuse", server.game_url, "w1")
    said = await program.line()
    await program.end()
    names = dict.fromkeys(("empty", "dot", "star", "long", "id"), "bad_name")
    assert said == names | {"infinite": "bad_event", "large": "too_large", "queued": 0}
    assert (await log.state()).last == 0


async def test_a_subscription_hears_the_log_from_its_beginning_and_over_a_restart(
    server: GameServer, connection: Connection, log: Log, probe: Any
) -> None:
    drafts = [Draft(data=PlayerMoved(zone="quay"), world="w1", entity=f"p{number}", id=f"move-{number}") for number in range(40)]
    async with open_publisher(connection, log, "relaxed") as publisher:
        for draft in drafts[:20]:
            await publisher.publish(draft)
        await publisher.publish(Draft(data=PlayerMoved(zone="moor"), world="w2", entity="p0"))
        program = await probe("follow", server.game_url, "w1", "game", "PlayerMoved", 40)
        said = [await program.line() for _ in range(21)]
        heard = [line for line in said if "ready" not in line]
        server.kill()
        server.start()
        for draft in drafts[20:]:
            await publisher.publish(draft)
        heard += [await program.line() for _ in range(20)]
    await program.end()
    assert [line["id"] for line in heard] == [draft.id for draft in drafts]
    assert [line["position"] for line in heard] == [*range(1, 21), *range(22, 42)]
    assert {line["zone"] for line in heard} == {"quay"}


async def test_chunks_of_a_line_are_heard_as_signals(server: GameServer, connection: Connection, log: Log, probe: Any) -> None:
    program = await probe("listen", server.game_url, "w1", "tokens", 3)
    assert await program.line() == {"ready": True}
    for number in range(3):
        signal(
            connection,
            "sig.w1.tokens.req-7",
            TokensDelivered(request_id="req-7", sequence=number, text=f"word {number}").SerializeToString(),
        )
    assert [await program.line() for _ in range(3)] == [{"kind": "tokens", "key": "req-7", "text": f"word {number}"} for number in range(3)]
    await program.end()


async def test_the_worlds_clock_is_a_signal_without_a_key(server: GameServer, connection: Connection, log: Log, probe: Any) -> None:
    program = await probe("listen", server.game_url, "w1", "clock", 1)
    assert await program.line() == {"ready": True}
    signal(connection, "sig.w1.clock", PresentMoment(scale=60_000).SerializeToString())
    heard = await program.line()
    assert (heard["kind"], heard["key"]) == ("clock", "")
    await program.end()


async def test_no_server_is_said_plainly(probe: Any) -> None:
    program = await probe("refuse", "nats://127.0.0.1:9", "w1")
    assert "no NATS server answers at nats://127.0.0.1:9" in await program.end(code=4)


async def test_settings_that_cannot_work_are_said_plainly(server: GameServer, probe: Any) -> None:
    program = await probe("refuse", server.game_url, "no world")
    assert "world must be 1 to 64 of A-Z a-z 0-9 _ -" in await program.end(code=4)


async def test_a_rule_over_two_purses_holds_whoever_races(server: GameServer, log: Log, probe: Any) -> None:
    program = await probe("race", server.game_url, "w1", 50)
    assert await program.line() == {"held": 50}
    await program.end()

    assert len(await recorded(log)) == 150


async def test_groups_end_as_they_should_and_are_recognised_for_ever_under_expectations(
    server: GameServer, connection: Connection, log: Log, probe: Any
) -> None:
    program = await probe("groups", server.game_url, "w1")
    first, only = ["recorded", 1], ["recorded", 3]
    assert await program.line() == {"ended": [first, first, only, only, ["conflict", 0, "game", "a", 0, 1]]}
    assert await program.line() == {"ended": [["recorded", 5], ["conflict", 0, "game", "b", 1, 2]]}
    await forget_ids(connection)
    program.go_on()
    assert await program.line() == {"ended": [first, ["refused", 0]]}
    assert await program.line() == {"ended": [["refused", 0]] * 8}
    await program.end()

    events = await recorded(log)
    assert [event.id for event in events[:4]] == ["g1", "g2", "g3", "g4"]
    assert len(events) == 5
    assert [from_protobuf(event.raw).entity for event in events] == ["a", "b", "c", "d", "a"]
