"""Permissions as `worldbus rights --nats` prints them, in a real nats-server: it refuses what the table refuses, and clients work."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from click.testing import CliRunner

from bus.connection import connect
from bus.errors import BadEvent
from bus.event import Draft, Event
from bus.log import open_log
from bus.publisher import open_publisher
from schemas.gen.worldbus.coupon.v1.coupon_pb2 import CouponDefinitionRequested
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from tests.streams import forget_ids
from worldbus.cli.app import app
from worldbus.embedded.nats import NatsServer
from worldbus_client import Client, Conflict, Lane, Unknown
from worldbus_client import Draft as Theirs
from worldbus_client.client import Signal
from worldbus_client.gen.worldbus.coupon.v1 import CouponDefinitionRequested as Coupon
from worldbus_client.gen.worldbus.game.v1 import ObjectExamined
from worldbus_client.gen.worldbus.inventory.v1 import ItemUseRequested
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved

USERS = {
    "game": (),
    "game-reading": ("--reads",),
    "client": ("--role", "client", "--entity", "mira", "--entity", "mira-2"),
    "studio": ("--role", "studio"),
}
PASSWORD = "only-for-tests"


def printed(*words: str) -> str:
    """What the verb prints."""
    found = CliRunner().invoke(app, ["rights", "--nats", "--world", "w1", *words], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


class PermittingServer(NatsServer):
    """The embedded server with a user for each role, whose permissions are those that the command line prints."""

    def _users(self) -> list[str]:
        return super()._users() + [f"{{ user: {name}, password: {PASSWORD}\n{printed(*words)} }}" for name, words in USERS.items()]

    def url_of(self, user: str) -> str:
        return f"nats://{user}:{PASSWORD}@{self.url.rpartition('@')[2]}"


@pytest.fixture(scope="module")
def server(servers_folder: Path) -> Iterator[PermittingServer]:
    server = PermittingServer(servers_folder / "permitting", password=PASSWORD, strict=False)
    server.start()

    async def make() -> None:
        async with connect(server.url, name="test") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                await publisher.publish(Draft(world="w1", subsystem="npc", entity="hask", data=NpcSpoke(text="Fish!")))
            await log.aclose()

    asyncio.run(make())
    yield server
    server.stop()


def recorded(server: NatsServer) -> list[Event]:
    """Everything in the log."""

    async def read() -> list[Event]:
        async with connect(server.url, name="test") as connection:
            log = await open_log(connection)
            events = [event async for batch in log.read(until=(await log.state()).last) for event in batch]
            await log.aclose()
            return events

    return asyncio.run(read())


@dataclass
class User:
    """A NATS user, and what the server says against it."""

    nats: nats.NATS
    complaints: asyncio.Queue[str]

    async def asks(self, subject: str, body: bytes = b"") -> str:
        """The server's answer."""
        return (await self.nats.request(subject, body, timeout=30)).data.decode()

    async def refused(self, subject: str) -> bool:
        """Whether the server says that it may not publish there; waits for its word."""
        await self.nats.publish(subject, b"")
        return await self.complaint() == f'nats: permissions violation for publish to "{subject.lower()}"'

    async def complaint(self) -> str:
        """What the server says against it next."""
        async with asyncio.timeout(60):
            return await self.complaints.get()


@asynccontextmanager
async def user(server: PermittingServer, name: str) -> AsyncIterator[User]:
    complaints: asyncio.Queue[str] = asyncio.Queue()

    async def complain(error: Exception) -> None:
        complaints.put_nowait(str(error))

    client = await nats.connect(server.url_of(name), error_cb=complain)
    yield User(client, complaints)
    await client.close()


@pytest.mark.parametrize("name", ["game", "game-reading"])
@pytest.mark.parametrize(
    "subject",
    [
        "evt.w1.game.summer.CouponDefinitionRequested",
        "evt.w1.studio.summer.CouponDefinitionRequested",
        "evt.w1.game.silver.RolloutStartRequested",
        "evt.w1.operator.silver.RolloutStartRequested",
        "evt.w1.game.mira.RefundRequested",
        "evt.w1.client.mira.RefundRequested",
        "evt.w1.operator.mira.CreditRequested",
        "evt.w1.game.speech.ServiceRegisterRequested",  # as another: its own it has not named
        "evt.w1.player.mira.PlayerArrived",  # a fact of another subsystem
        "evt.w1.game.mira.PlayerArrived",
        "evt.w1.game.mira.NoSuchType",
        "evt.other.game.mira.PlayerMoved",
        "evt.0.w1.game.mira.PlayerMoved",
        "$JS.API.STREAM.DELETE.LOG",
        "$JS.API.STREAM.PURGE.LOG",
        "$JS.API.STREAM.UPDATE.LOG",
        "$JS.API.STREAM.MSG.DELETE.LOG",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.CONSUMER.DELETE.LOG.weather_0",
        "$JS.API.CONSUMER.DURABLE.CREATE.LOG.mine",
        "$JS.API.CONSUMER.MSG.NEXT.LOG.mine",
        "$JS.API.DIRECT.GET.LOG",
        "$JS.API.DIRECT.GET.LOG.evt.0.w1.game.mira.PlayerMoved",
        "$JS.API.STREAM.MSG.GET.SNAPSHOTS",
        "req.w1.kb.recall",
        "sig.w1.tokens.r1",
    ],
)
async def test_the_server_refuses_what_the_table_refuses(server: PermittingServer, name: str, subject: str) -> None:
    async with user(server, name) as game:
        assert await game.refused(subject)


