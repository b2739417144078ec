"""Trades between players as a table: who with whom, and how it ended."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.trade.v1 import trade_pb2 as said

TRADES = Table("trades", key=("world", "trade"))


def proposed(event: Event, it: said.TradeProposed) -> Change:
    both = {"player": it.player, "partner": it.partner}
    return TRADES.put(event.world, event.entity, phase="open", revision=it.revision, proposed_at=event.time_ns, **both)


def changed(event: Event, it: said.TradeChanged) -> Change:
    return TRADES.put(event.world, event.entity, revision=it.revision)


def settled(event: Event, it: said.TradeSettled) -> Change:
    return TRADES.put(event.world, event.entity, phase="settled", ended_at=event.time_ns)


def cancelled(event: Event, it: said.TradeCancelled) -> Change:
    return TRADES.put(event.world, event.entity, phase="cancelled", cause=it.cause, ended_at=event.time_ns)


trades = Projection(
    name="trades",
    version=1,
    said_by="trade",
    schema=sql_beside(__file__),
    tables=(TRADES,),
    on={said.TradeProposed: proposed, said.TradeChanged: changed, said.TradeSettled: settled, said.TradeCancelled: cancelled},
)
