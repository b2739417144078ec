"""Inputs and own events that were recorded under another name, over a chain of two: handlers take them in, and `verify` decides them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from google.protobuf.message import Message

from bus.connection import Connection
from bus.event import Draft
from bus.runtime import places
from bus.verify import verify
from schemas.errors import BadUpcast
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerJoined, PlayerLeftZone, PlayerMoved
from tests.integration.bus.test_runtime import WORLD, check_sequential, eventually, mover, own_nats, process
from tests.upcasts import INPUTS, ship
from worldbus.embedded import NatsServer

__all__ = ["own_nats"]

KINDS: tuple[type[Message], ...] = (PlayerJoined, PlayerLeftZone, PlayerMoved)
alone = replace(mover, listens_to=(PlayerMoved,))


async def say(connection: Connection, count: int) -> None:
    """Moves of four players, as releases of three names recorded them."""
    for number in range(count):
        message = KINDS[number % 3](zone=f"z{number}")  # type: ignore[call-arg]
        draft = Draft(data=message, world=WORLD, entity=f"p{number % 4}", id=f"move-{number}", time_ns=number)
        await connection.request(draft.subject.published(), draft.encode())


async def test_a_handler_takes_in_what_was_recorded_under_older_names(own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, INPUTS)
    async with process(own_nats, alone) as (_, log):
        await say(log.connection, 24)
        lanes = await eventually(log, 48)
        history = [event async for batch in log.read() for event in batch]

    check_sequential(lanes)
    report = verify([alone], history, settled=lambda handler, partition: len(history))
    assert (report.decisions, report.different, report.open) == (24, 0, 0)


async def test_a_rename_that_ships_later_lets_the_handler_read_on_under_every_name(
    own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its consumers have another filter then: they are made anew behind what was settled."""
    async with process(own_nats, alone) as (_, log):
        await say(log.connection, 12)
        assert sum(map(len, (await eventually(log, 8)).values())) == 8  # one name in three
        await asyncio.sleep(0.1)
    ship(monkeypatch, INPUTS)
    async with process(own_nats, alone) as (_, log):
        for number in range(100, 112):
            draft = Draft(data=PlayerLeftZone(zone="old"), world=WORLD, entity=f"p{number % 4}", id=f"move-{number}")
            await log.connection.request(draft.subject.published(), draft.encode())
        lanes = await eventually(log, 8 + 24)

    check_sequential(lanes)


def test_the_places_of_a_handler_want_every_name_and_read_their_whole_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (places(alone, 8)[3].subject_filter, places(alone, 8)[3].wanted) == ("evt.3.*.*.*.PlayerMoved", {b"PlayerMoved"})

    ship(monkeypatch, INPUTS)

    place = places(alone, 8)[3]
    assert (place.subject_filter, place.wanted) == ("evt.3.*.*.*.*", {b"PlayerMoved", b"PlayerLeftZone", b"PlayerJoined"})


@pytest.mark.parametrize("changes", [{"listens_to": (PlayerLeftZone,)}, {"emits": (PlayerEnteredZone, PlayerLeftZone)}])
def test_a_handler_of_a_type_that_nothing_is_read_as_any_more_is_refused(
    changes: dict[str, tuple[type[Message], ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, INPUTS)

    with pytest.raises(BadUpcast, match="name that one instead"):
        places(replace(mover, **changes), 8)