async def test_who_only_publishes_reads_nothing(server: PermittingServer) -> None:
    async with user(server, "game") as game:
        assert '"messages"' in await game.asks("$JS.API.STREAM.INFO.LOG")
        assert await game.refused("$JS.API.CONSUMER.CREATE.LOG.mine")
        assert await game.refused("$JS.API.STREAM.MSG.GET.LOG")
        await game.nats.subscribe("evt.>")
        assert "permissions violation for subscription" in await game.complaint()


async def test_a_client_speaks_about_its_own_entities_alone(server: PermittingServer) -> None:
    async with user(server, "client") as client:
        for own in ("mira", "mira-2"):
            assert '"seq"' in await client.asks(f"evt.w1.client.{own}.ObjectExamined")
        assert client.complaints.empty()
        for other in (
            "evt.w1.client.tomas.ObjectExamined",
            "evt.w1.client.tomas.RefundRequested",
            "evt.w1.game.mira.ObjectExamined",
            "evt.w1.client.mira.PlayerMoved",  # what only a game server can have seen
            "evt.w1.client.mira.StoryChoiceRequested",  # the payload says whose it is, which no subject does
        ):
            assert await client.refused(other), other


def test_the_python_client_publishes_as_its_role_may(server: PermittingServer) -> None:
    with Client(server.url_of("game"), world="w1") as game:
        position = game.publish("ada", PlayerMoved(zone="quay"))
        used = game.publish("ada", ItemUseRequested())
        group = game.publish_group([Theirs("bo", PlayerMoved(zone="quay")), Theirs("cy", PlayerMoved(zone="quay"))], expected={"bo": 0})
    with Client(server.url_of("studio"), world="w1", subsystem="studio") as studio:
        coupon = studio.publish("summer", Coupon(percent=10))
    with (
        Client(server.url_of("game"), world="w1", answer_timeout=2.0, give_up=4.0) as game,
        pytest.raises(Unknown, match=r"(?i)permissions violation"),
    ):
        game.publish("summer", Coupon(percent=100))
    with (
        Client(server.url_of("client"), world="w1", subsystem="client", answer_timeout=2.0, give_up=4.0) as client,
        pytest.raises(Unknown, match=r"(?i)permissions violation"),
    ):
        client.publish("tomas", ObjectExamined())

    events = {event.position: event for event in recorded(server)}
    assert [events[one].subsystem for one in (position, used, *group, coupon)] == ["game"] * 4 + ["studio"]
    assert [event.position for event in events.values() if event.entity == "summer"] == [coupon]
    assert not any(event.entity == "tomas" for event in events.values())


def test_the_python_client_reads_and_expects_as_a_role_that_reads(server: PermittingServer) -> None:
    with Client(server.url_of("game-reading"), world="w1") as game:
        spoke = next(game.follow(event="NpcSpoke", after=0, wait=60.0))
        pair = [Theirs(one, PlayerMoved(zone="quay"), id=f"pair-{one}", time_ns=1_796_000_000_000_000_000) for one in ("dee", "eli")]
        positions = game.publish_group(pair, expected={"dee": 0})
        with pytest.raises(Conflict) as other:
            game.publish_group([Theirs("dee", PlayerMoved(zone="moor"))], expected={"dee": 0})
        with pytest.raises(Conflict) as read_only:
            game.publish_group([Theirs("fay", PlayerMoved(zone="moor"))], expected={Lane("npc", "hask"): 0})

        again = [game.publish_group(pair, expected={"dee": 0}) for _ in range(2)]
        asyncio.run(forget(server))
        again.append(game.publish_group(pair, expected={"dee": 0}))

    assert (spoke.entity, spoke.name) == ("hask", "NpcSpoke")
    assert (other.value.found, read_only.value.found) == (positions[0], spoke.position)
    assert again == [positions] * 3


