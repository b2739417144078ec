"""The last recorded inputs decided again: as many as are wanted, on lanes that know all that came before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest_asyncio
from google.protobuf.message import Message

from bus.connection import connect
from bus.event import Draft, Event
from bus.handler import Handler
from bus.log import Log, open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers
from handlers.content import Content
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived, PlayerJoined, PlayerSeen
from worldbus.dev.comparison import compared, found
from worldbus.dev.showing import lines_of
from worldbus.embedded import NatsServer
from worldbus.game import Game
from worldbus.lag import consumers
from worldbus.settings import Settings
from worldbus.testing.servers import delete_streams

GUESTS, VISITS = ("mira", "tam", "ona"), 5


def decide(event: Event, visits: int) -> Sequence[Message]:
    return (PlayerArrived(session=visits + 1),) if isinstance(event.data, PlayerJoined) else ()


def evolve(visits: int, event: Event) -> int:
    return int(event.data.session)  # type: ignore[attr-defined]


greets = Handler(
    name="greets", listens_to=(PlayerJoined, PlayerSeen), emits=(PlayerArrived,), initial=lambda entity: 0, decide=decide, evolve=evolve
)


def _game(handler: Handler[int]) -> Game:
    return Game(name="harbour", handlers=(handler,), projections=(), content=Content(Path()), edges={}, may_not=lambda *_: "")


@pytest_asyncio.fixture
async def log(nats_server: NatsServer) -> AsyncIterator[Log]:
    """A log in which each guest came several times, in turn, and was greeted before the next one came."""
    async with connect(nats_server.url, name="test") as connection:
        await delete_streams(connection, nats_server)
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher, run_handlers(connection, log, _game(greets).handlers):
            for number in range(VISITS * len(GUESTS)):
                data = PlayerJoined(display_name=str(number))
                await publisher.publish(Draft(data=data, world="main", entity=GUESTS[number % len(GUESTS)]))
                await log.wait_for(2 * number + 2)
        yield log
        await log.aclose()


def _settings(server: NatsServer) -> Settings:
    return Settings.read({}, nats_url=server.url, postgres_dsn="postgresql://nobody@localhost/none")


async def test_the_window_has_the_last_inputs_and_no_more(log: Log) -> None:
    last = 2 * VISITS * len(GUESTS)
    windows = [await found(log, [greets], inputs) for inputs in (1, 4, 15, 100)]

    assert [(one.since, one.until, one.inputs) for one in windows] == [
        (last - 2, last, 1),
        (last - 8, last, 4),
        (0, last, 15),
        (0, last, 15),
    ]


async def test_lanes_know_in_a_window_what_came_before_it(log: Log, nats_server: NatsServer) -> None:
    def shy(event: Event, visits: int) -> Sequence[Message]:
        return () if visits == VISITS - 1 else decide(event, visits)  # whoever came four times is not greeted again

    changed = replace(greets, decide=shy)
    same = await compared(_settings(nats_server), _game(greets), ["greets"], 6)
    other = await compared(_settings(nats_server), _game(changed), ["greets"], 6)
    assert same is not None
    assert other is not None

    assert (same.report.decisions, same.report.different, same.report.open) == (6, 0, 0)
    assert (other.report.decisions, other.report.different, other.report.open) == (6, 3, 0)
    assert {one.entity for one in other.report.differences} == set(GUESTS)
    assert lines_of(same, 5)[0] == "decided again: none of the last 6 decisions would differ, positions 19 to 30"
    shown = lines_of(other, 1)
    assert shown[0] == "decided again: 3 of the last 6 decisions would differ, positions 19 to 30"
    assert '    -  session = "5"' in shown
    assert shown[-1] == "  … and 2 more: `worldbus verify --show 3` lists those of the whole log"


async def test_at_the_start_those_are_compared_that_decide_by_other_rules_than_recorded(log: Log, nats_server: NatsServer) -> None:
    changed = replace(greets, decide=lambda event, visits: [PlayerArrived(session=7)])
    same, other = [await compared(_settings(nats_server), _game(one), None, 100) for one in (greets, changed)]

    assert same is None
    assert other is not None
    assert (other.handlers, other.report.different) == (("greets",), 15)


async def test_a_silence_that_would_be_broken_is_a_difference_once_the_handler_has_settled_it(log: Log, nats_server: NatsServer) -> None:
    async with (
        connect(nats_server.url, name="silence") as connection,
        open_publisher(connection, log, "relaxed") as publisher,
        run_handlers(connection, log, _game(greets).handlers),
    ):
        position = await publisher.publish(Draft(data=PlayerSeen(session=1), world="main", entity="mira"))
        while all(one.settled < position for one in await consumers(log, _game(greets).handlers)):
            await asyncio.sleep(0.01)
    while any(
        one.open for one in await consumers(log, _game(greets).handlers)
    ):  # what a runner acknowledges at its end is still on its way
        await asyncio.sleep(0.01)
    changed = replace(greets, decide=lambda event, visits: [PlayerArrived(session=visits + 1)])
    other = await compared(_settings(nats_server), _game(changed), ["greets"], 1)
    assert other is not None

    (difference,) = other.report.differences
    assert (difference.input, difference.recorded, difference.today) == (position, (), (("PlayerArrived", {"session": "6"}),))
