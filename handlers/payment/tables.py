"""The price list of a world as a designer writes it (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token

MAX_AMOUNT: Final = 10**12  # minor units in one posting
MAX_BALANCE: Final = 10**15  # minor units on one account; sums of accounts stay far below 64 bits
MAX_AT_ONCE: Final = 1_000  # pieces in one purchase
MAX_KINDS: Final = 16  # kinds of items that one purchase brings
TAXES: Final = ("inclusive", "exclusive")  # in the packs' prices, or on top of them
SKU_RULE: Final = "1 to 64 of a-z 0-9 _ -"
REFUSE: Final = "refuse"
PAY: Final = "pay"
_SKU: Final = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_REAL: Final = re.compile(r"[a-z]{3}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item that can be bought with virtual money."""

    prices: Mapping[str, int]  # currency → minor units for one
    gives: Mapping[str, int]  # sku → pieces for one
    most: int = 1  # in one purchase
    refundable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Virtual money that can be bought with real money."""

    currency: str
    amount_minor: int
    prices: Mapping[str, int]  # real currency → minor units


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Checked prices of a world."""

    currencies: Mapping[str, int]  # currency → opening gift, minor units
    accounts: tuple[str, ...]  # system accounts that may be paid
    chargers: tuple[str, ...]  # subsystems that may charge a player by rules of their own
    items: Mapping[str, Item]
    packs: Mapping[str, Pack]
    refund_used: str = REFUSE  # what becomes of a whole refund whose goods are not all there: `refuse` or `pay`
    tax: str = "inclusive"

    @property
    def taxed_on_top(self) -> bool:
        """True if the provider adds taxes to the packs' prices."""
        return self.tax == "exclusive"


def is_sku(text: str) -> bool:
    """Return whether `text` may name a kind of item."""
    return _SKU.fullmatch(text) is not None


def load(path: Path) -> PriceList:
    """The prices in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> PriceList:
    """The prices in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    prices = root.into(
        PriceList,
        currencies={currency: _opening(body) for currency, body in root.tables("currencies").items()},
        items={sku: body.into(Item) for sku, body in root.tables("items").items()},
        packs={pack: body.into(Pack) for pack, body in root.tables("packs").items()},
    )
    root.refuse(problems(prices))
    return prices


def _opening(currency: toml.Table) -> int:
    currency.only("opening_minor")
    return int(currency.value("opening_minor", int))


def problems(prices: PriceList) -> list[str]:
    """The faults of the price list, for people; empty if there are none."""
    found = [] if prices.currencies else ["currencies: wanted at least one currency, found none"]
    if prices.refund_used not in (REFUSE, PAY):
        found.append(f"refund_used must be {REFUSE} or {PAY}, found {prices.refund_used!r}")
    if prices.tax not in TAXES:
        found.append(f"tax: wanted {' or '.join(TAXES)}, found {prices.tax!r}")
    for currency, opening in prices.currencies.items():
        if not is_token(currency) or not _whole(opening, 0):
            found.append(f"currencies.{currency}: wanted a name of {NAME_RULE} and opening_minor 0 to {MAX_AMOUNT}, found {opening!r}")
    found += [f"accounts: wanted names of {NAME_RULE}, found {account!r}" for account in prices.accounts if not is_token(account)]
    for sku, item in prices.items.items():
        found += [f"items.{sku}: {problem}" for problem in _item_problems(sku, item, prices.currencies)]
    for pack, body in prices.packs.items():
        found += [f"packs.{pack}: {problem}" for problem in _pack_problems(pack, body, prices.currencies)]
    return found


def _whole(value: object, least: int, most: int = MAX_AMOUNT) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _item_problems(sku: str, item: Item, currencies: Mapping[str, int]) -> list[str]:
    found = [] if is_sku(sku) else [f"an item's name must be {SKU_RULE}"]
    if not item.prices or any(currency not in currencies or not _whole(price, 1, MAX_AMOUNT) for currency, price in item.prices.items()):
        found.append(f"prices: wanted 1 to {MAX_AMOUNT} in some of {', '.join(currencies)}, found {dict(item.prices)}")
    elif any(price * item.most > MAX_AMOUNT for price in item.prices.values()):
        found.append(f"prices: the price of {item.most} must be {MAX_AMOUNT} at most")
    if not 1 <= len(item.gives) <= MAX_KINDS or not all(
        is_sku(given) and _whole(pieces, 1, MAX_AT_ONCE) for given, pieces in item.gives.items()
    ):
        found.append(f"gives: wanted 1 to {MAX_AT_ONCE} of 1 to {MAX_KINDS} items, found {dict(item.gives)}")
    if not _whole(item.most, 1, MAX_AT_ONCE):
        found.append(f"most: wanted 1 to {MAX_AT_ONCE}, found {item.most!r}")
    return found


def _pack_problems(name: str, pack: Pack, currencies: Mapping[str, int]) -> list[str]:
    found = [] if is_sku(name) else [f"a pack's name must be {SKU_RULE}"]
    if pack.currency not in currencies or not _whole(pack.amount_minor, 1):
        found.append(f"wanted 1 to {MAX_AMOUNT} of one of {', '.join(currencies)}, found {pack.amount_minor!r} of {pack.currency!r}")
    if not pack.prices or not all(_REAL.fullmatch(real) and _whole(price, 1) for real, price in pack.prices.items()):
        found.append(f"prices: wanted a price of 1 to {MAX_AMOUNT} per lower-case ISO 4217 currency, found {dict(pack.prices)}")
    return found
