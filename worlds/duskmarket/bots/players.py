"""Simulated players: what each wants next is drawn from the seed, so the same seed plays the same game.

What kinds there are, and how often each does what, is `worlds/duskmarket/bots.toml`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.event import Draft
from handlers.permissions import CLIENT, GAME
from schemas.gen.worldbus.payment.v1.payment_pb2 import RefundRequested
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined, PlayerLeft, PlayerMoved
from schemas.gen.worldbus.state.v1.state_pb2 import LoadRequested, SaveRequested, StateChangeRequested
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from schemas.gen.worldbus.weather.v1.weather_pb2 import ForecastRequested, WeatherOverrideRequested, ZoneDeclared
from worlds.duskmarket.bots.deeds import DEEDS
from worlds.duskmarket.bots.seen import Seen

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from worlds.duskmarket.bots.kinds import Kind

ZONES: Final = {"quay": "harbour", "fishmarket": "harbour", "old-moor": "moor", "reed-path": "moor", "north-pass": "highland"}
SKIES: Final = ("fog", "storm", "clear")
PLATFORMS: Final = ("windows", "linux", "ps5")
PACE: Final = 2.0  # a demo shows players at so many times their stated rates: a minute shows two
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
    kind: Kind
    seen: Seen  # the world as this player's client sees it
    run: int = 0
    online: bool = False
    zone: str = ""
    saved: bool = False
    said: int = field(default=0)

    @classmethod
    def of(cls, world: str, seed: int, number: int, seen: Seen, run: int = 0) -> Player:
        """The player of that number; another run on the same log gives its requests other names."""
        dice, kind = random.Random(f"{seed}/{number}"), seen.content.bots.of(number)
        return cls(name=f"player-{number:04d}", run=run, world=world, dice=dice, kind=kind, seen=seen)

    @property
    def per_s(self) -> float:
        """Deeds a second in a demo, on average."""
        return self.kind.total * PACE / 60

    def say(self) -> Draft:
        """The next event."""
        self.said += 1
        if not self.online:
            return self._join()
        deed = self.kind.draw(self.dice)
        return _OWN[deed](self) if deed in _OWN else self._do(deed)

    def _do(self, deed: str) -> Draft:
        said = DEEDS[deed](self.dice, self.name, f"{self.run}-{self.name}-{self.said}", self.seen)
        if isinstance(said.data, PlayerMoved):
            if said.data.zone == self.zone:  # a visit counts on entering
                return self._move()
            self.zone = said.data.zone
        return self._draft(said.data, entity=said.entity)

    def leave(self) -> Draft | None:
        """Say goodbye; None: it has left already."""
        return self._leave() if self.online else None

    def _leave(self) -> Draft:
        self.online = False
        return self._draft(PlayerLeft(reason="done for today"))

    def _draft(self, data: Message, entity: str = "") -> Draft:
        speaker = CLIENT if isinstance(data, RefundRequested) else GAME  # money back is between player and shop
        return Draft(data=data, world=self.world, entity=entity or self.name, subsystem=speaker)

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

    def _forecast(self) -> Draft:
        return self._draft(ForecastRequested(steps=6, request_id=f"{self.run}-{self.said}"), entity=self.zone)

    def _override(self) -> Draft:
        wish = WeatherOverrideRequested(sky=self.dice.choice(SKIES), intensity=0.8, for_world_ms=OVERRIDE_WORLD_MS, reason="a demo's whim")
        return self._draft(wish, entity=self.zone)


# What a player does without looking at the world, besides the deeds.
_OWN: Final[Mapping[str, Callable[[Player], Draft]]] = {
    "heartbeat": lambda player: player._draft(PlayerHeartbeat()),
    "move": lambda player: player._move(),
    "change": lambda player: player._change(player.seen.players[player.name].version),
    "keep": lambda player: player._keep(),
    "forecast": lambda player: player._forecast(),
    "override": lambda player: player._override(),
    "rejoin": lambda player: player._join(),
    "leave": lambda player: player._leave(),
}
