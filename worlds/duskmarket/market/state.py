"""A buyer's state, folded from the handler's events about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bus.event import Event
from handlers.book import Book, blank, find, put
from schemas.gen.worldbus.market.v1 import market_pb2 as said


class Known(NamedTuple):
    """A broker whom the buyer knows: regard in thousandths, and what was last offered for which good."""

    regard: int = 0
    good: str = ""
    counter: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """One buyer."""

    brokers: Book[Known] = field(default_factory=blank)
    sated: Mapping[str, int] = field(default_factory=dict)  # kind → share of the appetite that is stilled; no zeros

    def knows(self, player: str) -> Known:
        """The buyer's knowledge of a broker."""
        return find(self.brokers, player) or Known()


def evolve(buyer: Buyer, event: Event) -> Buyer:
    """The buyer after the handler said `event`."""
    match event.data:
        case said.OfferCountered() as it:
            return _with(buyer, it.player, buyer.knows(it.player)._replace(good=it.good, counter=it.counter_minor))
        case said.RegardChanged() as it:
            return _with(buyer, it.player, buyer.knows(it.player)._replace(regard=it.regard))
        case said.AppetiteSated() as it:
            return replace(buyer, sated={**buyer.sated, it.kind: it.sated})
        case said.AppetiteReturned() as it:
            return replace(buyer, sated={one.kind: one.sated for one in it.left})
        case _:
            return buyer


def _with(buyer: Buyer, player: str, known: Known) -> Buyer:
    return replace(buyer, brokers=put(buyer.brokers, player, known))