async def forget(server: NatsServer) -> None:
    """As `forget_ids`."""
    async with connect(server.url, name="test") as connection:
        await forget_ids(connection)


def test_a_role_hears_the_signals_of_its_world(server: PermittingServer) -> None:
    heard: queue.Queue[Signal] = queue.Queue()

    with Client(server.url_of("game"), world="w1") as game:
        game.on_signal("tokens", heard.put)
        asyncio.run(_signal(server))
        assert heard.get(timeout=60).key == "r1"


async def _signal(server: PermittingServer) -> None:
    async with user(server, "worldbus") as unlimited:
        await unlimited.nats.publish("sig.w1.tokens.r1", b"hello")
        await unlimited.nats.flush(30)


async def test_the_logs_answer_at_anothers_subject_is_no_event(server: PermittingServer) -> None:
    """NATS looks at what is published, not at where the answer goes: the server's acknowledgement lands in the studio's name."""
    last = await _last(server)
    async with user(server, "game") as game:
        await game.nats.publish("evt.w1.game.mira.PlayerMoved", b"", reply="evt.w1.studio.silver.ModelRetireRequested")
        await game.nats.flush(30)
        assert game.complaints.empty()
    events: list[Event] = []
    async with connect(server.url, name="test") as connection:
        log = await open_log(connection)
        async with asyncio.timeout(60):
            while (await log.state()).last < last + 2:
                await asyncio.sleep(0.01)
        events = [event async for batch in log.read(after=last, until=last + 2) for event in batch]
        await log.aclose()
    (forged,) = [event for event in events if event.subsystem == "studio"]
    assert forged.name == "ModelRetireRequested"
    with pytest.raises(BadEvent, match="answer to a publisher"):
        _ = forged.data


async def _last(server: NatsServer) -> int:
    async with connect(server.url, name="test") as connection:
        log = await open_log(connection)
        last = (await log.state()).last
        await log.aclose()
        return last


@pytest.mark.parametrize("subject", ["$JS.API.CONSUMER.CREATE.LOG", "$JS.API.CONSUMER.CREATE.LOG.pushed"])
async def test_a_consumer_does_not_push_into_the_log(server: PermittingServer, subject: str) -> None:
    async with user(server, "game-reading") as game:
        settings = {"name": "pushed", "deliver_subject": "evt.w1.operator.silver.ModelRetireRequested", "ack_policy": "none"}
        asked = json.dumps({"stream_name": "LOG", "config": settings}).encode()
        assert "forms a cycle" in await game.asks(subject, asked)


async def test_whoever_may_ask_consumers_may_record_any_event_again(server: PermittingServer) -> None:
    """Why these permissions never grant `MSG.NEXT`, and the clients have consumers push. If this fails, NATS has changed."""
    await forget(server)
    last = await _last(server)
    settings = {"name": "asked", "ack_policy": "none", "mem_storage": True, "num_replicas": 1, "inactive_threshold": 60_000_000_000}
    async with user(server, "worldbus") as unlimited:
        await unlimited.asks("$JS.API.CONSUMER.CREATE.LOG.asked", json.dumps({"stream_name": "LOG", "config": settings}).encode())
        await unlimited.nats.publish("$JS.API.CONSUMER.MSG.NEXT.LOG.asked", b"1", reply="evt.w1.game.x.PlayerMoved")
        async with asyncio.timeout(60):
            while (await _last(server)) == last:
                await asyncio.sleep(0.01)
    events = await asyncio.to_thread(recorded, server)

    assert (events[-1].subsystem, events[-1].id) == (events[0].subsystem, events[0].id) == ("npc", events[0].id)


async def test_whoever_may_direct_get_may_write_anything(server: PermittingServer) -> None:
    """Why these permissions never grant it, and the clients do without. If this fails, NATS has changed, and they could have it."""
    forged = Draft(world="w1", subsystem="studio", entity="forged", data=CouponDefinitionRequested(percent=100)).encode()
    async with user(server, "worldbus") as unlimited:
        position = json.loads(await unlimited.asks("evt.w1.game.x.PlayerMoved", forged))["seq"]
        at = "evt.w1.studio.forged.CouponDefinitionRequested"
        await unlimited.nats.publish("$JS.API.DIRECT.GET.LOG", json.dumps({"seq": position}).encode(), reply=at)
        async with asyncio.timeout(60):
            while (await _last(server)) == position:
                await asyncio.sleep(0.01)
    events = await asyncio.to_thread(recorded, server)

    assert [(event.subsystem, event.data) for event in events if event.entity == "forged"] == [
        ("studio", CouponDefinitionRequested(percent=100))
    ]
