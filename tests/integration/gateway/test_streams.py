"""Server-sent events: nothing is lost over a reconnect, nobody slow costs memory, and every end is clear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bus.connection import Connection
from bus.event import Draft
from bus.log import Log
from bus.signals import signal
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from tests.integration.gateway.conftest import DEAF, OTHER, QUICK, TOKEN, Caller, Open, joined
from worldbus.embedded import NatsServer


@dataclass
class Block:
    """One block of a stream."""

    event: str = "message"
    id: str = ""
    data: Any = None
    comments: list[str] = field(default_factory=list)


class Reader:
    """Reads blocks as the standard says."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.last_id = ""

    async def block(self) -> Block:
        """The next block, whatever it is. Raises `EOFError` at the end of the stream."""
        found = Block()
        while line := (await self.response.content.readline()).decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "":
                if line.startswith(":"):
                    found.comments.append(value)
                    continue
                return found
            if name == "id":
                found.id = self.last_id = value
            elif name == "data":
                found.data = json.loads(value)
            elif name == "event":
                found.event = value
        raise EOFError

    async def event(self) -> Block:
        """The next block that carries something."""
        while (found := await self.block()).data is None:
            pass
        return found

    async def events(self, count: int) -> list[str]:
        """The ids of the next events."""
        return [(await self.event()).data["id"] for _ in range(count)]


@asynccontextmanager
async def stream(caller: Caller, path: str, *, token: str = TOKEN, **headers: str) -> AsyncIterator[Reader]:
    sent = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with caller.session.get(caller.base + path, headers=sent) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Reader(response)


async def test_what_is_recorded_comes_with_its_position(caller: Caller) -> None:
    async with stream(caller, "/v1/subscribe") as reader:
        await reader.block()
        await reader.block()  # now it follows
        await caller.publish([joined("e1"), joined("e2", entity="oto")])
        first, second = await reader.event(), await reader.event()

    assert (first.id, first.data["id"], first.data["position"], first.data["data"]["zone"]) == ("1", "e1", 1, "quay")
    assert (second.event, second.id, second.data["subject"]) == ("message", "2", "oto")


async def test_who_comes_again_misses_nothing_and_sees_nothing_twice(caller: Caller) -> None:
    seen: list[str] = []
    last = "0"
    for round_ in range(4):
        await caller.publish([joined(f"e{round_}.{number}") for number in range(10)])
        async with stream(caller, "/v1/subscribe?after=7", Last_Event_ID=last) as reader:
            seen += await reader.events(7)
            last = reader.last_id
    async with stream(caller, "/v1/subscribe", Last_Event_ID=last) as reader:
        seen += await reader.events(12)

    assert seen == [f"e{round_}.{number}" for round_ in range(4) for number in range(10)]


async def test_filters_choose_and_signs_of_life_move_on(caller: Caller) -> None:
    await caller.publish(
        [joined("e1"), joined("e2", entity="oto"), joined("e3", type="PlayerLeft", data={}), joined("e4", source="/worldbus/tools")]
    )
    for query, wanted in {
        "entity=oto": ["e2"],
        "event=PlayerLeft": ["e3"],
        "event=worldbus.player.v1.PlayerJoined&subsystem=game": ["e1", "e2"],
        "entity=oto,mira&subsystem=tools": ["e4"],
        "world=main&event=PlayerJoined&event=PlayerLeft&entity=mira": ["e1", "e3", "e4"],
    }.items():
        async with stream(caller, f"/v1/subscribe?after=0&{query}") as reader:
            assert await reader.events(len(wanted)) == wanted, query
            while reader.last_id != "4":  # although nothing more is wanted
                await reader.block()


async def test_whoever_falls_behind_the_kept_events_goes_on_from_the_log(caller: Caller) -> None:
    caller.gateway.feed._kept = 5
    for number in range(4):
        await caller.publish([joined(f"e{number}.{index}", entity="oto" if index % 2 else "mira") for index in range(30)])
    await caller.gateway.feed.beyond(119)
    assert caller.gateway.feed.floor == 115

    async with stream(caller, "/v1/subscribe?after=0&entity=oto") as reader:
        seen = await reader.events(60)
        await caller.publish(joined("last", entity="oto"))
        seen += await reader.events(1)
    assert seen == [f"e{number}.{index}" for number in range(4) for index in range(1, 30, 2)] + ["last"]


