"""Deeds of simulated players, one function per kind: a die and the knowledge of the player's client in, a draft's parts out.

The words of the world (quests, goods, scenes, prices, characters) are its own tables, so a change there is played at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, GiftGiven, ItemCollected, NpcAttacked, ObjectExamined, PlayerSpoke
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemUseRequested
from schemas.gen.worldbus.language.v1.language_pb2 import LanguageStudied, UtteranceRequested
from schemas.gen.worldbus.language.v1.types_pb2 import Meaning, Thing
from schemas.gen.worldbus.payment.v1.payment_pb2 import HoldCaptureRequested, HoldRequested, PurchaseRequested, RefundRequested
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAbandonRequested, QuestAcceptRequested, QuestChoiceRequested, QuestWorkRequested
from schemas.gen.worldbus.state.v1.state_pb2 import StateChangeRequested
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryChoiceRequested
from worlds.duskmarket.bots.trader import Trader

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from worlds.duskmarket.bots.seen import Goal, Seen

COUPON: Final = "DUSK10"
MOST_QUESTS: Final = 3
SHORT_HOLD_MS: Final = 4_000
WORDS: Final = (
    "Have you seen the ferryman?",
    "What do you pay for a drowned heart?",
    "I was never here.",
    "Do you believe in the tally?",
    "The watch is asking about you.",
    "Tell me what the moor took.",
    "",
)


class Say(NamedTuple):
    """A message, and the entity that it is about; an empty entity is the player."""

    data: Message
    entity: str = ""


Dice = random.Random
Deed = Callable[[Dice, str, str, "Seen"], Say]  # dice, the player, a name for a request, the world as seen


def trade(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """The broker's next command; one who waits looks around meanwhile."""
    wish = Trader(dice, seen.content.market).wish(seen.trades.of(player))
    return explore(dice, player, name, seen) if wish is None else Say(wish)


