"""The answers of the world, shown to whoever is there: lines chunk by chunk, deeds, weather, time, scenes, quests, and the stage's own.

Everything here runs on the reactor. A line that was heard in chunks is not said again when its event arrives.
"""

import random
from collections import OrderedDict
from importlib import import_module

from evennia.utils.create import create_object
from twisted.internet import reactor

from worldbus_client.gen.worldbus.inference.v1 import TokensDelivered
from worldbus_evennia import names
from worldbus_evennia.bodies import npc_named, player_named, room_of
from worldbus_evennia.bridge import bridge
from worldbus_evennia.stage import stage
from worldbus_evennia.typeclasses import Npc

MOST_KEPT = 2000  # requests whose speakers we remember
PATIENCE_S = 4.0
"""Without an answer for so long, a line of our own is said: the bus is away, and nobody shall notice."""
BETWEEN_ROOMS_S = 0.2

SILENT = {"ASLEEP": "is asleep", "AFRAID": "shrinks from you", "NOT_HERE": "is not here", "TOO_LONG": "loses the thread of what you say"}
"""Words that show a silence, by its reason; being interrupted shows by itself."""

waiting = {}
"""(npc, player) -> the timer of that line."""
asked = OrderedDict()
"""Request -> (npc, player): who speaks when chunks of its answer come."""
heard = OrderedDict()
"""Request -> attempt whose chunks were shown."""


def start():
    """Hear all of it."""
    for package in PACKAGES:  # else the first event of each would do it
        import_module(f"worldbus_client.gen.worldbus.{package}.v1")
    for module in stage().events:
        import_module(module)
    bridge.start({**SHOW, **stage().shows}, while_off=WHILE_OFF, signals={"tokens": on_chunk})


def present(name):
    """The character of a player who is here, or None."""
    character = player_named(name)
    return character if character is not None and character.has_account else None


def to_player(name, text):
    """Tell one player, if they are here."""
    if (character := present(name)) is not None:
        character.msg(text)


def to_room(place, text):
    """Tell everybody in a place; `text()` is asked for when somebody is there."""
    room = room_of(place)
    if room is not None and any(one.has_account for one in room.contents):
        room.msg_contents(text())


# -- lines -------------------------------------------------------------------------------------------------------------------------------


def expect(npc, character):
    """Expect an answer of a character that was spoken to."""
    if not bridge.on:
        return
    key = (npc.db.worldbus_npc, names.player(character))
    answered(*key)
    waiting[key] = reactor.callLater(PATIENCE_S, own_line, *key, bridge.switches)


def answered(npc_name, player):
    """Stop expecting an answer: it came, or will not."""
    timer = waiting.pop((npc_name, player), None)
    if timer is not None and timer.active():
        timer.cancel()


def own_line(npc_name, player, switches):
    """Say the character's own line while the bus is away; nothing if the bridge was switched meanwhile."""
    waiting.pop((npc_name, player), None)
    if bridge.switches != switches:
        return
    bridge.own_lines += 1
    says(npc_name, player, random.choice(stage().away), first=True)


def on_silent(event):
    answered(event.entity, event.data.player)
    npc = npc_named(event.entity)
    if npc is not None and event.data.code in SILENT:
        to_player(event.data.player, f"{npc.key} {SILENT[event.data.code]}.")


def on_asked(event):
    asked[event.data.request_id] = (event.data.npc, event.data.player)
    while len(asked) > MOST_KEPT:
        asked.popitem(last=False)


def on_chunk(signal):
    chunk = signal.read(TokensDelivered)
    npc_name, player = asked.get(chunk.request_id, (None, None))
    if not chunk.text or npc_name is None or chunk.attempt < heard.get(chunk.request_id, 0):
        return
    heard[chunk.request_id] = chunk.attempt
    while len(heard) > MOST_KEPT:
        heard.popitem(last=False)
    says(npc_name, player, chunk.text, first=chunk.sequence == 0)


def on_spoke(event):
    if event.data.request_id not in heard:
        says(event.entity, event.data.player, event.data.text, first=True)


def says(npc_name, player, text, *, first):
    answered(npc_name, player)
    npc = npc_named(npc_name)
    character = player_named(player)
    room = (npc and npc.location) or (character and character.location)
    if room is None:
        return
    who = npc.key if npc else npc_name
    to = f" to {character.key}" if character else ""
    words = names.shown(text.strip())
    room.msg_contents(f'|c{who}|n says{to}, "{words}"' if first else f'|c{who}|n: "{words}"')


# -- deeds, weather, time, stories -------------------------------------------------------------------------------------------------------


def on_acted(event):
    it = event.data
    npc = npc_named(event.entity)
    if npc is None:
        return
    if it.place != names.place(npc.location):
        put(event.entity, npc.key, it.place)
    if bridge.on and npc.location and it.cause == "dialogue":
        npc.location.msg_contents(f"{npc.key} does this: {names.shown(it.action.replace('-', ' '))}.")


def put(name, title, place):
    """Let one of the bus's people stand in a place; make the body if there is none. A place that is no room here: they are away."""
    room = room_of(place)
    npc = npc_named(name)
    if npc is not None:
        if npc.location != room:
            npc.move_to(room, quiet=room is None, to_none=room is None, move_type="bus")
    elif room is not None:
        create_object(Npc, key=title, location=room, home=room, attributes=[("worldbus_npc", name)])


def on_weather(event):
    to_room(event.entity, lambda: f"The sky: {names.shown(event.data.sky)}.")


def on_time(event):
    now = event.data.now.time_of_day if event.data.now else ""
    for number, place in enumerate(stage().rooms):  # one room after the other: telling all players at once would make commands wait
        reactor.callLater(number * BETWEEN_ROOMS_S, to_room, place, lambda: f"It is {now} now.")


def on_scene_changed(event):
    it = event.data
    to_room(it.place, lambda: f"Something is different here. {names.shown(it.text or it.object + ' is ' + it.condition)}")


# -- what one player is told -----------------------------------------------------------------------------------------------------------


def told(words):
    """A show that tells the event's player `words(data)`, if they are here."""

    def show(event):
        if present(event.entity) is not None:
            to_player(event.entity, words(event.data))

    return show


def refused(it):
    return f"|yThat cannot be|n: {it.reason}."


PACKAGES = ("inference", "narrative", "npc", "quest", "time", "weather")
SHOW = {
    ("npc", "InferenceRequested"): on_asked,
    ("npc", "NpcSpoke"): on_spoke,
    ("npc", "NpcKeptSilent"): on_silent,
    ("npc", "NpcActed"): on_acted,
    ("weather", "WeatherChanged"): on_weather,
    ("time", "TimeOfDayChanged"): on_time,
    ("narrative", "SceneDiscovered"): told(lambda it: f"|m{it.title}|n: {it.text}"),
    ("narrative", "SceneChanged"): on_scene_changed,
    ("quest", "QuestOffered"): told(lambda it: f"|yYou are offered|n {it.title}: 'quest {it.quest}' takes it on."),
    ("quest", "QuestAccepted"): told(lambda it: f"|yYou take on|n {it.title}."),
    ("quest", "QuestStageBegan"): told(lambda it: f"|yThe quest goes on|n: {it.text}"),
    ("quest", "QuestCompleted"): told(lambda it: f"|yThe quest {it.quest} has ended|n: {it.ending}."),
    ("quest", "QuestRequestRefused"): told(refused),
}
"""(who says it, event) -> what is done about it."""
WHILE_OFF = {("npc", "NpcActed")}
"""Heard also while the bridge is switched off: people stand where they are, whoever is told."""
