"""What a broker does: come by goods, offer them, haggle, sell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.broker.state import LOOK, Broker, Held, Offer, roll
from handlers.broker.tables import FULL, Market, Source
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemUsed
from schemas.gen.worldbus.market.v1 import market_pb2 as market_said
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeCompleted, ChargeDeclined, ChargeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested

MAX_GOODS: Final = 24  # that a broker can hide
MAX_PRICE: Final = 10**12  # minor units
MAX_NAME: Final = 64
CHARGE: Final = "broker/"  # begins the request id of a charge for a good

Said = Sequence[Message]


def acquire(market: Market, event: Event, it: said.AcquisitionRequested, broker: Broker) -> Said:
    """The dice say what turns up; where it costs money, it comes when it is paid."""
    source = market.sources.get(it.source)
    if source is None:
        return _not_acquired(
            event, it.source, "UNKNOWN_SOURCE", f"wanted one of {', '.join(market.sources)}, found {ascii(it.source)[:80]}"
        )
    if len(broker.goods) + len(broker.coming) >= MAX_GOODS:
        return _not_acquired(event, it.source, "HANDS_FULL", f"a broker can hide {MAX_GOODS} goods: sell or discard one first")
    kind = _drawn(source, roll(event.id, event.entity, "kind"))
    good = f"{kind}-{broker.numbered + 1}"
    if source.cost is None:
        return _acquired(market, event, good, kind, it.source, "", 0, broker)
    currency, cost = source.cost
    return (
        said.AcquisitionBegun(good=good, kind=kind, source=it.source, currency=currency, cost_minor=cost),
        ChargeRequested(request_id=CHARGE + good, currency=currency, amount_minor=cost, to="market", reason=f"{kind} from {it.source}"),
    )


def _drawn(source: Source, dice: int) -> str:
    at = dice % sum(source.kinds.values())
    for kind, share in source.kinds.items():
        at -= share
        if at < 0:
            return kind
    raise AssertionError("shares are above 0")


def _acquired(market: Market, event: Event, good: str, kind: str, name: str, currency: str, cost: int, broker: Broker) -> Said:
    source = market.sources.get(name)
    low, high = source.condition if source else (FULL, FULL)
    condition = low + roll(event.id, event.entity, "condition") % (high - low + 1)
    acquired = said.GoodAcquired(good=good, kind=kind, source=name, currency=currency, cost_minor=cost, condition=condition)
    return (acquired, *heated(broker, source.heat if source else 0, "acquired"), *watch(market, broker))


def paid(market: Market, event: Event, it: ChargeCompleted, broker: Broker) -> Said:
    """A good is paid: it comes."""
    good = it.request_id.removeprefix(CHARGE)
    coming = broker.coming.get(good)
    if coming is None:
        return ()
    return _acquired(market, event, good, coming.kind, coming.source, coming.currency, coming.cost, broker)


def not_paid(event: Event, it: ChargeDeclined, broker: Broker) -> Said:
    """A good was not paid: it does not come."""
    good = it.request_id.removeprefix(CHARGE)
    coming = broker.coming.get(good)
    return _not_acquired(event, coming.source, it.code, it.reason, good) if coming else ()


def _not_acquired(event: Event, source: str, code: str, reason: str, good: str = "") -> Said:
    return (said.AcquisitionRefused(source=source[:MAX_NAME], code=code, reason=reason, request_event_id=event.id, good=good),)


def heated(broker: Broker, by: int, cause: str) -> Said:
    """The authorities learn; never more than everything."""
    heat = min(FULL, broker.heat + by)
    return (said.HeatRaised(by=heat - broker.heat, heat=heat, cause=cause),) if heat > broker.heat else ()


def watch(market: Market, broker: Broker) -> Said:
    """Ask for a look, unless one is asked for."""
    return () if broker.watching else (WakeRequested(name=LOOK, in_world_ms=market.look_ms),)


def preserve(market: Market, it: ItemUsed, broker: Broker) -> Said:
    """Something was used on a good that slows its decay; the best treatment counts."""
    held, pace = broker.goods.get(it.target), market.preservatives.get(it.sku)
    if held is None or pace is None or pace >= held.pace:
        return ()
    return (said.GoodPreserved(good=it.target, sku=it.sku, pace=pace),)


def discard(event: Event, it: said.GoodDiscardRequested, broker: Broker) -> Said:
    """Get rid of a good."""
    held = broker.goods.get(it.good)
    return (said.GoodDiscarded(good=it.good, kind=held.kind),) if held else _no_good(event, "", it.good)


def offer(market: Market, event: Event, it: said.SaleRequested, broker: Broker) -> Said:
    """Offer a good, or go on haggling about it."""
    held, before = broker.goods.get(it.good), broker.offers.get(it.good)
    if held is None:
        return _no_good(event, it.buyer, it.good)
    if problem := _bad_offer(market, it, before):
        return _refused(event, it.buyer, it.good, *problem)
    return (_made(event, it, held, before),)


def _bad_offer(market: Market, it: said.SaleRequested, before: Offer | None) -> tuple[str, str] | None:
    if it.buyer not in market.buyers:
        return "UNKNOWN_BUYER", f"wanted one of {', '.join(market.buyers)}, found {ascii(it.buyer)[:80]}"
    if not 1 <= it.ask_minor <= MAX_PRICE:
        return "BAD_PRICE", f"ask_minor must be 1 to {MAX_PRICE}, found {it.ask_minor}"
    if before is not None and before.buyer != it.buyer:
        return "ALREADY_OFFERED", f"{it.good} is offered to {before.buyer}: withdraw it there first"
    if before is not None and not before.counter:
        return "WAITING_FOR_BUYER", f"{it.buyer} has not answered the last offer of {it.good} yet"
    return None


def _made(event: Event, it: said.SaleRequested, held: Held, before: Offer | None) -> Message:
    return said.OfferMade(
        player=event.entity,
        buyer=it.buyer,
        good=it.good,
        kind=held.kind,
        condition=held.condition,
        ask_minor=it.ask_minor,
        round=before.round + 1 if before else 1,
    )


def _no_good(event: Event, buyer: str, good: str) -> Said:
    return _refused(event, buyer, good, "NO_SUCH_GOOD", f"wanted the id of a good that the broker has, found {ascii(good)[:80]}")


def _refused(event: Event, buyer: str, good: str, code: str, reason: str, *, player: str = "", round: int = 0) -> Said:
    return (
        said.BargainRefused(
            buyer=buyer[:MAX_NAME],
            good=good[:MAX_NAME],
            code=code,
            reason=reason,
            request_event_id=event.id,
            player=player or event.entity,
            round=round,
        ),
    )


BuyersWord = market_said.OfferAccepted | market_said.OfferCountered | market_said.OfferTurnedDown


def answered(market: Market, event: Event, it: BuyersWord, broker: Broker) -> Said:
    """The buyer's word about an offer that is still on the table; any other comes too late and means nothing."""
    offer = broker.offers.get(it.good)
    if offer is None or (offer.buyer, offer.round) != (event.entity, it.round) or offer.counter:
        return ()
    match it:
        case market_said.OfferAccepted():
            return _struck(market, it.player, it.good, offer, offer.ask, broker)
        case market_said.OfferCountered():
            return (
                said.CounterHeard(buyer=offer.buyer, good=it.good, counter_minor=it.counter_minor, round=it.round, patience=it.patience),
            )
        case market_said.OfferTurnedDown():
            return _refused(event, offer.buyer, it.good, it.code, it.reason, player=it.player, round=it.round)


