"""Causes that stir arcs: facts of other subsystems, as the story's table names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from bus.event import EDGE, Event
from handlers.rights import is_word_of
from handlers.storyteller.tables import Cause
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChanged, SceneDiscovered
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted, QuestFailed
from schemas.gen.worldbus.time.v1.time_pb2 import DayBegan, SeasonChanged
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged

# type -> (who must say it, whether its entity is a player, what it is a cause of)
_FACTS: Final[dict[type[Message], tuple[str, bool, Callable[[str, Any], Sequence[Cause]]]]] = {
    QuestCompleted: ("quest", True, lambda _, it: _completed(it)),
    QuestFailed: ("quest", True, lambda _, it: (("quest_failed", it.quest),)),
    SceneDiscovered: ("narrative", True, lambda _, it: (("scene", it.scene),)),
    SceneChanged: ("narrative", False, lambda scene, _: (("change", scene),)),
    CreatureSlain: (EDGE, True, lambda _, it: (("slain", it.creature),)),
    BargainStruck: ("broker", True, lambda _, it: (("bargain", it.kind), ("bargain", "any"))),
    RaidSuffered: ("broker", True, lambda _, it: (("raid", "any"),)),
    WeatherChanged: ("weather", False, lambda _, it: (("weather", it.sky),)),
    SeasonChanged: ("time", False, lambda _, it: (("season", it.now.season),)),
    DayBegan: ("time", False, lambda _, it: (("day", "any"),)),
}

CAUSE_EVENTS: Final = tuple(_FACTS)


def _completed(it: QuestCompleted) -> Sequence[Cause]:
    """A party's quest counts once for each member, in their own words, and not once more for the party."""
    return () if it.members else (("quest", it.quest), ("quest", f"{it.quest}={it.ending}"))


def causes(event: Event) -> Sequence[Cause]:
    """The causes that `event` is to the story; none if another subsystem than its own emitted it."""
    fact = _FACTS.get(type(event.data))
    return fact[2](event.entity, event.data) if fact is not None and is_word_of(fact[0], event.subsystem) else ()


def player_of(event: Event) -> str:
    """The player who brought the cause about; empty if nobody did."""
    fact = _FACTS.get(type(event.data))
    return event.entity if fact is not None and fact[1] else ""
