"""Deeds of a broker: come by goods, offer them, haggle, sell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.inventory.state import thing_of as first_thing_of
from schemas.gen.worldbus.broker.v1 import broker_pb2 as said
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import (
    ItemReleaseRequested,
    ItemReserveRefused,
    ItemReserveRequested,
    ItemsReserved,
    ItemUsed,
)
from schemas.gen.worldbus.inventory.v1.types_pb2 import Pieces
from schemas.gen.worldbus.market.v1 import market_pb2 as market_said
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeCompleted, ChargeDeclined, ChargeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worlds.duskmarket.broker.state import LOOK, NOT_SET_ASIDE, Broker, Held, Offer, roll
from worlds.duskmarket.broker.tables import FULL, Market, Source

MAX_GOODS: Final = 24  # that a broker can hide
MAX_PRICE: Final = 10**12  # minor units
MAX_NAME: Final = 64
OFFER: Final = "offer-"  # begins the name of the wake that ends an offer
CHARGE: Final = "broker/"  # begins the request id of a charge for a good

Said = Sequence[Message]


def acquire(market: Market, event: Event, it: said.AcquisitionRequested, broker: Broker) -> Said:
    """The dice say what turns up; where it costs money, it comes when it is paid."""
    source = market.sources.get(it.source)
    if source is None:
        return _not_acquired(
            event, it.source, "UNKNOWN_SOURCE", f"wanted one of {', '.join(market.sources)}, found {ascii(it.source)[:80]}"
        )
    if _hands_full(broker):
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
    """Preserve a good: an item was used on it that slows its decay; the best treatment counts."""
    held, pace = broker.goods.get(it.target), market.preservatives.get(it.sku)
    if held is None or pace is None or pace >= held.pace:
        return ()
    return (said.GoodPreserved(good=it.target, sku=it.sku, pace=pace),)


def discard(event: Event, it: said.GoodDiscardRequested, broker: Broker) -> Said:
    """Get rid of a good."""
    held = broker.goods.get(it.good)
    return (said.GoodDiscarded(good=it.good, kind=held.kind, thing=held.thing),) if held else _no_good(event, "", it.good)


def offer(market: Market, event: Event, it: said.SaleRequested, broker: Broker) -> Said:
    """Offer a good, or go on haggling about it."""
    held, before = broker.goods.get(it.good), broker.offers.get(it.good)
    if held is None:
        return _no_good(event, it.buyer, it.good)
    if problem := _bad_offer(market, it, before) or _in_preparation(it, broker):
        return _refused(event, it.buyer, it.good, *problem)
    if before is not None:
        return (_made(event.entity, it.good, it.buyer, it.ask_minor, held, before),)
    aside = Pieces(sku=held.kind, quantity=1, thing=thing_of(event.entity, it.good, held))
    return (
        said.SalePrepared(good=it.good, buyer=it.buyer, ask_minor=it.ask_minor),
        ItemReserveRequested(owner=event.entity, reference=it.good, items=[aside]),
    )


def thing_of(player: str, good: str, held: Held) -> str:
    """The good's id in the inventory."""
    return held.thing or first_thing_of(player, good)


def _in_preparation(it: said.SaleRequested, broker: Broker) -> tuple[str, str] | None:
    if it.good not in broker.preparing:
        return None
    return "WAITING_FOR_BUYER", f"{it.good} is being put aside for {broker.preparing[it.good].buyer}: wait for the offer"


def _hands_full(broker: Broker) -> bool:
    return len(broker.goods) + len(broker.coming) >= MAX_GOODS


def set_aside(market: Market, event: Event, it: ItemsReserved, broker: Broker) -> Said:
    """The inventory keeps the good for the offer: it is made; if the good has gone meanwhile, nothing stays aside."""
    offer, held = broker.preparing.get(it.reference), broker.goods.get(it.reference)
    if offer is None or held is None:
        return (ItemReleaseRequested(owner=event.entity, reference=it.reference),)
    stands = WakeRequested(name=OFFER + it.reference, in_world_ms=market.offer_ms)
    return _made(event.entity, it.reference, offer.buyer, offer.ask, held, None), stands


def not_set_aside(event: Event, it: ItemReserveRefused, broker: Broker) -> Said:
    """The good is not to be had: no offer."""
    offer = broker.preparing.get(it.reference)
    return _refused(event, offer.buyer, it.reference, NOT_SET_ASIDE, f"{it.code}: {it.reason}") if offer else ()


