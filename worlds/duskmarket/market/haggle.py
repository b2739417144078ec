"""A buyer's answer to an offer: its worth to the buyer, the limit of this time, and the effect on the buyer's regard.

All in whole numbers and thousandths, so every machine comes to the same price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, OfferMade, OfferWithdrawn
from schemas.gen.worldbus.market.v1 import market_pb2 as said
from schemas.gen.worldbus.market.v1.types_pb2 import StilledAppetite
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from worlds.duskmarket.broker.state import roll
from worlds.duskmarket.broker.tables import FULL, Buyer, Market
from worlds.duskmarket.market.state import Buyer as State
from worlds.duskmarket.market.state import Known

HUNGER: Final = "hunger"  # name of the wake
DISTRUST: Final = -700  # regard at which a buyer does not listen any more
ENOUGH: Final = 900  # share of the appetite stilled at which a buyer wants no more of a kind
INSULT: Final = 4  # times the limit
MOOD: Final = 100  # thousandths that a good's charm varies either way
PLEASED: Final = 25  # regard
INSULTED: Final = -60
TIRED: Final = -30
LEFT: Final = -10
MAX_CATCH_UP: Final = 48  # looks made up for at once

Said = Sequence[Message]


def answer(market: Market, it: OfferMade, state: State) -> Said:
    """Take the offer, counter it, or turn it down."""
    buyer = market.buyers.get(it.buyer)
    if buyer is None:
        return _down(it, "NOT_INTERESTED", f"nobody of the name {it.buyer} buys here")
    known = state.knows(it.player)
    limit = worth(market, buyer, it, known.regard, state.sated.get(it.kind, 0))
    if refusal := _no(buyer, it, known, state.sated.get(it.kind, 0), limit):
        return _down(it, *refusal)
    reach = max(1, limit * min(FULL, buyer.opening + buyer.yields * (it.round - 1)) // FULL)
    if known.good == it.good:
        reach = max(reach, known.counter)  # a word once given stands
    if it.ask_minor <= reach:
        return (said.OfferAccepted(player=it.player, good=it.good, price_minor=it.ask_minor, round=it.round),)
    hungry_limit = worth(market, buyer, it, known.regard, 0)  # that the buyer has enough of it is not the broker's fault
    insult = _regard(it.player, known.regard, INSULTED, "insult") if it.ask_minor > INSULT * hungry_limit else ()
    if it.round >= buyer.patience:
        return (*_down(it, "OUT_OF_PATIENCE", "I have heard enough."), *(insult or _regard(it.player, known.regard, TIRED, "patience")))
    countered = said.OfferCountered(player=it.player, good=it.good, counter_minor=reach, round=it.round, patience=buyer.patience - it.round)
    return (countered, *insult)


def worth(market: Market, buyer: Buyer, it: OfferMade, regard: int, sated: int) -> int:
    """The buyer's limit for a good, minor units: value by condition, taste, regard, appetite, and a mood that stays for this good."""
    kind = market.goods.get(it.kind)
    value = kind.values.get(buyer.currency, 0) if kind else 0
    mood = FULL - MOOD + roll(it.buyer, it.player, it.good, "mood") % (2 * MOOD + 1)
    limit = value * it.condition * buyer.tastes.get(it.kind, 0) // (FULL * FULL)
    limit = limit * (FULL * FULL + regard * buyer.loyalty) // (FULL * FULL)
    return limit * (FULL - sated) * mood // (FULL * FULL)


def _no(buyer: Buyer, it: OfferMade, known: Known, sated: int, limit: int) -> tuple[str, str] | None:
    if it.kind not in buyer.tastes:
        return "NOT_INTERESTED", "That is not for me."
    if known.regard <= DISTRUST:
        return "DISTRUSTED", "Not from you. Not any more."
    if sated >= ENOUGH:
        return "SATED", "I have enough of those. Come back another day."
    if limit < 1:
        return "WORTHLESS", "That? In that state?"
    return None


def _down(it: OfferMade, code: str, reason: str) -> Said:
    return (said.OfferTurnedDown(player=it.player, good=it.good, code=code, reason=reason, round=it.round),)


def _regard(player: str, before: int, by: int, cause: str) -> tuple[Message, ...]:
    regard = max(-FULL, min(FULL, before + by))
    return (said.RegardChanged(player=player, by=regard - before, regard=regard, cause=cause),) if regard != before else ()


def sold(market: Market, it: BargainStruck, state: State) -> Said:
    """A bargain pleases, and stills the appetite for its kind."""
    sated = min(FULL, state.sated.get(it.kind, 0) + market.appetite.bite)
    pleased = _regard(it.player, state.knows(it.player).regard, PLEASED, "bargain")
    if not sated:
        return pleased
    wake = () if state.sated else (WakeRequested(name=HUNGER, in_world_ms=market.look_ms),)
    return (*pleased, said.AppetiteSated(kind=it.kind, sated=sated), *wake)


def walked_away(it: OfferWithdrawn, state: State) -> Said:
    """The broker stopped haggling."""
    return _regard(it.player, state.knows(it.player).regard, LEFT, "withdrawn")


def hungry(market: Market, it: WakeFired, state: State) -> Said:
    """Appetite comes back, until nothing is stilled any more."""
    if it.name != HUNGER or not state.sated:
        return ()
    looks = 1 + min(MAX_CATCH_UP - 1, max(0, it.now.world_ms - it.due_world_ms) // market.look_ms)
    by = min(FULL, market.appetite.returns * looks)
    left = [StilledAppetite(kind=kind, sated=sated - by) for kind, sated in state.sated.items() if sated > by]
    returned = said.AppetiteReturned(by=by, left=left)
    if not left:
        return (returned,)
    return returned, WakeRequested(name=HUNGER, at_world_ms=it.due_world_ms + looks * market.look_ms)
