"""CloudEvents' SDK for JavaScript, which knows nothing of us: what it writes is our event on NATS, and it reads what we show."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nats

from bus.event import Draft, Event
from bus.json_format import to_dict, to_json
from bus.log import Log
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from tests.clients.typescript.conftest import WebSocketServer

SDK = Path(__file__).parent / "sdk"


def run(given: str = "") -> list[dict[str, object]]:
    node = shutil.which("node")
    assert node is not None, "wanted node, found none"
    done = subprocess.run([node, "write.mjs"], cwd=SDK, input=given, text=True, capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_what_the_sdk_writes_is_one_event_in_every_mode(server: WebSocketServer, log: Log) -> None:
    client = await nats.connect(server.url)
    for message in run():
        headers = {str(name): str(value) for name, value in dict(message["headers"]).items()}  # type: ignore[call-overload]
        await client.jetstream().publish("evt.w1.game.mira.PlayerJoined", str(message["body"]).encode(), headers=headers)
    await client.close()
    events = [event async for some in log.read() for event in some]
    documents = [{**to_dict(event), "position": 0, "recorded": ""} for event in events]

    assert len(events) == 3
    assert documents == documents[:1] * 3
    assert events[0].data == PlayerJoined(display_name="Mira", zone="quay")
    assert documents[0]["tracestate"] == "rojo=00f067aa0ba902b7"
    assert [event.header is None for event in events] == [True, False, False]


def test_the_sdk_reads_what_we_show() -> None:
    draft = Draft(data=PlayerJoined(zone="quay"), world="w1", entity="mira", id="ours-1", extensions=(("partitionkey", "eu"),))
    event = Event(raw=draft.encode(), subject=draft.subject, partition=1, position=7, recorded_ns=draft.time_ns)

    assert run(to_json(event))[-1] == {
        "mode": "read",
        "id": "ours-1",
        "type": "worldbus.player.v1.PlayerJoined",
        "zone": "quay",
        "partitionkey": "eu",
    }
