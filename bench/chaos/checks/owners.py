"""O1  no thing has two owners at any moment, and none goes lost: every piece comes from somewhere and arrives somewhere
O2  nobody has less than nothing
O3  what is given or traded arrives, once

Read from the raw events, with nothing of the handlers' own state. A gift is on its way between `ItemGiven` and the new owner's
`ItemGranted`; what is traded is the trade's from `TradeSettled` on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bench.chaos.history import Violation
from bus.event import Event
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted, ItemRemoved, ItemUsed
from schemas.gen.worldbus.trade.v1.trade_pb2 import TradeSettled

MOVES: Final = (ItemGranted, ItemGiven, ItemRemoved, ItemUsed, TradeSettled)
NAMES: Final = frozenset(kind.DESCRIPTOR.name for kind in MOVES)


@dataclass(slots=True)
class Owned:
    """The owner of every thing, as far as the log was read."""

    owner: dict[tuple[str, str], str] = field(default_factory=dict)  # (world, thing) → who
    pieces: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (world, who, sku)
    under_way: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (world, way, thing or sku)
    found: list[Violation] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Read one more event."""
        it, who = event.data, event.entity
        match it:
            case TradeSettled() if event.subsystem == "trade":
                for side, other in ((it.sides[0], it.sides[1]), (it.sides[1], it.sides[0])):
                    for one in side.gives:
                        self._passes(event, one.thing, side.player, f"trade {who}")
                        self._counts(event, side.player, one.sku, -one.quantity)
                        self.under_way[event.world, f"trade {who} to {other.player}", one.thing or one.sku] += one.quantity
            case ItemGranted() if event.subsystem == "inventory":
                self._arrives(event, it)
            case ItemGiven() if event.subsystem == "inventory":
                self._passes(event, it.thing, who, f"gift to {it.to}")
                self._counts(event, who, it.sku, -1)
                self.under_way[event.world, f"gift to {it.to}", it.thing or it.sku] += 1
            case ItemRemoved(reason="traded") if event.subsystem == "inventory":
                if it.missing:
                    self._wrong("O1", event, f"{who} traded {it.sku} {it.thing} that was not there")
            case ItemRemoved() if event.subsystem == "inventory":
                self._counts(event, who, it.sku, -it.quantity)
                if it.quantity:
                    self._passes(event, it.thing, who, "")
            case ItemUsed() if event.subsystem == "inventory":
                self._counts(event, who, it.sku, -it.quantity)
                for thing in it.things:
                    self._passes(event, thing, who, "")
            case _:
                pass

    def _arrives(self, event: Event, it: ItemGranted) -> None:
        who, before = event.entity, ""
        ways = {"traded": f"trade {it.reference} to {who}", "given": f"gift to {who}"}
        if way := ways.get(it.reason, ""):
            before = f"trade {it.reference}" if it.reason == "traded" else way
            key = (event.world, way, it.thing or it.sku)
            self.under_way[key] -= it.quantity
            if self.under_way[key] < 0:
                self._wrong("O3", event, f"{it.sku} {it.thing} came to {who} from nowhere")
        self._passes(event, it.thing, before, who)
        self._counts(event, who, it.sku, it.quantity)

    def _passes(self, event: Event, thing: str, before: str, after: str) -> None:
        if not thing:
            return
        found = self.owner.pop((event.world, thing), "")
        if found != before:
            self._wrong("O1", event, f"{thing} was to pass from {before or 'nobody'}, and was {found or 'nobody'}'s")
        if after:
            self.owner[event.world, thing] = after

    def _counts(self, event: Event, who: str, sku: str, by: int) -> None:
        self.pieces[event.world, who, sku] += by
        if self.pieces[event.world, who, sku] < 0:
            self._wrong("O2", event, f"{who} has {self.pieces[event.world, who, sku]} of {sku}")

    def _wrong(self, rule: str, event: Event, words: str) -> None:
        self.found.append(Violation(rule, f"{event.name} at {event.position}: {words}"))

    def ended(self) -> list[Violation]:
        """The violations once nothing happens any more."""
        lost = [Violation("O3", f"on its way for ever: {key} {count}") for key, count in self.under_way.items() if count]
        return [*self.found, *lost]


def read(events: Iterable[Event]) -> Owned:
    """The owner of every thing after these events."""
    owned = Owned()
    for event in events:
        if event.name in NAMES:
            owned.take(event)
    return owned


def check(events: Iterable[Event]) -> list[Violation]:
    """Every broken law of ownership."""
    return read(events).ended()