async def test_an_event_that_cannot_be_read_says_so_and_stops_nobody(caller: Caller, connection: Connection) -> None:
    await connection.request("evt.main.game.mira.PlayerJoined", b"\x0a\x01x")
    await caller.publish(joined("e2"))
    async with stream(caller, "/v1/subscribe?after=0") as reader:
        damaged, good = await reader.event(), await reader.event()

    assert (damaged.event, damaged.id, damaged.data["position"]) == ("damaged", "1", 1)
    assert (good.event, good.data["id"]) == ("message", "e2")


async def test_an_impossible_time_is_passed_by_a_reader_that_comes_again(caller: Caller, connection: Connection) -> None:
    """P2: it broke every subscription behind which it lay, for ever."""
    envelope = CloudEvent.FromString(Draft(data=PlayerJoined(zone="quay"), world="main", entity="mira", id="e1").encode())
    envelope.attributes["time"].ce_timestamp.seconds = 1_796_001_898_136
    await connection.request("evt.main.game.mira.PlayerJoined", envelope.SerializeToString())
    await caller.publish(joined("e2"))
    async with stream(caller, "/v1/subscribe?after=0") as reader:
        odd, good = await reader.event(), await reader.event()
    async with stream(caller, "/v1/subscribe?after=0", Last_Event_ID=odd.id) as reader:
        again = await reader.event()
    looked = await caller.ask("GET", "/v1/events/1")

    assert (odd.event, odd.id, odd.data["code"], odd.data["event"]["id"]) == ("damaged", "1", "OUT_OF_RANGE", "e1")
    assert odd.data["event"]["data"] == {"zone": "quay"}
    assert [one.data["id"] for one in (good, again)] == ["e2", "e2"]
    assert (looked.status, looked.body["id"], list(looked.body["unreadable"])) == (200, "e1", ["time"])


@pytest.mark.parametrize(
    ("query", "token", "status", "code"),
    [
        ("world=main", OTHER, 403, "WORLD_NOT_ALLOWED"),
        ("", OTHER, 400, "WORLD_MISSING"),
        ("world=main", DEAF, 403, "MAY_NOT_HEAR"),
        ("world=main", "wbt_nobody", 401, "BAD_TOKEN"),
        ("world=*", TOKEN, 400, "BAD_SUBJECT"),
        ("entity=a.b", TOKEN, 400, "BAD_SUBJECT"),
        ("event=Nothing", TOKEN, 400, "UNKNOWN_TYPE"),
        ("after=-1", TOKEN, 400, "BAD_POSITION"),
        ("after=12345", TOKEN, 400, "BAD_POSITION"),
        ("after=x", TOKEN, 400, "BAD_POSITION"),
        ("entity=" + ",".join("abcdefghijklmnopqrstuvwxyzABCDEFGHI"), TOKEN, 400, "TOO_MANY_TOKENS"),
        ("afterr=1", TOKEN, 400, "UNKNOWN_PARAMETER"),
    ],
)
async def test_what_may_not_be_heard_or_is_not_there_is_refused(caller: Caller, query: str, token: str, status: int, code: str) -> None:
    answer = await caller.ask("GET", f"/v1/subscribe?{query}", token=token)

    assert (answer.status, answer.code) == (status, code)


async def test_streams_of_one_token_are_counted(caller: Caller) -> None:
    async with stream(caller, "/v1/subscribe"), stream(caller, "/v1/subscribe"), stream(caller, "/v1/signals"):
        answer = await caller.ask("GET", "/v1/subscribe")
        assert (answer.status, answer.code) == (429, "TOO_MANY_SUBSCRIPTIONS")
    while (await caller.ask("GET", "/metrics")).body.decode().find("worldbus_gateway_subscribers 0") < 0:
        await asyncio.sleep(0.05)


