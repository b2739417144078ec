"""Buyers as tables: what each of them thinks of whom, and of what they have enough."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.market.v1 import market_pb2 as said

BUYERS = Table("buyers", key=("world", "buyer"), adds=("accepted", "countered", "turned_down"))
REGARDS = Table("regards", key=("world", "buyer", "player"))
APPETITES = Table("appetites", key=("world", "buyer", "kind"))


def accepted(event: Event, it: said.OfferAccepted) -> Change:
    return BUYERS.put(event.world, event.entity, accepted=1)


def countered(event: Event, it: said.OfferCountered) -> Change:
    return BUYERS.put(event.world, event.entity, countered=1)


def turned_down(event: Event, it: said.OfferTurnedDown) -> Change:
    return BUYERS.put(event.world, event.entity, turned_down=1)


def regard(event: Event, it: said.RegardChanged) -> Change:
    return REGARDS.put(event.world, event.entity, it.player, regard=it.regard, cause=it.cause)


def sated(event: Event, it: said.AppetiteSated) -> Change:
    return APPETITES.put(event.world, event.entity, it.kind, sated=it.sated)


def returned(event: Event, it: said.AppetiteReturned) -> list[Change]:
    left = [APPETITES.put(event.world, event.entity, one.kind, sated=one.sated) for one in it.left]
    return [APPETITES.drop(event.world, event.entity), *left]


buyers = Projection(
    name="buyers",
    version=1,
    said_by="market",
    schema=sql_beside(__file__),
    tables=(BUYERS, REGARDS, APPETITES),
    on={
        said.OfferAccepted: accepted,
        said.OfferCountered: countered,
        said.OfferTurnedDown: turned_down,
        said.RegardChanged: regard,
        said.AppetiteSated: sated,
        said.AppetiteReturned: returned,
    },
)
