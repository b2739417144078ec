"""Players' views of the world, as their game client would keep them: a fold over the log, so the same log shows the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from worlds.duskmarket.bots.trader import Trades
from worlds.duskmarket.broker import broker

if TYPE_CHECKING:
    from bus.event import Event
    from worlds.duskmarket.content import Duskmarket

BROKER: Final = broker.name
KEPT: Final = 8  # offers and purchases that a client remembers


@dataclass(slots=True)
class Goal:
    """One objective of a quest that is under way."""

    kind: str
    target: str
    place: str
    needed: int
    count: int = 0


@dataclass(slots=True)
class Known:
    """The knowledge of one player's client."""

    version: int = 0  # of the player's own state, as the world last said it
    party: str = ""
    quests: dict[str, dict[str, Goal]] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)  # quest -> ways to go on
    offered: list[str] = field(default_factory=list)  # generated quests
    ended: set[str] = field(default_factory=set)  # quests, whatever came of them
    purchases: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    items: dict[str, int] = field(default_factory=dict)


class Seen:
    """The world as its players see it, beside what its tables say. `take` the log in order."""

    def __init__(self, content: Duskmarket) -> None:
        self.content = content
        self.players: defaultdict[str, Known] = defaultdict(Known)
        self.trades = Trades()
        self.story: dict[str, list[str]] = {}  # arc -> ways to go on

    def take(self, event: Event) -> None:
        """See one more event; most are not for players' eyes."""
        if event.subsystem == BROKER:
            self.trades.hear(event)
            return
        look = _LOOKS.get((event.subsystem, event.name))
        if look is not None:
            look(self, event.entity, event.data)

    def take_all(self, events: Iterable[Event], world: str) -> None:
        """See what concerns this world."""
        for event in events:
            if event.world == world:
                self.take(event)


Look = Callable[[Seen, str, Any], None]


def _versioned(seen: Seen, player: str, it: Any) -> None:
    seen.players[player].version = it.version


def _stage(seen: Seen, player: str, it: Any) -> None:
    goals = {goal.name: Goal(goal.kind, goal.target, goal.place, goal.needed) for goal in it.objectives}
    seen.players[player].quests[it.quest] = goals
    seen.players[player].choices.pop(it.quest, None)


def _progress(seen: Seen, player: str, it: Any) -> None:
    goal = seen.players[player].quests.get(it.quest, {}).get(it.objective)
    if goal is not None:
        goal.count = it.count


def _choice(seen: Seen, player: str, it: Any) -> None:
    seen.players[player].choices[it.quest] = [way.name for way in it.choices]


def _quest_over(seen: Seen, player: str, it: Any) -> None:
    known = seen.players[player]
    known.quests.pop(it.quest, None)
    known.choices.pop(it.quest, None)
    known.ended.add(it.quest)


def _offered(seen: Seen, player: str, it: Any) -> None:
    known = seen.players[player]
    known.offered = [*known.offered, it.quest][-KEPT:]


def _new_day(seen: Seen, player: str, _it: Any) -> None:
    seen.players[player].ended.clear()


def _bought(seen: Seen, player: str, it: Any) -> None:
    known = seen.players[player]
    known.purchases = [*known.purchases, it.request_id][-KEPT:]


def _put_aside(seen: Seen, player: str, it: Any) -> None:
    known = seen.players[player]
    known.holds = [*known.holds, it.hold][-KEPT:]


def _hold_over(seen: Seen, player: str, it: Any) -> None:
    known = seen.players[player]
    known.holds = [hold for hold in known.holds if hold != it.hold]


def _joined(seen: Seen, player: str, it: Any) -> None:
    seen.players[player].party = it.party


def _departed(seen: Seen, player: str, _it: Any) -> None:
    seen.players[player].party = ""


def _counted(seen: Seen, player: str, it: Any) -> None:
    seen.players[player].items[it.sku] = it.now


def _story_opened(seen: Seen, arc: str, it: Any) -> None:
    seen.story[arc] = [way.name for way in it.choices]


def _story_chosen(seen: Seen, arc: str, _it: Any) -> None:
    seen.story.pop(arc, None)


_LOOKS: Final[dict[tuple[str, str], Look]] = {
    ("state", "StateChanged"): _versioned,
    ("state", "StateLoaded"): _versioned,
    ("quest", "QuestStageBegan"): _stage,
    ("quest", "QuestProgressed"): _progress,
    ("quest", "QuestChoiceOpened"): _choice,
    ("quest", "QuestCompleted"): _quest_over,
    ("quest", "QuestFailed"): _quest_over,
    ("quest", "QuestAbandoned"): _quest_over,
    ("quest", "QuestOffered"): _offered,
    ("quest", "DailyQuestsReset"): _new_day,
    ("payment", "PurchaseCompleted"): _bought,
    ("quest", "QuestPartyJoined"): _joined,
    ("quest", "QuestPartyDeparted"): _departed,
    ("payment", "HoldPlaced"): _put_aside,
    ("payment", "HoldCaptured"): _hold_over,
    ("payment", "HoldReleased"): _hold_over,
    ("inventory", "ItemGranted"): _counted,
    ("inventory", "ItemRemoved"): _counted,
    ("inventory", "ItemUsed"): _counted,
    ("inventory", "ItemGiven"): _counted,
    ("storyteller", "StoryChoiceOpened"): _story_opened,
    ("storyteller", "StoryChoiceMade"): _story_chosen,
}
