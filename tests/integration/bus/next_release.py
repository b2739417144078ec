"""The next release of the tests' `mover`, as a process: it emits `PlayerFlew`, a type that this release has never heard of.

python -m tests.integration.bus.next_release nats://…
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

import schemas.registry
from bus.connection import connect
from bus.event import Event
from bus.handler import Handler
from bus.lane_run import Limits
from bus.log import open_log
from bus.runtime import run_handlers
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerHeartbeat, PlayerMoved

FLEW = "worldbus.player.v1.PlayerFlew"


def player_flew() -> Any:
    """The class of the new type, made known to this process."""
    file = descriptor_pb2.FileDescriptorProto(name="worldbus/player/v1/flights.proto", package="worldbus.player.v1", syntax="proto3")
    message = file.message_type.add(name="PlayerFlew")
    message.field.add(name="zone", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    descriptor_pool.Default().Add(file)  # type: ignore[no-untyped-call]
    cls = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(FLEW))  # type: ignore[no-untyped-call]
    schemas.registry._messages[FLEW] = cls
    return cls


@dataclass(frozen=True, slots=True)
class Flights:
    """Another shape than that of the present release."""

    zones: tuple[str, ...] = ()
    flights: int = 0


def next_mover(flew: Any) -> Handler[Flights]:
    """The handler as the next release has it."""

    def decide(event: Event, state: Flights) -> Sequence[Message]:
        match event.data:
            case PlayerMoved(zone=zone):
                count = len(state.zones)
                first, second = f"{zone}/{count}", f"{zone}/{count + 1}"
                return [flew(zone=first) if zone.startswith("fly") else PlayerEnteredZone(zone=first), PlayerEnteredZone(zone=second)]
            case _:
                return []

    def evolve(state: Flights, event: Event) -> Flights:
        it: Any = event.data
        return replace(state, zones=(*state.zones, it.zone)[-1000:], flights=state.flights + (type(it) is flew))

    return Handler(
        name="mover", listens_to=(PlayerMoved, PlayerHeartbeat), emits=(PlayerEnteredZone, flew),
        initial=lambda entity: Flights(), decide=decide, evolve=evolve, version=2,
    )  # fmt: skip


async def main(url: str) -> None:
    """Run it until killed."""
    async with connect(url, name="next-release") as connection:
        log = await open_log(connection)
        async with run_handlers(connection, log, [next_mover(player_flew())], limits=Limits(snapshot_every=16)):
            sys.stdout.write("running\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
