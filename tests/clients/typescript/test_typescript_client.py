"""The TypeScript client over WebSocket on a real nats-server, read by our own reader: what a browser says is in the log once, in order."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from bus.connection import Connection
from bus.event import Draft, Event
from bus.log import Log
from bus.protobuf_format import from_protobuf
from bus.publisher import open_publisher
from bus.signals import signal
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment, WorldTime
from tests.clients.typescript.conftest import WebSocketServer
from tests.streams import forget_ids
from worldbus_client import Anchor, world_time

ROOT = Path(__file__).parents[3]
GIVEN = """
declare let dropped: number;
declare const session: string;
declare function notice(connected: boolean): void;
declare function report(error: unknown): void;
declare function show(entity: string, text: string): void;
declare function speak(request: string, text: string): void;
"""  # by the game, on the page


def test_the_code_of_the_page_compiles_against_the_package() -> None:
    page = (ROOT / "docs" / "how-to" / "publish-from-an-engine.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```typescript\n(.*?)```", page, re.DOTALL)
    package = ROOT / "clients" / "typescript"
    source = package / "dist" / "page.ts"
    source.write_text(code + GIVEN, encoding="utf-8")
    options = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext")
    done = subprocess.run(["node_modules/.bin/tsc", *options, "dist/page.ts"], cwd=package, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def recorded(log: Log) -> list[Event]:
    last = (await log.state()).last
    return [event async for batch in log.read(until=last) for event in batch] if last else []


async def test_every_event_is_in_the_log_once_in_order_and_keeps_our_own_rules(log: Log, probe: Any) -> None:
    program = await probe("publish", 400)
    assert await program.line() == {"connected": True}
    assert await program.line() == {"recorded": 400, "repeated": 0, "in_order": True}
    await program.end()

    events = await recorded(log)
    assert [event.id for event in events] == [f"ts-{number}" for number in range(400)]
    for number, event in enumerate(events):
        draft = from_protobuf(event.raw)  # what the bus itself would accept from anybody
        assert isinstance(draft.data, PlayerMoved)
        assert (draft.entity, draft.world, draft.subsystem, draft.data.x) == (f"p{number % 7}", "w1", "game", float(number))
        assert event.subject.published() == f"evt.w1.game.p{number % 7}.PlayerMoved"


async def test_the_same_ids_again_record_nothing(log: Log, probe: Any) -> None:
    for repeated in (0, 60):
        program = await probe("publish", 60)
        assert await program.line() == {"connected": True}
        assert (await program.line())["repeated"] == repeated
        await program.end()
    assert (await log.state()).last == 60


async def test_what_breaks_a_rule_or_finds_no_room_is_said_and_nothing_of_it_is_recorded(log: Log, probe: Any) -> None:
    program = await probe("refused")
    said = await program.line()
    await program.end()

    assert said["names"] == ["BadEvent"] * 12
    assert said["full"] == 1100 - 1024
    assert [event.data.x for event in await recorded(log) if isinstance(event.data, PlayerMoved)] == [
        float(number) for number in range(1024)
    ]


async def test_a_server_killed_while_the_game_plays_loses_and_doubles_nothing(server: WebSocketServer, log: Log, probe: Any) -> None:
    program = await probe("publish", 1000, 100)
    assert await program.line() == {"connected": True}  # node takes longer than 0.6 s to start on a busy machine; a first `connect` throws
    for _ in range(3):
        await asyncio.sleep(0.6)
        server.kill()
        server.start()
    said = await program.line(120.0)
    await program.end()

    assert said["recorded"] == 1000
    assert said["in_order"]
    assert [event.id for event in await recorded(log)] == [f"ts-{number}" for number in range(1000)]


async def test_a_browser_hears_lines_and_chunks_also_over_a_restart_of_the_server(
    server: WebSocketServer, connection: Connection, log: Log, probe: Any
) -> None:
    program = await probe("hear")
    assert await program.line() == {"ready": True}
    async with open_publisher(connection, log, "relaxed", monitors=[server.monitor_url]) as publisher:

        async def speak(text: str) -> None:
            await publisher.publish(Draft(data=NpcSpoke(player="mira", text=text), world="w1", entity="old-marten", subsystem="npc"))

        for attempt, text, last in ((2, "He left", False), (1, "overtaken", False), (2, "in autumn.", True)):
            chunk = TokensDelivered(request_id="r1", attempt=attempt, text=text, last=last)
            signal(connection, "sig.w1.tokens.r1", chunk.SerializeToString())
            if attempt == 2:
                assert await program.line() == {"chunk": text, "attempt": 2, "last": last}
        signal(connection, "sig.w1.clock", PresentMoment(now=WorldTime(hour=7), scale=60_000, running=True).SerializeToString())
        assert await program.line() == {"hour": 7, "scale": 60_000, "running": True}
        await speak("He left in autumn.")
        assert (await program.line())["text"] == "He left in autumn."
        server.kill()
        server.start()
        await speak("Nobody has seen him since.")
        heard = await program.line()

    assert (heard["entity"], heard["player"], heard["text"]) == ("old-marten", "mira", "Nobody has seen him since.")
    await program.end()
    first, *_ = await recorded(log)
    assert isinstance(first.data, PlayerSpoke)


async def test_the_present_moment_is_counted_as_python_counts_it(probe: Any) -> None:
    """The same anchors and moments for both, those before the step and behind the rest among them."""
    answer = {
        "at": "2026-11-22T12:00:00.250Z",
        "world_ms": 60_000,
        "owed_thousandths": 7,
        "scale": 60_001,
        "running": True,
        "rests_ms": 310_000,
    }
    at_ms = round(Anchor.of_answer({"anchor": answer}).at * 1000)
    moments = [at_ms + ms for ms in (-5, 0, 1, 999, 310_000, 310_001, 10**9)]
    for anchor in (answer, {**answer, "running": False}, {**answer, "rests_ms": 0}):
        program = await probe("times", json.dumps(anchor), *moments)
        wanted = [world_time(Anchor.of_answer({"anchor": anchor}), ms / 1000) for ms in moments]
        assert (await program.line())["times"] == wanted


async def test_a_rule_over_two_purses_holds_whoever_races(log: Log, probe: Any) -> None:
    program = await probe("race", 50)
    assert await program.line() == {"held": 50}
    await program.end()

    assert len(await recorded(log)) == 150


async def test_groups_end_as_they_should_and_are_recognised_for_ever_under_expectations(
    connection: Connection, log: Log, probe: Any
) -> None:
    program = await probe("groups")
    first, only = [1, 2], [3, 4]
    assert await program.line() == {"ended": [first, first, only, only, ["game", "a", 0, 1]]}
    assert await program.line() == {"ended": [[5], ["game", "b", 1, 2]]}
    await forget_ids(connection)
    program.go_on()
    assert await program.line() == {"ended": [first, "Refused"]}
    assert await program.line() == {"ended": ["BadEvent"] * 8}
    await program.end()

    assert (await log.state()).last == 5
