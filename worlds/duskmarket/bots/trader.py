"""A simulated broker: comes by goods, haggles, buys what preserves them, lies low. Drawn from the seed and from what the world has said.

What a trader knows is the fold of what `broker` said about the player, the same pure function that the handler uses; `Trades` keeps it for
everybody.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.gen.worldbus.broker.v1.broker_pb2 import (
    AcquisitionRequested,
    CounterAcceptRequested,
    GoodDiscardRequested,
    OfferWithdrawRequested,
    SaleRequested,
)
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemUseRequested
from schemas.gen.worldbus.payment.v1.payment_pb2 import PurchaseRequested
from worlds.duskmarket.broker.state import Broker, Offer, evolve
from worlds.duskmarket.broker.tables import Market

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.event import Event

TOO_HOT: Final = 450  # heat at which a trader waits
ENOUGH_GOODS: Final = 5
GREED: Final = 1600  # first ask, thousandths of the value
YIELD: Final = 850  # each further ask, thousandths of the last one


@dataclass(slots=True)
class Trader:
    """One simulated broker; `wish` draws what the player wants next."""

    dice: random.Random
    market: Market

    @classmethod
    def of(cls, seed: int, number: int, market: Market) -> Trader:
        """The trader of that number."""
        return cls(random.Random(f"{seed}/trader/{number}"), market)

    def wish(self, state: Broker) -> Message | None:
        """The next wish; None to wait. Never one that the world would refuse on the state given, only on what has happened since."""
        roll = self.dice.random()
        haggling = [good for good, offer in state.offers.items() if offer.counter]
        if haggling:
            return self._haggle(state, self.dice.choice(haggling))
        idle = [good for good in state.goods if good not in state.offers]
        if idle and roll < 0.5:
            return self._offer(state, self.dice.choice(idle))
        if idle and roll < 0.53:
            return self._preserve(self.dice.choice(idle))
        if idle and roll < 0.55 and state.heat > TOO_HOT:
            return GoodDiscardRequested(good=self.dice.choice(idle))
        if state.heat <= TOO_HOT and len(state.goods) + len(state.coming) < ENOUGH_GOODS:
            return AcquisitionRequested(source=self.dice.choice(tuple(self.market.sources)))
        return None

    def _offer(self, state: Broker, good: str) -> Message:
        held = state.goods[good]
        tastes = {name: buyer.tastes[held.kind] for name, buyer in self.market.buyers.items() if held.kind in buyer.tastes}
        if not tastes:
            return GoodDiscardRequested(good=good)
        name = self.dice.choices(tuple(tastes), weights=tuple(tastes.values()))[0]
        value = self.market.goods[held.kind].values[self.market.buyers[name].currency]
        return SaleRequested(good=good, buyer=name, ask_minor=max(1, value * held.condition * GREED // 1_000_000))

    def _haggle(self, state: Broker, good: str) -> Message:
        offer = state.offers[good]
        roll = self.dice.random()
        if roll < 0.04:
            return OfferWithdrawRequested(good=good)
        if roll < 0.35 or self._last_word(offer):
            return CounterAcceptRequested(good=good)
        return SaleRequested(good=good, buyer=offer.buyer, ask_minor=max(offer.counter, offer.ask * YIELD // 1000))

    def _last_word(self, offer: Offer) -> bool:
        return offer.round >= self.market.buyers[offer.buyer].patience - 1

    def _preserve(self, good: str) -> Message:
        if self.dice.random() < 0.25:
            return PurchaseRequested(sku="embalming-salts", quantity=3)
        return ItemUseRequested(sku="embalming-salts", target=good)


class Trades(dict[str, Broker]):
    """The goods and offers of each player as a broker, as far as the world has said."""

    def of(self, player: str) -> Broker:
        """The state of this player as a broker."""
        return self.get(player) or Broker()

    def hear(self, event: Event) -> None:
        """Take in one event that `broker` said."""
        self[event.entity] = evolve(self.of(event.entity), event)
