"""One trade, folded from what the handler said about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from bus.event import Event
from schemas.gen.worldbus.trade.v1 import trade_pb2 as said
from schemas.gen.worldbus.trade.v1.types_pb2 import TradePieces

NEW: Final = ""
OPEN: Final = "open"
CLOSING: Final = "closing"  # both have accepted, the goods are being put aside
SETTLED: Final = "settled"
CANCELLED: Final = "cancelled"


class Given(NamedTuple):
    """Some pieces on the table."""

    sku: str
    quantity: int
    thing: str = ""


Goods = tuple[Given, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A trade. `gives` has both players, the one who proposed it first."""

    name: str = ""
    phase: str = NEW
    revision: int = 0
    gives: Mapping[str, Goods] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    ready: Mapping[str, Goods] = field(default_factory=dict)  # whose goods are aside


def goods_of(pieces: Iterable[TradePieces]) -> Goods:
    """Pieces of an event."""
    return tuple(Given(one.sku, one.quantity, one.thing) for one in pieces)


def pieces_of(goods: Goods) -> list[TradePieces]:
    """Pieces for an event."""
    return [TradePieces(sku=sku, quantity=quantity, thing=thing) for sku, quantity, thing in goods]


def evolve(trade: Trade, event: Event) -> Trade:
    """The trade after the handler said `event`."""
    match event.data:
        case said.TradeProposed() as it:
            gives = {it.player: goods_of(it.gives), it.partner: ()}
            return replace(trade, phase=OPEN, revision=it.revision, gives=gives)
        case said.TradeChanged() as it:
            gives = {**trade.gives, it.player: goods_of(it.gives)}
            return replace(trade, revision=it.revision, gives=gives, accepted=())
        case said.TradeAccepted() as it:
            accepted = (*trade.accepted, it.player)
            return replace(trade, accepted=accepted, phase=CLOSING if len(accepted) == len(trade.gives) else trade.phase)
        case said.TradeSideReady() as it:
            return replace(trade, ready={**trade.ready, it.player: goods_of(it.gives)})
        case said.TradeSettled():
            return replace(trade, phase=SETTLED)
        case said.TradeCancelled():
            return replace(trade, phase=CANCELLED)
        case _:
            return trade
