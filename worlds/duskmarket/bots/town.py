"""The people and programs outside of the handlers in a demo of Duskmarket: its players, and the studio with its services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from worldbus.demo.bots import Bots, Due, Stage
from worlds.duskmarket.bots.players import Player, zones
from worlds.duskmarket.bots.seen import Seen
from worlds.duskmarket.bots.studio import Studio
from worlds.duskmarket.content import Duskmarket

if TYPE_CHECKING:
    from bus.event import Draft, Event

DUE: Final[Due] = {
    "PlayerMoved": ("player", frozenset({"PlayerEnteredZone", "PlayerReportRefused"})),  # its players always move to another zone
    "AcquisitionRequested": ("broker", frozenset({"AcquisitionBegun", "GoodAcquired", "AcquisitionRefused"})),
    "SaleRequested": ("broker", frozenset({"SalePrepared", "OfferMade", "BargainRefused"})),
}


class Town(Bots):
    """The bots of one demo. Raises `BadSettings` where bots.toml cannot be read."""

    releases: ClassVar[tuple[str, ...]] = ("5.5", "5.6", "5.7.0-preview-1")
    later: ClassVar[str] = "5.7"
    due: ClassVar[Due] = DUE
    views: ClassVar[dict[str, str]] = {"brokers": "goods", "buyers": "regards"}

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        assert isinstance(stage.content, Duskmarket)
        seen = self._seen = Seen(stage.content)
        self._studio = Studio(stage.world, stage.seed, stage.players, run=stage.run)
        self.players = [Player.of(stage.world, stage.seed, number, seen, run=stage.run) for number in range(1, stage.players + 1)]

    def opening(self) -> Iterator[Draft]:
        """The places with their weather, and the studio's services."""
        yield from zones(self.stage.world, self.stage.seed)
        yield from self._studio.opening()

    def turn(self, number: int) -> list[Draft]:
        """The events of services and studio."""
        return self._studio.turn(number)

    def hear(self, event: Event) -> None:
        """Let the players see it."""
        self._seen.take(event)