def parted(event: Event, things: Sequence[str], to: str, broker: Broker) -> Said:
    """The inventory says that things are another's, or used up: the references to them end."""
    return tuple(
        said.GoodPartedWith(
            good=good, kind=held.kind, thing=thing_of(event.entity, good, held), condition=held.condition, pace=held.pace, to=to
        )
        for good, held in broker.goods.items()
        if thing_of(event.entity, good, held) in things
    )


def taken_over(market: Market, event: Event, it: said.GoodPartedWith, broker: Broker) -> Said:
    """Another broker's good is this broker's now, as it is; whose hands are full owns it, and does not deal in it.

    Without that bound more goods could spoil at one look than a decision may say, and the look would be parked.
    """
    if _hands_full(broker):
        why = f"a broker can hide {MAX_GOODS} goods: {ascii(it.thing)[:80]} stays in the inventory, to be given or traded, not to be sold"
        return _not_acquired(event, "", "HANDS_FULL", why)
    good = f"{it.kind}-{broker.numbered + 1}"
    came = said.GoodTakenOver(good=good, kind=it.kind, thing=it.thing, condition=it.condition, pace=it.pace, before=event.entity)
    return came, *watch(market, broker)


def stood(it: WakeFired, broker: Broker) -> Said:
    """An offer has stood long enough."""
    good = it.name.removeprefix(OFFER)
    offer = broker.offers.get(good)
    if offer is None:
        return ()
    return said.OfferWithdrawn(player=it.entity, buyer=offer.buyer, good=good), *free(it.entity, good, offer)


def free(player: str, good: str, offer: Offer) -> Said:
    """Release the goods that were aside for an offer that is over."""
    return (ItemReleaseRequested(owner=player, reference=good),) if offer.aside else ()


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


def _made(player: str, good: str, buyer: str, ask: int, held: Held, before: Offer | None) -> Message:
    return said.OfferMade(
        player=player,
        buyer=buyer,
        good=good,
        kind=held.kind,
        condition=held.condition,
        ask_minor=ask,
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
            return _struck(market, event, it.player, it.good, offer, offer.ask, broker)
        case market_said.OfferCountered():
            return (
                said.CounterHeard(buyer=offer.buyer, good=it.good, counter_minor=it.counter_minor, round=it.round, patience=it.patience),
            )
        case market_said.OfferTurnedDown():
            refused = _refused(event, offer.buyer, it.good, it.code, it.reason, player=it.player, round=it.round)
            return *refused, *free(it.player, it.good, offer)


def accept(market: Market, event: Event, it: said.CounterAcceptRequested, broker: Broker) -> Said:
    """Take what the buyer offered last: a buyer's word stands."""
    if it.good not in broker.goods:
        return _no_good(event, "", it.good)
    offer = broker.offers.get(it.good)
    if offer is None or not offer.counter:
        return _refused(
            event, offer.buyer if offer else "", it.good, "NO_COUNTER", f"no buyer has made an offer for {it.good}: ask one first"
        )
    return _struck(market, event, event.entity, it.good, offer, offer.counter, broker)


def withdraw(event: Event, it: said.OfferWithdrawRequested, broker: Broker) -> Said:
    """Stop haggling; without an offer there is nothing to stop."""
    offer = broker.offers.get(it.good)
    if offer is None:
        return ()
    return said.OfferWithdrawn(player=event.entity, buyer=offer.buyer, good=it.good), *free(event.entity, it.good, offer)


def _struck(market: Market, event: Event, player: str, good: str, offer: Offer, price: int, broker: Broker) -> Said:
    held, buyer = broker.goods[good], market.buyers.get(offer.buyer)
    if buyer is None:
        return ()  # left the market
    if not offer.aside:  # made by a former release: nobody keeps the good for it
        why = f"{good} was offered before goods were put aside: offer it again"
        return _refused(event, offer.buyer, good, NOT_SET_ASIDE, why, player=player, round=offer.round)
    struck = said.BargainStruck(
        player=player,
        buyer=offer.buyer,
        good=good,
        currency=buyer.currency,
        price_minor=price,
        kind=held.kind,
        condition=held.condition,
        rounds=offer.round,
        thing=thing_of(player, good, held),
    )
    return (struck, *heated(broker, buyer.heat, "sold"), *watch(market, broker))
