"""Reactions of a character to the events that concern it: from the clock, from players, from models, and from the world around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from google.protobuf.message import Message

from bus.event import Event
from handlers.npc_behavior.choose import moment, needs_said, place_of, scheduled, weigh
from handlers.npc_behavior.dialogue import MOST_PULSES, answered, given_up, heard, settled
from handlers.npc_behavior.feelings import affected, scaled
from handlers.npc_behavior.memory import forget, plain
from handlers.npc_behavior.mind import clamp, moved, tie_now
from handlers.npc_behavior.state import PULSE, Npc
from handlers.npc_behavior.tables import Persona, Tables, Trigger
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, PlayerSpoke
from schemas.gen.worldbus.inference.v1 import inference_pb2 as inference
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChanged, SceneDiscovered
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed, NpcAppeared, NpcNoticed
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAccepted, QuestCompleted, QuestFailed
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryBeatBegan, StoryConsequence
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, DayBegan, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged

Said = Sequence[Message]
ENDED = (
    inference.InferenceCompleted,
    inference.InferenceDegraded,
    inference.InferenceExpired,
    inference.InferenceCancelled,
    inference.InferenceRejected,
)


def triggers(event: Event) -> Sequence[Trigger]:
    """The triggers that `event` may be for characters whose table waits for it, most exact first."""
    match event.data, event.subsystem:
        case QuestCompleted(quest=quest, ending=ending), "quest":
            return ("quest", f"{quest}={ending}"), ("quest", quest)
        case QuestFailed(quest=quest), "quest":
            return (("quest_failed", quest),)
        case SceneDiscovered(scene=scene), "narrative":
            return (("discovered", scene),)
        case SceneChanged(), "narrative":
            return (("changed", event.entity),)
        case RaidSuffered(), "broker":
            return (("raid", "any"),)
        case StoryBeatBegan(beat=beat), "storyteller":
            return (("story", beat),)
        case _:
            return ()


def decide(tables: Tables, event: Event, npc: Npc) -> Said:
    """The character's answer to `event`."""
    persona = tables.npcs.get(npc.entity)
    if persona is None:
        return ()
    begins = () if npc.appeared else (NpcAppeared(name=persona.title, place=npc.place), WakeRequested(name=PULSE))
    return *begins, *_answer(tables, persona, npc, event)


def _answer(tables: Tables, persona: Persona, npc: Npc, event: Event) -> Iterator[Message]:
    match event.data:
        case PlayerSpoke() as it:
            return heard(tables, persona, npc, event, it)
        case WakeFired() as it:
            return _woken(tables, persona, npc, event, it)
        case ItemGiven() as it:
            return _given(tables, persona, npc, event, it)
        case NpcAttacked() as it:
            return _attacked(tables, persona, npc, event, it)
        case CreatureSlain() as it:
            return _slain(tables, persona, npc, event, it)
        case WeatherChanged(sky=sky):
            return _noticed(npc, "weather", sky, npc.skies.get(event.entity, ""), event.entity, npc.world_ms)
        case DayBegan(asleep=True):
            return iter(())  # a pulse that waits for somebody is not lost
        case ClockStarted() | DayBegan():
            return _clock(tables, npc, event.data.now.world_ms)
        case QuestAccepted() as it:
            return _asked(tables, persona, npc, event, it)
        case BargainStruck() as it:
            return _traded(tables, persona, npc, event, it)
        case StoryConsequence() as it:
            return _told(tables, persona, npc, event, it)
        case it if isinstance(it, ENDED):
            return answered(tables, persona, npc, event, it)
        case _:
            return _concerned(tables, persona, npc, event)


# ---- time -----------------------------------------------------------------------------------------------------------------------------


def _woken(tables: Tables, persona: Persona, npc: Npc, event: Event, it: WakeFired) -> Iterator[Message]:
    """A pulse: look around, weigh what to do, forget what faded. One that comes before its time is an old one."""
    if it.name != PULSE or it.now.world_ms < npc.next_ms:
        return
    now = it.now
    yield WakeRequested(name=PULSE, at_world_ms=now.world_ms + tables.pulse_ms)
    yield from _noticed(npc, "season", now.season, npc.season, "", now.world_ms)
    yield from _noticed(npc, "time_of_day", now.time_of_day, npc.time_of_day, "", now.world_ms)
    aware = replace(npc, season=now.season, time_of_day=now.time_of_day, world_ms=now.world_ms)
    yield from _pursued(tables, persona, aware, event, now)
    yield from forget(tables, aware, now.world_ms)
    for name, question in npc.questions.items():
        if question.pulses >= MOST_PULSES:
            yield from given_up(tables, persona, aware, name, question)


def _clock(tables: Tables, npc: Npc, world_ms: int) -> Iterator[Message]:
    """The clock runs: whoever appeared before it did, or lost its pulse, asks for it again."""
    if (npc.appeared and npc.next_ms < world_ms - tables.pulse_ms) or npc.next_ms == 0:
        yield WakeRequested(name=PULSE)


def _noticed(npc: Npc, kind: str, value: str, before: str, place: str, world_ms: int) -> Iterator[Message]:
    if value != before:
        yield NpcNoticed(kind=kind, place=place, value=value, world_ms=world_ms)


