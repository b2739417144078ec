"""The designers' price list and market: what does not fit is named, the shipped ones fit each other, and the trade is worth playing."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from bus.errors import BadSettings
from handlers.payment import tables as money
from handlers.time_manager import calendar
from tests.duskmarket import FOLDER
from worlds.duskmarket.broker import tables as trade

PRICES = tomllib.loads((FOLDER / "prices.toml").read_text())
MARKET = tomllib.loads((FOLDER / "market.toml").read_text())
Damage = Callable[[dict[str, Any]], object]


def test_the_shipped_tables_fit_each_other() -> None:
    prices, market = money.load(FOLDER / "prices.toml"), trade.load(FOLDER / "market.toml")
    sold = {given for item in prices.items.values() for given in item.gives}
    used = {buyer.currency for buyer in market.buyers.values()} | {source.cost[0] for source in market.sources.values() if source.cost}

    assert used | {market.heat.currency} <= prices.currencies.keys()
    assert market.preservatives.keys() <= sold, "a preservative that nobody sells"
    assert {"market", "city"} <= set(prices.accounts)
    assert "broker" in prices.chargers
    assert market.seasons.keys() == {season.name for season in calendar.load(FOLDER / "calendar.toml").seasons}


def test_every_good_has_a_source_and_a_buyer_and_a_market_beats_its_cost() -> None:
    market = trade.load(FOLDER / "market.toml")
    for kind, good in market.goods.items():
        assert any(kind in source.kinds for source in market.sources.values()), f"nobody has {kind}"
        limits = [good.values[one.currency] * one.tastes[kind] // 1000 for one in market.buyers.values() if kind in one.tastes]
        assert limits, f"nobody wants {kind}"
    for name, source in market.sources.items():
        if source.cost is None:
            continue
        currency, cost = source.cost
        # What is bought in one world is sold in the other: at what the opening purses buy, one good must be affordable.
        assert cost <= PRICES["currencies"][currency]["opening_minor"] * 2, f"a newcomer never gets anything at {name}"


DAMAGED_PRICES: list[tuple[str, Damage]] = [
    ("at least one currency", lambda t: t.update(currencies={}, items={}, packs={})),
    ("currencies.a b", lambda t: t["currencies"].update({"a b": {"opening_minor": 1}})),
    ("opening_minor 0 to", lambda t: t["currencies"]["crowns"].update(opening_minor=-1)),
    ("currencies.crowns.opening_minor: wanted a whole number, found 1.5", lambda t: t["currencies"]["crowns"].update(opening_minor=1.5)),
    ("accounts: wanted names", lambda t: t.update(accounts=["a:b"])),
    ("an item's name must be", lambda t: t["items"].update({"Big Lamp": t["items"]["lantern"]})),
    ("items.lantern: prices: wanted 1 to", lambda t: t["items"]["lantern"].update(prices={})),
    ("items.lantern: prices: wanted 1 to", lambda t: t["items"]["lantern"].update(prices={"pearls": 5})),
    ("items.lantern: prices: wanted 1 to", lambda t: t["items"]["lantern"].update(prices={"crowns": 0})),
    ("items.lantern.prices.crowns: wanted a whole number, found True", lambda t: t["items"]["lantern"].update(prices={"crowns": True})),
    ("the price of 10 must be", lambda t: t["items"]["lantern"].update(prices={"crowns": 10**12})),
    ("items.lantern: gives", lambda t: t["items"]["lantern"].update(gives={})),
    ("items.lantern: gives", lambda t: t["items"]["lantern"].update(gives={"lantern": 0})),
    ("items.lantern: gives", lambda t: t["items"]["lantern"].update(gives={f"part-{n}": 1 for n in range(17)})),
    ("items.lantern: most", lambda t: t["items"]["lantern"].update(most=0)),
    ("packs.purse: wanted 1 to", lambda t: t["packs"]["purse"].update(currency="pearls")),
    ("packs.purse: wanted 1 to", lambda t: t["packs"]["purse"].update(amount_minor=0)),
    ("packs.purse: prices", lambda t: t["packs"]["purse"].update(prices={"EUR": 499})),
    ("packs.purse: prices", lambda t: t["packs"]["purse"].update(prices={})),
    ("a pack's name must be", lambda t: t["packs"].update({"Big Purse": t["packs"]["purse"]})),
    ("items: wanted a table, found no such key", lambda t: t.pop("items")),
    ("items.lantern.colour: wanted one of gives, most", lambda t: t["items"]["lantern"].update(colour="brass")),
    ("items.lantern.prices: wanted a table with a whole number", lambda t: t["items"]["lantern"].update(prices=5)),
    (r"currencies: wanted a table, found \[\]", lambda t: t.update(currencies=[])),
]
DAMAGED_MARKETS: list[tuple[str, Damage]] = [
    ("look_minutes must be 1 or more", lambda t: t.update(look_minutes=0)),
    ("seasons.spring", lambda t: t["seasons"].update(spring=-1)),
    ("preservatives.ice-chest", lambda t: t["preservatives"].update({"ice-chest": 1001})),
    ("heat.fades", lambda t: t["heat"].update(fades=-1)),
    ("heat.keeps", lambda t: t["heat"].update(keeps=1001)),
    ("heat: wanted fine_minor", lambda t: t["heat"].update(fine_minor=-1)),
    ("appetite.bite", lambda t: t["appetite"].update(bite=2000)),
    ("or it never comes back", lambda t: t["appetite"].update(returns=0)),
    ("goods.moth-lung: values", lambda t: t["goods"]["moth-lung"].update(values={})),
    ("goods.moth-lung: wanted decay", lambda t: t["goods"]["moth-lung"].update(decay=-1)),
    ("a kind's name must be", lambda t: t["goods"].update({"Lung": t["goods"]["moth-lung"]})),
    ("sources.moth-alley: kinds", lambda t: t["sources"]["moth-alley"].update(kinds={"moon": 1})),
    ("sources.moth-alley: kinds", lambda t: t["sources"]["moth-alley"].update(kinds={})),
    ("sources.moth-alley: condition: wanted rising", lambda t: t["sources"]["moth-alley"].update(condition=[900, 800])),
    ("may be spoiled when it is found", lambda t: t["sources"]["moth-alley"].update(condition=[200, 800])),
    ("sources.moth-alley: wanted heat", lambda t: t["sources"]["moth-alley"].update(heat=1001)),
    ("buyers.doctor-vane: tastes.moon", lambda t: t["buyers"]["doctor-vane"]["tastes"].update(moon=500)),
    ("buyers.doctor-vane: tastes.drowned-heart", lambda t: t["buyers"]["doctor-vane"]["tastes"].update({"drowned-heart": 500})),
    ("buyers.doctor-vane: patience", lambda t: t["buyers"]["doctor-vane"].update(patience=0)),
    ("buyers.doctor-vane: opening", lambda t: t["buyers"]["doctor-vane"].update(opening=1001)),
    ("heat: wanted a table, found no such key", lambda t: t.pop("heat")),
    ("heat.colour: wanted one of", lambda t: t["heat"].update(colour="red")),
    ("sources.moth-alley.condition: wanted an array of 2", lambda t: t["sources"]["moth-alley"].update(condition=[5])),
    ("sources.moth-alley.cost: wanted an amount of one", lambda t: t["sources"]["moth-alley"].update(cost={"crowns": 5, "teeth": 5})),
]


@pytest.mark.parametrize(("words", "damage"), DAMAGED_PRICES)
def test_a_price_list_that_does_not_fit_says_where(words: str, damage: Damage) -> None:
    table = copy.deepcopy(PRICES)
    damage(table)

    with pytest.raises(BadSettings, match=words):
        money.parse(table, "prices.toml")


@pytest.mark.parametrize(("words", "damage"), DAMAGED_MARKETS)
def test_a_market_that_does_not_fit_says_where(words: str, damage: Damage) -> None:
    table = copy.deepcopy(MARKET)
    damage(table)

    with pytest.raises(BadSettings, match=words):
        trade.parse(table, "market.toml")


def test_all_problems_are_told_together() -> None:
    table = copy.deepcopy(MARKET)
    table["look_minutes"] = 0
    table["appetite"]["returns"] = 0

    with pytest.raises(BadSettings, match=r"look_minutes.*never comes back"):
        trade.parse(table, "market.toml")


def test_a_file_that_is_not_toml_is_named(tmp_path: Any) -> None:
    (tmp_path / "prices.toml").write_text("= nonsense")

    for load in (money.load, trade.load):
        with pytest.raises(BadSettings, match=r"prices\.toml:1: cannot be read as TOML"):
            load(tmp_path / "prices.toml")
