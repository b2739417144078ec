"""The sample game and the game of another repository on one bus: no word of one in a world of the other, each right by its own rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.message import Message

from bus.event import Draft, Event
from schemas import registry
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseCompleted, PurchaseRequested
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, ClockStartRequested
from tests.integration.test_two_games import judged, of, own_nats, process, until_answered
from tests.spaceport import call, known_here
from worldbus.embedded import NatsServer
from worldbus.game import Game
from worldbus.ticker.begin import EDGE as TICKER
from worlds import duskmarket

__all__ = ["own_nats"]

MAIN, PORT = "main", "port"
NAME = "starport"
EXAMPLE = Path(__file__).parents[2] / "examples" / "spaceport"
OF_THE_MARKET = (b"Widow Hask", b"widow-hask", b"spring", b"crowns", b"Doctor Vane")
OF_THE_PORT = (b"Renke", b"renke", b"meridian", b"marks", b"starport")


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Game]:
    """The space port in a world of this bus, under another name: its files and those of the tests' own space port have one pool here."""
    _copy_as(NAME, tmp_path)
    done = call(tmp_path, "proto")
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    with known_here():
        game: Game = import_module(NAME).game
        yield replace(game, plays=frozenset({PORT}))
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def _copy_as(name: str, folder: Path) -> None:
    """The sources of the example, with another name in them and in their paths."""
    for file in (path for path in EXAMPLE.rglob("*") if path.is_file()):
        parts = file.relative_to(EXAMPLE).parts
        if {"gen", "corpus", "__pycache__", "released.txt"}.isdisjoint(parts) and not parts[0].startswith("."):
            target = folder.joinpath(*(part.replace("spaceport", name) for part in parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.read_text(encoding="utf-8").replace("spaceport", name), encoding="utf-8")


def evening(sku: str, npc: str) -> list[tuple[Message, str, str]]:
    """The inputs of any world: (event, entity, subsystem)."""
    return [
        (ClockStartRequested(scale=60_000), "clock", TICKER),
        (PlayerJoined(display_name="Mira", zone="quay"), "mira", "game"),
        (PurchaseRequested(sku=sku, request_id="first"), "mira", "game"),
        (PlayerSpoke(npc=npc, text="Good evening."), "mira", "game"),
    ]


async def test_the_sample_and_the_space_port_share_a_bus(own_nats: NatsServer, port: Game) -> None:
    market = replace(duskmarket.game, plays=frozenset({MAIN}))
    docks = registry.message_class("starport.docking.v1.DockRequested")(ship="margin")
    unloads = registry.message_class("starport.cargo.v1.UnloadRequested")(good="ore", tonnes=4)
    async with process(own_nats, market, port) as bus:
        for world, inputs in ((MAIN, evening("lantern", "widow-hask")), (PORT, [*evening("fuel", "renke"), (docks, "meridian", "game")])):
            for message, entity, subsystem in inputs:
                await bus.publisher.publish(Draft(data=message, world=world, entity=entity, subsystem=subsystem))
        astray = await bus.publisher.publish(Draft(data=docks, world=MAIN, entity="quay", subsystem="game"))
        await until_answered(bus, (market, port))
        await bus.publisher.publish(Draft(data=unloads, world=PORT, entity="margin", subsystem="game"))
        found = await until_answered(bus, (market, port))

    assert [one.price_minor for one in of(found, PurchaseCompleted, MAIN)] == [450]
    assert [one.price_minor for one in of(found, PurchaseCompleted, PORT)] == [_price(port)]
    assert _names(found, PORT, "docking") == ["ShipDocked"]
    assert _names(found, PORT, "cargo")[:2] == ["HoldOpened", "CargoDeclared"]
    assert not [event for event in found if event.world == MAIN and event.subsystem in ("docking", "cargo", "customs")]
    assert not [event for event in found if event.world == PORT and event.subsystem in ("broker", "market", "quest", "storyteller")]
    hours = {world: of(found, ClockStarted, world)[0].calendar.hours_per_day for world in (MAIN, PORT)}
    assert hours == {MAIN: 24, PORT: 20}
    for world, name, stranger in ((MAIN, "Widow Hask", "Renke"), (PORT, "Renke", "Widow Hask")):
        (asked,) = of(found, InferenceRequested, world)
        prompt = " ".join(part.text for part in asked.prompt)
        assert (name in prompt, stranger in prompt) == (True, False)
    for event in found:
        strange = OF_THE_PORT if event.world == MAIN else OF_THE_MARKET
        assert event.position == astray or not [word for word in strange if word in event.raw], event.subject

    for game, world, handlers in (
        (market, MAIN, ("payment", "npc", "time")),
        (port, PORT, ("payment", "npc", "docking", "cargo", "customs")),
    ):
        report = judged(bus.log, game, found)
        assert (report.percent, report.different, report.open) == (100, 0, 0), world
        assert all(report.handlers[name].decisions for name in handlers)


def _price(port: Game) -> int:
    (price,) = port.content.prices.items["fuel"].prices.values()
    return int(price)


def _names(found: list[Event], world: str, subsystem: str) -> list[str]:
    return [event.name for event in found if event.world == world and event.subsystem == subsystem]
