"""The market of a world as a designer writes it (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token

FULL: Final = 1000  # thousandths
MINUTE_MS: Final = 60_000
OFFER_MINUTES: Final = 2880  # two days
MAX_KIND: Final = 48  # characters; a good's id adds its number
MAX_VALUE: Final = 10**9  # minor units
_KEYS: Final = ("look_minutes", "offer_minutes", "seasons", "preservatives", "heat", "appetite", "goods", "sources", "buyers")
MAX_SHARE: Final = 10_000  # thousandths of tastes and seasons: ten times the usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A kind of good."""

    values: Mapping[str, int]  # currency → minor units in perfect condition
    decay: int  # per look
    spoils_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source of goods."""

    kinds: Mapping[str, int]  # kind → share
    condition: tuple[int, int]
    heat: int
    cost: tuple[str, int] | None = None  # currency, minor units


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """A buyer: place, tastes and manner of haggling."""

    place: str
    currency: str
    tastes: Mapping[str, int]
    patience: int
    opening: int
    yields: int
    loyalty: int
    heat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """The attention of the authorities: how it grows, fades and ends in a raid."""

    fades: int
    raid_from: int
    raid_chance: int
    takes: int
    keeps: int
    fine_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appetite:
    """The appetite of buyers: it shrinks with each purchase, and returns."""

    bite: int
    returns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Checked market tables of a world."""

    look_ms: int
    seasons: Mapping[str, int]
    preservatives: Mapping[str, int]
    heat: Heat
    appetite: Appetite
    goods: Mapping[str, Good]
    sources: Mapping[str, Source]
    buyers: Mapping[str, Buyer]
    offer_ms: int = OFFER_MINUTES * MINUTE_MS  # world milliseconds that an offer stands without another word


def load(path: Path) -> Market:
    """The market in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Market:
    """The market in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only(*_KEYS)
    market = Market(
        look_ms=root.value("look_minutes", int) * MINUTE_MS,
        offer_ms=root.value("offer_minutes", int, OFFER_MINUTES) * MINUTE_MS,
        seasons=root.value("seasons", Mapping[str, int]),
        preservatives=root.value("preservatives", Mapping[str, int]),
        heat=root.table("heat").into(Heat),
        appetite=root.table("appetite").into(Appetite),
        goods={kind: body.into(Good) for kind, body in root.tables("goods").items()},
        sources={source: _source(body) for source, body in root.tables("sources").items()},
        buyers={buyer: body.into(Buyer) for buyer, body in root.tables("buyers").items()},
    )
    root.refuse(problems(market))
    return market


def _source(body: toml.Table) -> Source:
    cost = body.value("cost", Mapping[str, int], {})
    if len(cost) > 1:
        body.wrong("cost", "an amount of one currency", cost)
    return body.into(Source, cost=next(((currency, minor) for currency, minor in cost.items() if minor), None))


def problems(market: Market) -> list[str]:
    """The faults of the market, for people; empty if there are none."""
    found = [] if market.look_ms >= MINUTE_MS else [f"look_minutes must be 1 or more, found {market.look_ms / MINUTE_MS:g}"]
    found += [] if market.offer_ms >= MINUTE_MS else [f"offer_minutes must be 1 or more, found {market.offer_ms / MINUTE_MS:g}"]
    for where, shares, most in (("seasons", market.seasons, MAX_SHARE), ("preservatives", market.preservatives, FULL)):
        found += [f"{where}.{name}: wanted 0 to {most}, found {share!r}" for name, share in shares.items() if not _whole(share, 0, most)]
    found += [
        f"heat.{name}: wanted 0 to {FULL}"
        for name in ("fades", "raid_from", "raid_chance", "takes", "keeps")
        if not _share(market.heat, name)
    ]
    found += [f"appetite.{name}: wanted 0 to {FULL}" for name in ("bite", "returns") if not _share(market.appetite, name)]
    if not _whole(market.heat.fine_minor, 0, MAX_VALUE) or not is_token(market.heat.currency):
        found.append(f"heat: wanted fine_minor 0 to {MAX_VALUE} and a currency, found {market.heat.fine_minor!r} {market.heat.currency!r}")
    if market.appetite.returns == 0:
        found.append("appetite.returns must be above 0, or it never comes back")
    for kind, good in market.goods.items():
        found += [f"goods.{kind}: {problem}" for problem in _good_problems(kind, good)]
    for name, source in market.sources.items():
        found += [f"sources.{name}: {problem}" for problem in _source_problems(name, source, market.goods)]
    for name, buyer in market.buyers.items():
        found += [f"buyers.{name}: {problem}" for problem in _buyer_problems(name, buyer, market.goods)]
    return found


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _share(thing: object, name: str) -> bool:
    return _whole(getattr(thing, name), 0, FULL)


def _good_problems(kind: str, good: Good) -> list[str]:
    found: list[str] = []
    if not is_token(kind) or kind != kind.lower() or len(kind) > MAX_KIND:
        found.append(f"a kind's name must be 1 to {MAX_KIND} of a-z 0-9 _ -")
    if not good.values or not all(is_token(currency) and _whole(value, 1, MAX_VALUE) for currency, value in good.values.items()):
        found.append(f"values: wanted 1 to {MAX_VALUE} per currency, found {dict(good.values)}")
    if not _share(good, "decay") or not _share(good, "spoils_at"):
        found.append(f"wanted decay and spoils_at 0 to {FULL}, found {good.decay!r} and {good.spoils_at!r}")
    return found


def _source_problems(name: str, source: Source, goods: Mapping[str, Good]) -> list[str]:
    found = [] if is_token(name) else [f"a source's name must be {NAME_RULE}"]
    if not source.kinds or any(kind not in goods or not _whole(share, 1, MAX_VALUE) for kind, share in source.kinds.items()):
        found.append(f"kinds: wanted shares of 1 or more of known goods, found {dict(source.kinds)}")
    low, high = source.condition
    if not (_whole(low, 1, FULL) and _whole(high, low, FULL)):
        found.append(f"condition: wanted rising within 1 to {FULL}, found {list(source.condition)}")
    if any(kind in goods and low <= goods[kind].spoils_at for kind in source.kinds):
        found.append(f"condition: from {low} a good may be spoiled when it is found")
    if not _share(source, "heat") or (source.cost and not (is_token(source.cost[0]) and _whole(source.cost[1], 1, MAX_VALUE))):
        found.append(f"wanted heat 0 to {FULL} and a cost of 1 to {MAX_VALUE} in one currency, found {source.heat!r} and {source.cost!r}")
    return found


def _buyer_problems(name: str, buyer: Buyer, goods: Mapping[str, Good]) -> list[str]:
    found = [] if is_token(name) and is_token(buyer.place) else [f"a buyer's name and place must be {NAME_RULE}"]
    for kind, taste in buyer.tastes.items():
        if kind not in goods or buyer.currency not in goods[kind].values or not _whole(taste, 1, MAX_SHARE):
            found.append(f"tastes.{kind}: wanted 1 to {MAX_SHARE} for a good with a value in {buyer.currency}, found {taste!r}")
    if not _whole(buyer.patience, 1, 100):
        found.append(f"patience: wanted 1 to 100 offers, found {buyer.patience!r}")
    found += [f"{share}: wanted 0 to {FULL}" for share in ("opening", "yields", "loyalty", "heat") if not _share(buyer, share)]
    return found


def season_pace(market: Market, season: str) -> int:
    """The pace of decay in a season, thousandths; a season that is not named changes nothing."""
    return market.seasons.get(season, FULL)
