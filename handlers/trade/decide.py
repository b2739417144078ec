"""Answers to two players and their inventories: propose, change, accept twice, settle; or cancel, by hand or by time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.answering import Silence
from handlers.inventory.stock import MAX_QUANTITY, MAX_THING
from handlers.names import NAME_RULE, is_token
from handlers.payment.tables import SKU_RULE, is_sku
from handlers.trade.state import CLOSING, NEW, OPEN, Goods, Trade, goods_of, pieces_of
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemReleaseRequested, ItemReserveRefused, ItemReserveRequested, ItemsReserved
from schemas.gen.worldbus.inventory.v1.types_pb2 import Pieces
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from schemas.gen.worldbus.trade.v1 import trade_pb2 as said
from schemas.gen.worldbus.trade.v1.types_pb2 import TradePieces, TradeSide

MAX_ITEMS: Final = 16  # on one side
OPEN_MS: Final = 900_000  # real milliseconds that a trade may take: 15 minutes
END: Final = "end"  # name of the wake

Said = Sequence[Message]


def silence(event: Event) -> Silence:
    """A request that changed nothing: it was granted before."""
    return Silence("", f"trade {event.entity} is so already")


def decide(event: Event, trade: Trade) -> Said:
    """The trade's answer."""
    match event.data:
        case said.TradeProposeRequested() as it:
            return _propose(event, it, trade)
        case ItemsReserved() as it:
            return _aside(event, it, trade)
        case ItemReserveRefused() as it:
            return _not_there(event, it, trade)
        case WakeFired() as it:
            return _cancel(trade, "time_over", "", "nobody settled it in time") if it.name == END and trade.phase == OPEN else ()
        case it:
            return _move(event, it, trade)


def _refused(event: Event, code: str, reason: str) -> Said:
    return (RequestRefused(handler="trade", request=event.name, request_event_id=event.id, code=code, reason=reason),)


def _propose(event: Event, it: said.TradeProposeRequested, trade: Trade) -> Said:
    if trade.phase != NEW:
        same = list(trade.gives) == [it.player, it.partner] and trade.revision == 1 and trade.gives[it.player] == _normal(it.gives)
        return (
            () if same else _refused(event, "NAME_TAKEN", f"trade {event.entity} is {trade.phase} already: give this one a name of its own")
        )
    if not is_token(it.player) or not is_token(it.partner) or it.player == it.partner:
        found = f"{ascii(it.player)[:80]} and {ascii(it.partner)[:80]}"
        return _refused(event, "BAD_PLAYERS", f"wanted two players, each {NAME_RULE}, found {found}")
    if problem := _bad_goods(it.gives):
        return _refused(event, *problem)
    proposed = said.TradeProposed(player=it.player, partner=it.partner, gives=pieces_of(_normal(it.gives)), revision=1)
    return proposed, WakeRequested(name=END, in_real_ms=OPEN_MS)


def _move(event: Event, it: Any, trade: Trade) -> Said:
    """The answer to what one of the two wants with an open trade."""
    if it.player not in trade.gives:
        return _refused(event, "NOT_YOUR_TRADE", f"{ascii(it.player)[:80]} has no part in trade {event.entity}: propose one")
    if trade.phase != OPEN:
        return _refused(event, "NOT_OPEN", f"trade {event.entity} is {trade.phase}: propose another one")
    match it:
        case said.TradeChangeRequested():
            return _change(event, it, trade)
        case said.TradeAcceptRequested():
            return _accept(event, it, trade)
        case _:
            return _cancel(trade, "asked", it.player, f"{it.player} ended it")


def _change(event: Event, it: said.TradeChangeRequested, trade: Trade) -> Said:
    if problem := _bad_goods(it.gives):
        return _refused(event, *problem)
    goods = _normal(it.gives)
    if goods == trade.gives[it.player]:
        return ()
    return (said.TradeChanged(player=it.player, gives=pieces_of(goods), revision=trade.revision + 1),)


def _accept(event: Event, it: said.TradeAcceptRequested, trade: Trade) -> Said:
    if it.revision != trade.revision:
        return _refused(event, "CHANGED", f"the table is at revision {trade.revision}, found {it.revision}: look at it again")
    if it.player in trade.accepted:
        return ()
    accepted = said.TradeAccepted(player=it.player, revision=it.revision)
    if not trade.accepted:
        return (accepted,)
    if not any(trade.gives.values()):
        return _refused(event, "EMPTY", f"nothing lies on the table of trade {event.entity}: put something on it, or end it")
    return accepted, *(_reserve(trade, player, goods) for player, goods in trade.gives.items() if goods)


def _reserve(trade: Trade, player: str, goods: Goods) -> ItemReserveRequested:
    items = [Pieces(sku=sku, quantity=quantity, thing=thing) for sku, quantity, thing in goods]
    return ItemReserveRequested(owner=player, reference=trade.name, items=items)


def _aside(event: Event, it: ItemsReserved, trade: Trade) -> Said:
    """One side is aside; with the other one it changes hands. Where the trade is over, it goes back."""
    player = event.entity
    if trade.phase != CLOSING or player not in trade.gives or player in trade.ready:
        return (ItemReleaseRequested(owner=player, reference=it.reference),)
    ready = said.TradeSideReady(player=player, gives=[TradePieces(sku=one.sku, quantity=one.quantity, thing=one.thing) for one in it.items])
    nothing = {one: goods for one, goods in trade.gives.items() if not goods}
    both = {**nothing, **trade.ready, player: goods_of(ready.gives)}
    if len(both) < len(trade.gives):
        return (ready,)
    return ready, said.TradeSettled(sides=[TradeSide(player=one, gives=pieces_of(both[one])) for one in trade.gives])


def _not_there(event: Event, it: ItemReserveRefused, trade: Trade) -> Said:
    if trade.phase != CLOSING:
        return ()
    return _cancel(trade, "not_there", event.entity, f"{it.code}: {it.reason}")


def _cancel(trade: Trade, cause: str, player: str, reason: str) -> Said:
    back = (ItemReleaseRequested(owner=one, reference=trade.name) for one in trade.ready)
    return said.TradeCancelled(cause=cause, player=player, reason=reason), *back


def _normal(pieces: Iterable[TradePieces]) -> Goods:
    """Pieces as they are meant: a thing is one piece, and 0 means 1."""
    return goods_of(TradePieces(sku=one.sku, quantity=1 if one.thing else one.quantity or 1, thing=one.thing) for one in pieces)


def _bad_goods(pieces: Sequence[TradePieces]) -> tuple[str, str] | None:
    if len(pieces) > MAX_ITEMS:
        return "TOO_MANY", f"a side may have {MAX_ITEMS} items on the table, found {len(pieces)}: make two trades"
    for one in pieces:
        if one.thing and (len(one.thing) > MAX_THING or (one.sku and not is_sku(one.sku))):
            return "BAD_SKU", f"a thing has an id of at most {MAX_THING} characters, found {ascii(one.thing)[:80]}"
        if not one.thing and not is_sku(one.sku):
            return "BAD_SKU", f"an item must be {SKU_RULE}, found {ascii(one.sku)[:80]}"
        if not 0 <= one.quantity <= MAX_QUANTITY:
            return "BAD_QUANTITY", f"quantity must be 1 to {MAX_QUANTITY}, found {one.quantity}"
    things = [one.thing for one in pieces if one.thing]
    return ("BAD_SKU", "a thing may lie on the table once") if len(set(things)) < len(things) else None
