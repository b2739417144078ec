"""Duskmarket, the sample game: a town whose brokers trade in what others would rather not name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from handlers import ALL
from handlers.content import Content
from projections.catalogue import PROJECTIONS
from worldbus.game import Game

game: Final = Game(name="duskmarket", mark="", handlers=ALL, projections=PROJECTIONS, content=Content(Path(__file__).parent))