def quest(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Choose a way, do what a quest wants, or take a new one on."""
    known = seen.players[player]
    if known.choices:
        which, ways = dice.choice(tuple(known.choices.items()))
        return Say(QuestChoiceRequested(quest=which, choice=dice.choice(ways)))
    if known.party and dice.random() < 0.25:
        return _together(dice, player, name, seen)
    if known.quests and (len(known.quests) >= MOST_QUESTS or dice.random() < 0.85):
        which = dice.choice(tuple(known.quests))
        goals = [goal for goal in known.quests[which].values() if goal.count < goal.needed]
        if goals and dice.random() < 0.98:
            return _toward(dice, player, name, seen, dice.choice(goals))
        return Say(QuestAbandonRequested(quest=which))
    if known.offered and dice.random() < 0.7:
        return Say(QuestAcceptRequested(quest=known.offered.pop()))
    open_ones = [one for one in seen.content.quests.quests if one not in known.quests and one not in known.ended]
    if open_ones and dice.random() < 0.7:
        return Say(QuestAcceptRequested(quest=dice.choice(open_ones)))
    return Say(QuestWorkRequested(npc=dice.choice(tuple(seen.content.npcs.npcs))))


def _together(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Do something for the quests of the player's party, or share one with it."""
    party = seen.players[player].party
    shared = seen.players[party]
    for which, ways in shared.choices.items():
        return Say(QuestChoiceRequested(quest=which, choice=dice.choice(ways), party=party))
    goals = [goal for goals in shared.quests.values() for goal in goals.values() if goal.count < goal.needed]
    return (
        _toward(dice, player, name, seen, dice.choice(goals))
        if goals
        else Say(QuestAcceptRequested(quest=dice.choice(tuple(seen.content.quests.quests)), party=party))
    )


def _toward(dice: Dice, player: str, name: str, seen: Seen, goal: Goal) -> Say:
    left = goal.needed - goal.count
    match goal.kind:
        case "kill":
            return Say(CreatureSlain(creature=goal.target, place=goal.place, quantity=dice.randint(1, left)))
        case "collect":
            return Say(ItemCollected(item=goal.target, place=goal.place, quantity=dice.randint(1, left)))
        case "talk" | "hear":
            return Say(PlayerSpoke(npc=goal.target, place=goal.place, text=dice.choice(WORDS)))
        case "visit":
            return Say(PlayerMoved(zone=goal.target, x=1.0))
        case "examine":
            return Say(ObjectExamined(object=goal.target, scene=_scene_of(seen, goal.target), place=goal.place))
        case "discover" if goal.target in seen.content.scenes.scenes:
            return _look_at(dice, seen, goal.target)
        case "give":
            return Say(GiftGiven(npc=goal.place, item=goal.target))
        case "sell":
            return trade(dice, player, name, seen)
        case _:
            return Say(PlayerSpoke(npc=dice.choice(tuple(seen.content.npcs.npcs)), text=dice.choice(WORDS)))


def _scene_of(seen: Seen, thing: str) -> str:
    return next((name for name, scene in seen.content.scenes.scenes.items() if thing in scene.objects), "")


def _look_at(dice: Dice, seen: Seen, scene: str) -> Say:
    found = seen.content.scenes.scenes[scene]
    return Say(ObjectExamined(object=dice.choice(tuple(found.objects)), scene=scene, place=found.place))


def explore(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Look closely at something in a scene."""
    return _look_at(dice, seen, dice.choice(tuple(seen.content.scenes.scenes)))


def talk(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Say something to somebody."""
    return Say(PlayerSpoke(npc=dice.choice(tuple(seen.content.npcs.npcs)), text=dice.choice(WORDS)))


def give(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Give somebody what they like."""
    npc = dice.choice(tuple(seen.content.npcs.npcs))
    return Say(
        GiftGiven(npc=npc, item=dice.choice(sorted(seen.content.npcs.npcs[npc].likes) or ["bread"]), value_minor=dice.randint(10, 400))
    )


def pester(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Talk at the one character that this player has picked."""
    return Say(PlayerSpoke(npc=_picked(player, seen), text=dice.choice(WORDS)))


def attack(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Hit that character."""
    npc = _picked(player, seen)
    return Say(NpcAttacked(npc=npc, place=seen.content.npcs.npcs[npc].home))


def cheat(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Want what the rules refuse: money back twice, the same thing again under the same name, a change on top of another's."""
    bought, roll = seen.players[player].purchases, dice.random()
    if bought and roll < 0.4:
        return Say(RefundRequested(request_id=name, purchase_id=dice.choice(bought)))
    if bought and roll < 0.7:
        return Say(PurchaseRequested(request_id=dice.choice(bought), sku=dice.choice(tuple(seen.content.prices.items))))
    if roll < 0.85:
        stale = seen.players[player].version + 1_000
        return Say(StateChangeRequested(request_id=name, expected_version=stale, set={"gold": StateValue(integer=10**6)}))
    return Say(PurchaseRequested(request_id=name, sku=dice.choice(tuple(seen.content.prices.items)), quantity=1))


def _picked(player: str, seen: Seen) -> str:
    return random.Random(player).choice(tuple(seen.content.npcs.npcs))


def money(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Buy, give back, put aside, use up."""
    known, roll = seen.players[player], dice.random()
    carried = [sku for sku, count in known.items.items() if count > 0]
    if roll < 0.50:
        coupon = COUPON if dice.random() < 0.3 else ""
        return Say(PurchaseRequested(request_id=name, sku=dice.choice(tuple(seen.content.prices.items)), coupon=coupon))
    if roll < 0.65 and known.purchases:
        return Say(RefundRequested(request_id=name, purchase_id=dice.choice(known.purchases)))
    if roll < 0.75:
        return Say(HoldRequested(request_id=name, currency="crowns", amount_minor=dice.randint(1, 200), for_real_ms=SHORT_HOLD_MS))
    if roll < 0.85 and known.holds:
        return Say(HoldCaptureRequested(request_id=name, hold=dice.choice(known.holds), to="market"))
    if roll < 0.92 and carried:
        return Say(ItemUseRequested(request_id=name, sku=dice.choice(carried)))
    return Say(CreatureSlain(creature="moor-hound", place="old-moor", quantity=1))


def study(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Learn a language, or say something in one."""
    language = dice.choice(tuple(seen.content.languages.languages))
    if dice.random() < 0.5:
        return Say(LanguageStudied(language=language, words=dice.randint(20, 200), source="primer"))
    meaning = Meaning(
        subject=Thing(noun=dice.choice(("i", "you", "we"))), verb=dice.choice(("sell", "see", "give")), object=Thing(noun="body")
    )
    return Say(UtteranceRequested(request_id=name, language=language, meaning=meaning))


def story(dice: Dice, player: str, name: str, seen: Seen) -> Say:
    """Decide how a story goes on, where it waits for that."""
    if not seen.story:
        return explore(dice, player, name, seen)
    arc, ways = dice.choice(tuple(seen.story.items()))
    return Say(StoryChoiceRequested(player=player, choice=dice.choice(ways)), entity=arc)


# By the names that worlds/duskmarket/bots.toml gives them.
DEEDS: Final[Mapping[str, Deed]] = {
    "trade": trade,
    "quest": quest,
    "money": money,
    "talk": talk,
    "give": give,
    "look": explore,
    "study": study,
    "story": story,
    "pester": pester,
    "attack": attack,
    "cheat": cheat,
}
