"""Work made up from a pattern: the id of the event that asked is the dice, so the same event always makes the same quest."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from handlers.quest_system.messages import objective, reward
from handlers.quest_system.model import Ending, Objective, Pattern, Quest, Stage
from handlers.quest_system.tables import Tables
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestOffered

STAGE = "work"
ENDING = "done"


class Dice:
    """Throws that come from a text and the order in which they are asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._thrown = 0

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        self._thrown += 1
        digest = blake2b(f"{self._text}\n{self._thrown}".encode(), digest_size=8).digest()
        return low + int.from_bytes(digest, "big") % (high - low + 1)

    def pick(self, names: Sequence[str]) -> str:
        """One of the names; an empty text if there is none."""
        return names[self.between(0, len(names) - 1)] if names else ""


def offer(tables: Tables, npc: str, event_id: str) -> QuestOffered | None:
    """The work that `npc` has for whoever said the event; None if this NPC never has any."""
    known = sorted(name for name, pattern in tables.patterns.items() if npc in pattern.givers)
    if not known:
        return None
    dice = Dice(event_id)
    return _filled(tables.patterns[dice.pick(known)], npc, event_id, dice)


def _filled(pattern: Pattern, npc: str, event_id: str, dice: Dice) -> QuestOffered:
    target, place, count = dice.pick(pattern.targets), dice.pick(pattern.places), dice.between(*pattern.count)
    goal = Objective(name=STAGE, kind=pattern.kind, target=target, place=place, count=count)
    pays = Ending(name=ENDING, currency=pattern.currency, amount_minor=count * dice.between(*pattern.pay_each))
    return QuestOffered(
        quest=f"{pattern.name}-{blake2b(event_id.encode(), digest_size=8).hexdigest()}",
        pattern=pattern.name,
        title=pattern.title.format(count=count, target=target, place=place, giver=npc),
        giver=npc,
        objectives=[objective(goal)],
        reward=reward(pays),
        limit_minutes=count * pattern.minutes_each,
    )


def quest_of(it: QuestOffered) -> Quest:
    """The offered quest as if a designer had written it: one stage, one ending, once."""
    goals = tuple(
        Objective(name=goal.name, kind=goal.kind, target=goal.target, place=goal.place, count=goal.needed, minutes=goal.minutes)
        for goal in it.objectives
    )
    pays = Ending(
        name=ENDING,
        currency=it.reward.currency,
        amount_minor=it.reward.amount_minor,
        items=tuple((item.sku, item.quantity) for item in it.reward.items),
    )
    stage = Stage(name=STAGE, text=it.title, objectives=goals, next=ENDING)
    return Quest(
        name=it.quest, title=it.title, giver=it.giver, first=STAGE, limit_minutes=it.limit_minutes, stages=(stage,), endings=(pays,)
    )
