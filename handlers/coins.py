"""The currencies that a table of quests or scenes pays in: those that it names itself, any where it names none.

currencies = ["crowns", "teeth"]
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bus import toml
from handlers.names import NAME_RULE, is_token


def currencies(root: toml.Table) -> tuple[str, ...]:
    """Names of the currencies in the table."""
    named: tuple[str, ...] = root.value("currencies", tuple[str, ...], ())
    root.refuse(f"currencies: {name!r} must be {NAME_RULE}" for name in named if not is_token(name))
    return named


def one_of(known: Collection[str]) -> str:
    """The currencies that may be named, in words."""
    return f"one of {', '.join(known)}" if known else f"a currency ({NAME_RULE})"


def is_one(currency: str, known: Collection[str]) -> bool:
    """True for a currency that may be paid in."""
    return currency in known if known else is_token(currency)


def reward_problems(currency: str, amount_minor: int, known: Collection[str]) -> Iterator[str]:
    """Problems of an amount and its currency: both are wanted, or neither."""
    if not is_one(currency, known) if amount_minor else bool(currency):
        yield f"wanted an amount in {one_of(known)}, found {amount_minor} {currency!r}"
