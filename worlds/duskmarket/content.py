"""The content of Duskmarket: the standard tables, the goods and buyers of its brokers, and the players that no human plays."""

from __future__ import annotations

from functools import cached_property

from handlers.content import Content
from worlds.duskmarket.bots import kinds
from worlds.duskmarket.broker import tables


class Duskmarket(Content):
    """The tables in `folder`. Each is read once, when it is first asked for, and raises `BadSettings` where it cannot be."""

    @cached_property
    def market(self) -> tables.Market:
        """The goods of brokers, their sources and buyers."""
        return tables.load(self.folder / "market.toml")

    @cached_property
    def bots(self) -> kinds.Kinds:
        """The kinds of players that no human plays, and how often each does what."""
        return kinds.load(self.folder / "bots.toml")
