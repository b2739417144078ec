"""The bus for engines and tools without asyncio: publish from any thread, read the log, hear signals. Plain Python, no compiled runtime.

from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client import Client

with Client() as bus:                                                 # where WORLDBUS_NATS_URL and WORLDBUS_WORLD say
    position = bus.publish("player-7", PlayerMoved(zone="quay"))      # waits for the log's answer
    ticket = bus.submit("player-7", PlayerMoved(zone="moor"))         # returns at once
    bus.publish_group([Draft("a", took), Draft("b", gave)], expected={"a": 17, "b": 12})  # both or none, if neither has moved
    for event in bus.follow(event="NpcSpoke"):                        # what is said from here on
        print(event.position, event.entity, event.data.text)
"""

from worldbus_client.client import Client
from worldbus_client.clock import Anchor, world_time
from worldbus_client.errors import (
    BadEvent,
    BadSettings,
    ClientError,
    Closed,
    Conflict,
    NotConnected,
    QueueFull,
    Refused,
    Unknown,
    WrongThread,
)
from worldbus_client.group import Draft, Lane
from worldbus_client.received import Event, Signal

__all__ = [
    "Anchor",
    "BadEvent",
    "BadSettings",
    "Client",
    "ClientError",
    "Closed",
    "Conflict",
    "Draft",
    "Event",
    "Lane",
    "NotConnected",
    "QueueFull",
    "Refused",
    "Signal",
    "Unknown",
    "WrongThread",
    "world_time",
]
