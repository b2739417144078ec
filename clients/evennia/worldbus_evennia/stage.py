"""The meeting of this Evennia game and a world: the module that the setting `WORLDBUS_STAGE` names, and nothing of any world without it.

    PLACES = {"The Ring Bar": "ring-bar"}                  # key of a room -> place of the world; other rooms are places of their own
    PEOPLE = {"renke": ("Renke", "ring-bar")}              # who lives there -> what they are called, and where they are at first
    AWAY = ("Chalk first.",)                               # what people say while the bus is away
    EVENTS = ("spaceport_client.spaceport.docking.v1",)    # modules of dataclasses: `dataclasses` in the world's [tool.worldbus]
    SHOWS = {("docking", "ShipDocked"): show_docked}       # (who says it, event) -> what is done about it
    COMMANDS = (CmdDock,)                                  # Evennia's, for players

All of it is optional. Beside that, people, weather, time, scenes and quests of the standard subsystems are shown in any world.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from types import ModuleType

AWAY = ("Not now.", "Hm? Say it again in a moment.", "I heard you. I am thinking about it.", "Later. My head is elsewhere.")


@dataclass(frozen=True)
class Stage:
    """The names of a module, in lower case."""

    places: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    away: tuple[str, ...] = AWAY
    events: tuple[str, ...] = ()
    shows: Mapping[tuple[str, str], Callable] = field(default_factory=dict)
    commands: tuple[type, ...] = ()

    @cached_property
    def rooms(self) -> Mapping[str, str]:
        """Place of the world -> key of its room."""
        return {place: room for room, place in self.places.items()}


def stage_of(module: ModuleType) -> Stage:
    """The stage that a module describes."""
    return Stage(**{name: getattr(module, name.upper()) for name in Stage.__dataclass_fields__ if hasattr(module, name.upper())})


@cache
def stage() -> Stage:
    """The stage of the setting's module, which is imported when it is first asked for: it may import Evennia's commands."""
    from django.conf import settings

    return stage_of(import_module(settings.WORLDBUS_STAGE)) if settings.WORLDBUS_STAGE else Stage()
