"""Simulated players: what each wants next is drawn from the seed, so the same seed plays the same game."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.event import Draft
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined, PlayerLeft, PlayerMoved
from schemas.gen.worldbus.state.v1.state_pb2 import LoadRequested, SaveRequested, StateChangeRequested
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from schemas.gen.worldbus.weather.v1.weather_pb2 import ForecastRequested, WeatherOverrideRequested, ZoneDeclared
from worldbus.demo.deeds import DEEDS

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from worldbus.demo.ledger import Ledger
    from worldbus.demo.seen import Seen

ZONES: Final = {"quay": "harbour", "fishmarket": "harbour", "old-moor": "moor", "reed-path": "moor", "north-pass": "highland"}
SKIES: Final = ("fog", "storm", "clear")
PLATFORMS: Final = ("windows", "linux", "ps5")
MEAN_PAUSE_S: Final = 1.5  # between two things that a player does
OVERRIDE_WORLD_MS: Final = 3 * 3_600_000


def zones(world: str, seed: int) -> list[Draft]:
    """The places of the demo, each with its weather."""
    return [
        Draft(data=ZoneDeclared(climate=climate, seed=seed * 1000 + number + 1), world=world, entity=zone)
        for number, (zone, climate) in enumerate(ZONES.items())
    ]


@dataclass(slots=True)
class Player:
    """One simulated player; `say` draws the next thing to say."""

    name: str
    world: str
    dice: random.Random
    run: int = 0
    online: bool = False
    zone: str = ""
    saved: bool = False
    said: int = field(default=0)

    @classmethod
    def of(cls, world: str, seed: int, number: int, run: int = 0) -> Player:
        """The player of that number; another run on the same log gives its requests other names."""
        return cls(name=f"player-{number:04d}", run=run, world=world, dice=random.Random(f"{seed}/{number}"))

    def pause_s(self) -> float:
        """How long until the next thing is said."""
        return self.dice.expovariate(1 / MEAN_PAUSE_S)

    def say(self, seen: Seen) -> Draft:
        """The next event; `seen` is the world as this player's client sees it."""
        self.said += 1
        if not self.online:
            return self._join()
        roll = self.dice.random()
        if roll < 0.15:
            return self._move()
        if roll < 0.27:
            return self._change(seen.players[self.name].version)
        if roll < 0.31:
            return self._draft(PlayerHeartbeat())
        if roll < 0.33:
            return self._keep()
        if roll < 0.36:
            return self._draft(ForecastRequested(steps=6, request_id=f"{self.run}-{self.said}"), entity=self.zone)
        if roll < 0.365:
            wish = WeatherOverrideRequested(
                sky=self.dice.choice(SKIES), intensity=0.8, for_world_ms=OVERRIDE_WORLD_MS, reason="a demo's whim"
            )
            return self._draft(wish, entity=self.zone)
        if roll < 0.98:
            return self._do(seen)
        return self.leave()

    def _do(self, seen: Seen) -> Draft:
        (deed,) = self.dice.choices([deed for deed, _ in DEEDS], [share for _, share in DEEDS])
        said = deed(self.dice, self.name, f"{self.run}-{self.name}-{self.said}", seen)
        if isinstance(said.data, PlayerMoved):
            if said.data.zone == self.zone:  # a visit counts on entering
                return self._move()
            self.zone = said.data.zone
        return self._draft(said.data, entity=said.entity)

    def leave(self) -> Draft:
        """Say goodbye."""
        self.online = False
        return self._draft(PlayerLeft(reason="done for today"))

    def _draft(self, data: Message, entity: str = "") -> Draft:
        return Draft(data=data, world=self.world, entity=entity or self.name)

    def _join(self) -> Draft:
        self.online, self.zone = True, self.dice.choice(tuple(ZONES))
        platform = self.dice.choice(PLATFORMS)
        return self._draft(PlayerJoined(display_name=self.name.title(), platform=platform, game_server="demo", zone=self.zone, x=1.0))

    def _move(self) -> Draft:
        self.zone = self.dice.choice([zone for zone in ZONES if zone != self.zone])
        return self._draft(PlayerMoved(zone=self.zone, x=round(self.dice.uniform(0, 100), 1), y=round(self.dice.uniform(0, 100), 1)))

    def _change(self, version: int) -> Draft:
        values = {
            "gold": StateValue(integer=self.dice.randrange(1000)),
            "mood": StateValue(text=self.dice.choice(("calm", "wary", "merry"))),
        }
        return self._draft(StateChangeRequested(request_id=f"{self.run}-{self.said}", expected_version=version, set=values))

    def _keep(self) -> Draft:
        self.saved = not self.saved
        return self._draft(SaveRequested(slot="camp") if self.saved else LoadRequested(slot="camp"))


async def play(player: Player, ledger: Ledger, seen: Seen, until: float) -> None:
    """Let a player live until the loop's clock says `until`, then leave."""
    clock = asyncio.get_running_loop().time
    while (pause := player.pause_s()) < until - clock():
        await asyncio.sleep(pause)
        await ledger.insist(player.say(seen))
    if player.online:
        await ledger.insist(player.leave())
