"""A nats-server with an empty log, on a thread's loop of its own kind: the client under test knows no asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.connection import connect
from bus.event import Draft, Event
from bus.log import open_log
from bus.publisher import open_publisher
from bus.signals import signal
from worldbus.embedded import NatsServer


@pytest.fixture
def server(data_folder: Path) -> Iterator[NatsServer]:
    """A nats-server of this test, with a log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()

    async def make() -> None:
        async with connect(server.url, name="test") as connection:
            await (await open_log(connection)).aclose()

    asyncio.run(make())
    yield server
    server.stop()


@pytest.fixture
def recorded(server: NatsServer) -> Callable[[], list[Event]]:
    """Everything in the log, as our own reader reads it."""

    async def read() -> list[Event]:
        async with connect(server.url, name="test") as connection:
            log = await open_log(connection)
            last = (await log.state()).last
            events = [event async for batch in log.read(until=last) for event in batch] if last else []
            await log.aclose()
            return events

    return lambda: asyncio.run(read())


@pytest.fixture
def say(server: NatsServer) -> Callable[[list[Draft]], None]:
    """Publish these."""

    async def publish(drafts: list[Draft]) -> None:
        async with connect(server.url, name="test") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                for draft in drafts:
                    await publisher.publish(draft)
            await log.aclose()

    return lambda drafts: asyncio.run(publish(drafts))


@pytest.fixture
def send_signal(server: NatsServer) -> Callable[[str, bytes], None]:
    """Send one signal."""

    async def send(subject: str, payload: bytes) -> None:
        async with connect(server.url, name="test") as connection:
            signal(connection, subject, payload)
            await connection.api("INFO")  # its answer comes behind the signal

    return lambda subject, payload: asyncio.run(send(subject, payload))


@pytest.fixture
def remove_readers(server: NatsServer) -> Callable[[], int]:
    """Take the consumers of all readers from the server, as a lost memory of it would; returns how many there were."""

    async def remove() -> int:
        async with connect(server.url, name="test") as connection:
            names = [one for one in (await connection.api("CONSUMER.NAMES.LOG"))["consumers"] or () if one.startswith("follow-")]
            for name in names:
                await connection.api(f"CONSUMER.DELETE.LOG.{name}")
            return len(names)

    return lambda: asyncio.run(remove())