def _pursued(tables: Tables, persona: Persona, npc: Npc, event: Event, now: WorldTime) -> Iterator[Message]:
    at = moment(tables, persona, npc, now.world_ms, dice=event.id, slot=scheduled(persona, now))
    options = weigh(at, "life")
    best = options[0].action
    place = place_of(at, best)
    if (best, place) == (npc.action, npc.place):
        return
    yield NpcActed(
        action=best,
        place=place,
        previous_place=npc.place,
        cause="pulse",
        considered=options,
        needs=needs_said(at.needs),
        world_ms=now.world_ms,
    )


# ---- deeds of players -----------------------------------------------------------------------------------------------------------------


def _given(tables: Tables, persona: Persona, npc: Npc, event: Event, it: ItemGiven) -> Iterator[Message]:
    """A gift came, or one of the character's own went: a gift counts when it has changed hands."""
    if event.entity == npc.entity:
        action = next((action for action in tables.actions.values() if action.hands_over), None)
        if action is not None:
            yield from settled(tables, persona, npc, action, it.to, tie_now(tables, persona, npc.tie(it.to), npc.world_ms))
        return
    worth = clamp(it.value_minor, 0, 10**12)
    liking = 2000 if it.sku in persona.likes else -500 if it.sku in persona.dislikes else 1000
    effect = scaled(tables.effects["gift"], liking * (4 + worth.bit_length()) // 8)
    debt = worth if liking > 0 else 0
    yield from affected(
        tables,
        persona,
        npc,
        event,
        effect,
        cause="gift",
        kind="gift",
        player=event.entity,
        debt_minor=debt,
        words={"item": plain(it.sku, 64)},
    )


def _attacked(tables: Tables, persona: Persona, npc: Npc, event: Event, it: NpcAttacked) -> Iterator[Message]:
    player, words = event.entity, {"place": plain(it.place, 64) or npc.place, "victim": plain(it.npc, 64)}
    if it.npc != npc.entity:
        if it.place != npc.place:
            return  # it may come here, but is elsewhere
        bond = persona.bonds.get(it.npc, 0)
        effect = scaled(tables.effects["witness"], 1000 + bond)
        yield from affected(tables, persona, npc, event, effect, cause="witness", kind="witness", player=player, words=words)
        return
    effect = tables.effects["attack"]
    yield from affected(tables, persona, npc, event, effect, cause="attack", kind="attack", player=player, words=words)
    foe = moved(tie_now(tables, persona, npc.tie(player), npc.world_ms), effect, persona)
    at = moment(tables, persona, npc, npc.world_ms, dice=event.id, foe=foe)
    options = weigh(at, "reaction")
    needs = {need: clamp(level + effect.needs.get(need, 0), 0, 1000) for need, level in at.needs.items()}
    place = place_of(at, options[0].action)
    yield NpcActed(
        action=options[0].action,
        target=player,
        place=place,
        previous_place=npc.place,
        cause="attacked",
        considered=options,
        needs=needs_said(needs),
        world_ms=npc.world_ms,
    )


def _slain(tables: Tables, persona: Persona, npc: Npc, event: Event, it: CreatureSlain) -> Iterator[Message]:
    if it.place != npc.place:
        return
    words = {"creature": plain(it.creature, 64), "place": plain(it.place, 64), "count": str(max(it.quantity, 1))}
    yield from affected(tables, persona, npc, event, tables.effects["slain"], cause="slain", kind="slain", player=event.entity, words=words)


# ---- what others say ------------------------------------------------------------------------------------------------------------------


def _asked(tables: Tables, persona: Persona, npc: Npc, event: Event, it: QuestAccepted) -> Iterator[Message]:
    words = {"title": plain(it.title, 120)}
    yield from affected(tables, persona, npc, event, tables.effects["taken"], cause="taken", kind="quest", player=event.entity, words=words)


def _traded(tables: Tables, persona: Persona, npc: Npc, event: Event, it: BargainStruck) -> Iterator[Message]:
    words = {"kind": plain(it.kind, 64)}
    yield from affected(
        tables, persona, npc, event, tables.effects["bargain"], cause="bargain", kind="bargain", player=it.player, words=words
    )


def _told(tables: Tables, persona: Persona, npc: Npc, event: Event, it: StoryConsequence) -> Iterator[Message]:
    words = {"text": plain(it.text, 200)}
    if it.kind == "mood":
        effect = replace(tables.effects["mood"], mood=clamp(it.amount, -100, 100) * 10)
        yield from affected(tables, persona, npc, event, effect, cause="story", kind="story", words=words)
    elif it.kind == "rumour" and it.target == npc.place:
        yield from affected(tables, persona, npc, event, tables.effects["rumour"], cause="story", kind="story", words=words)


def _concerned(tables: Tables, persona: Persona, npc: Npc, event: Event) -> Iterator[Message]:
    """React as the character's own table says; only the most exact entry counts."""
    for trigger in triggers(event):
        if (effect := persona.reacts.get(trigger)) is not None:
            player = event.entity if event.subsystem in ("quest", "narrative", "broker") and trigger[0] != "changed" else ""
            kind = "quest" if trigger[0].startswith("quest") else "story"
            yield from affected(tables, persona, npc, event, effect, cause=":".join(trigger), kind=kind, player=player)
            return