async def test_a_reader_that_takes_nothing_is_dropped(open_caller: Open, nats_server: NatsServer, log: Log) -> None:
    async with open_caller(nats_server.url, limits=replace(QUICK, stall_s=0.3)) as caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", caller.gateway.port, limit=1024)
        writer.write(f"GET /v1/subscribe?after=0 HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        await reader.readline()
        for number in range(60):  # more than all the buffers between us hold
            await caller.publish([joined(f"e{number}.{index}", data={"display_name": "x" * 200_000}) for index in range(2)])
        while caller.gateway.metrics.dropped["slow"] == 0:
            await asyncio.sleep(0.02)
        while caller.gateway.metrics.subscribers:
            await asyncio.sleep(0.02)
        writer.close()


async def test_a_gateway_that_stops_says_so(open_caller: Open, nats_server: NatsServer, log: Log) -> None:
    async with (
        open_caller(nats_server.url) as caller,
        stream(caller, "/v1/subscribe") as events,
        stream(caller, "/v1/signals") as signals,
    ):
        caller.gateway.close()
        ends = [await events.event(), await signals.event()]
        with pytest.raises(EOFError):
            await events.event()

    assert [(end.event, end.data["code"]) for end in ends] == [("end", "SHUTTING_DOWN")] * 2


async def test_a_restart_of_nats_does_not_end_a_stream(open_caller: Open, nats_server: NatsServer, log: Log) -> None:
    async with open_caller(nats_server.url) as caller, stream(caller, "/v1/subscribe?after=0") as reader:
        await caller.publish(joined("e1"))
        assert await reader.events(1) == ["e1"]
        nats_server.stop()
        nats_server.start()
        while (await caller.publish(joined("e2"))).status == 503:
            await asyncio.sleep(0.05)
        assert await reader.events(1) == ["e2"]


async def test_words_come_while_they_are_spoken(caller: Caller, connection: Connection) -> None:
    async with stream(caller, "/v1/signals?topic=tokens.r1") as words, stream(caller, "/v1/signals?topic=%3E") as everything:
        await words.block()
        await words.block()
        await everything.block()
        await everything.block()
        signal(connection, "sig.elsewhere.tokens.r1", b"")
        signal(connection, "sig.main.where", b"\xff\xfe")
        for number, text in enumerate(("Good ", "evening")):
            signal(connection, "sig.main.tokens.r1", TokensDelivered(request_id="r1", sequence=number, text=text).SerializeToString())
        heard = [await words.event(), await words.event()]
        other = await everything.event()

    assert [(one.data["subject"], one.data["data"]["text"]) for one in heard] == [
        ("sig.main.tokens.r1", "Good "),
        ("sig.main.tokens.r1", "evening"),
    ]
    assert other.data == {"subject": "sig.main.where", "base64": "//4="}


@pytest.mark.parametrize("topic", ["", "a..b", "%3E.a", "a b", "x" * 300])
async def test_a_topic_that_is_none_is_refused(caller: Caller, topic: str) -> None:
    assert (await caller.ask("GET", f"/v1/signals?topic={topic}")).status == 400


async def test_signals_of_another_world_are_not_for_sale(caller: Caller) -> None:
    assert (await caller.ask("GET", "/v1/signals?world=main", token=OTHER)).status == 403
    assert (await caller.ask("GET", "/v1/signals?world=*", token=OTHER)).status == 400


@pytest.mark.parametrize("path", ["/v1/subscribe", "/v1/signals"])
async def test_a_stream_ends_when_its_token_is_struck_out(caller: Caller, tmp_path: Path, path: str) -> None:
    async with stream(caller, path) as reader:
        await reader.block()
        file = tmp_path / "tokens.toml"
        file.write_text(file.read_text().partition("[wbt-other]")[1] + file.read_text().partition("[wbt-other]")[2])
        while (await caller.publish(joined("e1"))).status != 401:
            await asyncio.sleep(0.05)
        ended = await reader.event()
        while ended.event != "end":
            ended = await reader.event()
        assert ended.data["code"] == "TOKEN_CHANGED"
        with pytest.raises(EOFError):
            await reader.block()


async def test_a_stream_of_the_past_ends_when_its_token_is_narrowed(caller: Caller, tmp_path: Path) -> None:
    await caller.publish([joined(f"e{number}") for number in range(40)])
    async with stream(caller, "/v1/subscribe?after=0") as reader:
        await reader.event()
        file = tmp_path / "tokens.toml"
        file.write_text(file.read_text().replace('worlds = ["main"]\nsays = ["game", "tools"]', 'worlds = ["main2"]\nsays = ["game"]'))
        while (await caller.ask("GET", "/v1/events/1")).status != 404:
            await asyncio.sleep(0.05)
        assert (await caller.publish(joined("later", world="main"))).status == 403
        while (ended := await reader.event()).event != "end":
            assert ended.data["id"].startswith("e")
        assert ended.data["code"] == "TOKEN_CHANGED"
