"""Parts of quests as the parts of messages."""

from __future__ import annotations

from handlers.quest_system.model import Ending, Objective
from schemas.gen.worldbus.quest.v1.types_pb2 import QuestItem, QuestObjective, QuestReward


def objective(goal: Objective) -> QuestObjective:
    """An objective as it is told."""
    return QuestObjective(name=goal.name, kind=goal.kind, target=goal.target, place=goal.place, needed=goal.count, minutes=goal.minutes)


def items(ending: Ending) -> list[QuestItem]:
    """The items that an ending pays besides money."""
    return [QuestItem(sku=sku, quantity=quantity) for sku, quantity in ending.items]


def reward(ending: Ending) -> QuestReward:
    """The reward of an ending."""
    return QuestReward(currency=ending.currency, amount_minor=ending.amount_minor, items=items(ending))
