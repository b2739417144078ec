"""The content of a world: a folder of tables, each read when somebody first plays by it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from handlers import plausible
from handlers.capability_registry import tables as _engines
from handlers.language_system import tables as _languages
from handlers.model_management import tables as _models
from handlers.narrative import tables as _scenes
from handlers.npc_behavior import read as _npcs
from handlers.payment import tables as _prices
from handlers.quest_system import tables as _quests
from handlers.router import tables as _router
from handlers.storyteller import tables as _story
from handlers.time_manager import calendar as _calendar
from handlers.weather_manager import tables as _weather

if TYPE_CHECKING:
    from handlers.npc_behavior.tables import Tables as Npcs


class Content:
    """The tables in `folder`. Each is read once, when it is first asked for, and raises `BadSettings` where it cannot be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Content({str(self.folder)!r})"

    @cached_property
    def bounds(self) -> plausible.Bounds:
        """The most that reports are believed to say; a world without the file believes everything."""
        path = self.folder / "bounds.toml"
        return plausible.load(path) if path.exists() else plausible.UNBOUNDED

    @cached_property
    def calendar(self) -> _calendar.Calendar:
        """Hours, days and seasons."""
        return _calendar.load(self.folder / "calendar.toml")

    @cached_property
    def weather(self) -> _weather.Tables:
        """Climates and the weather they have."""
        return _weather.load(self.folder / "weather.toml")

    @cached_property
    def npcs(self) -> Npcs:
        """The characters, and what they may do."""
        return _npcs.load(self.folder / "npcs.toml")

    @cached_property
    def quests(self) -> _quests.Tables:
        """The quests."""
        return _quests.load(self.folder / "quests.toml")

    @cached_property
    def prices(self) -> _prices.PriceList:
        """The prices for which a game's own money buys things, and packs that are paid for outside."""
        return _prices.load(self.folder / "prices.toml")

    @cached_property
    def scenes(self) -> _scenes.Tables:
        """The scenes that are found in places and things."""
        return _scenes.load(self.folder / "scenes.toml")

    @cached_property
    def story(self) -> _story.Tables:
        """The arcs that the storyteller tells."""
        return _story.load(self.folder / "story.toml")

    @cached_property
    def languages(self) -> _languages.Tables:
        """The languages, and how they are learned."""
        return _languages.load(self.folder / "languages.toml")

    @cached_property
    def engines(self) -> _engines.Tables:
        """The versions of engines, and what each can do."""
        return _engines.load(self.folder / "engines.toml")

    @cached_property
    def models(self) -> _models.Tables:
        """The models of each tier."""
        return _models.load(self.folder / "models.toml")

    @cached_property
    def router(self) -> _router.Tables:
        """The rules by which services are chosen."""
        return _router.load(self.folder / "router.toml")
