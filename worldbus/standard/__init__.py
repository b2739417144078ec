"""The standard subsystems, to be taken singly: each is put among the `handlers` of a `Game`, which gives it that game's content.

    from worldbus import Content, Game
    from worldbus.standard import player, projections, time_manager, weather

    game = Game(
        name="spaceport",
        handlers=(time_manager, player, weather, docking),
        projections=(projections.lanes, projections.players, projections.weather, berths),
        content=Content(Path(__file__).parent / "content"),
    )

| subsystem      | its tables in the content  | asks of others                         |
|----------------|----------------------------|----------------------------------------|
| `time_manager` | calendar.toml              |                                        |
| `player`       |                            | `time_manager`                         |
| `weather`      | weather.toml               | `time_manager`                         |
| `state`        |                            |                                        |
| `inventory`    | npcs.toml                  |                                        |
| `trade`        |                            | `inventory`, `time_manager`            |
| `payment`      | prices.toml                | `coupon`, `inventory`, `time_manager`  |
| `coupon`       |                            | `time_manager`                         |
| `quest`        | calendar.toml, quests.toml | `time_manager`                         |
| `narrative`    | scenes.toml                | `time_manager`                         |
| `storyteller`  | story.toml                 | inference, `narrative`, `time_manager` |
| `npc`          | npcs.toml                  | inference, `time_manager`              |
| `language`     | languages.toml             |                                        |
| `router`       | router.toml                | `time_manager`                         |
| `models`       | models.toml                | `time_manager`                         |
| `capability`   | engines.toml               | `time_manager`                         |
| `uemonitor`    |                            |                                        |

All of them hold reports against `bounds.toml` where it is there. What a subsystem asks of one that is not taken is never answered.
Tables that are made in code are handed to the factory in the subsystem's module (`handlers.weather_manager.weather_manager(tables)`), whose
handler takes the place of the declared one.

The clock is called `time_manager` here because `time` would hide Python's own module; the subsystem's name on the log is `time`.
"""

from __future__ import annotations

from typing import Final

from bus.handler import Subsystem
from handlers.capability_registry import capability
from handlers.inventory import inventory
from handlers.language_system import language
from handlers.model_management import models
from handlers.narrative import narrative
from handlers.npc_behavior import npc
from handlers.payment import coupon, payment
from handlers.player import player
from handlers.quest_system import quest
from handlers.router import router
from handlers.state_manager import state
from handlers.storyteller import storyteller
from handlers.time_manager import time as time_manager
from handlers.trade import trade
from handlers.uemonitor import uemonitor
from handlers.weather_manager import weather

__all__ = [
    "SUBSYSTEMS",
    "capability",
    "coupon",
    "inventory",
    "language",
    "models",
    "narrative",
    "npc",
    "payment",
    "player",
    "quest",
    "router",
    "state",
    "storyteller",
    "time_manager",
    "trade",
    "uemonitor",
    "weather",
]

SUBSYSTEMS: Final[tuple[Subsystem, ...]] = (
    time_manager,
    weather,
    player,
    state,
    capability,
    uemonitor,
    router,
    models,
    quest,
    payment,
    coupon,
    inventory,
    trade,
    narrative,
    storyteller,
    npc,
    language,
)