def accept(market: Market, event: Event, it: said.CounterAcceptRequested, broker: Broker) -> Said:
    """Take what the buyer offered last: a buyer's word stands."""
    if it.good not in broker.goods:
        return _no_good(event, "", it.good)
    offer = broker.offers.get(it.good)
    if offer is None or not offer.counter:
        return _refused(
            event, offer.buyer if offer else "", it.good, "NO_COUNTER", f"no buyer has made an offer for {it.good}: ask one first"
        )
    return _struck(market, event.entity, it.good, offer, offer.counter, broker)


def withdraw(event: Event, it: said.OfferWithdrawRequested, broker: Broker) -> Said:
    """Stop haggling; without an offer there is nothing to stop."""
    offer = broker.offers.get(it.good)
    return (said.OfferWithdrawn(player=event.entity, buyer=offer.buyer, good=it.good),) if offer else ()


def _struck(market: Market, player: str, good: str, offer: Offer, price: int, broker: Broker) -> Said:
    held, buyer = broker.goods[good], market.buyers.get(offer.buyer)
    if buyer is None:
        return ()  # left the market
    struck = said.BargainStruck(
        player=player,
        buyer=offer.buyer,
        good=good,
        currency=buyer.currency,
        price_minor=price,
        kind=held.kind,
        condition=held.condition,
        rounds=offer.round,
    )
    return (struck, *heated(broker, buyer.heat, "sold"), *watch(market, broker))
