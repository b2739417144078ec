"""Deeds of players, published to the bus. One function per fact; the entity is the player."""

from django.conf import settings

from worldbus_client.gen.worldbus.game.v1 import CreatureSlain, ItemCollected, NpcAttacked, ObjectExamined, PlayerSpoke
from worldbus_client.gen.worldbus.player.v1 import PlayerHeartbeat, PlayerJoined, PlayerLeft, PlayerMoved
from worldbus_client.gen.worldbus.quest.v1 import QuestAcceptRequested, QuestChoiceRequested, QuestWorkRequested
from worldbus_evennia import names
from worldbus_evennia.bridge import bridge

MAX_SAID = 500  # characters


def say(character, event):
    """Publish one fact about a player."""
    bridge.publish(names.player(character), event)


def joined(character):
    joined = PlayerJoined(
        display_name=character.key[:64],
        platform="evennia",
        game_server=settings.WORLDBUS_GAME_SERVER[:64],
        zone=names.place(character.location),
    )
    say(character, joined)


def left(character):
    say(character, PlayerLeft(reason="left the game"))


def moved(character):
    say(character, PlayerMoved(zone=names.place(character.location)))


def alive(character):
    say(character, PlayerHeartbeat())


def spoke(character, npc, text):
    """Words to one of the bus's people."""
    say(character, PlayerSpoke(npc=npc, place=names.place(character.location), text=text[:MAX_SAID]))


def collected(character, thing):
    say(character, ItemCollected(item=names.slug(thing.key), place=names.place(character.location), quantity=1))


def examined(character, thing):
    where = names.place(character.location)
    say(character, ObjectExamined(object=names.slug(thing.key), scene=where, place=where))


def slew(character, creature):
    say(character, CreatureSlain(creature=names.slug(creature.key), place=names.place(character.location), quantity=1))


def attacked(character, npc):
    say(character, NpcAttacked(npc=npc, place=names.place(character.location)))


def asked_for_work(character, npc):
    say(character, QuestWorkRequested(npc=npc))


def accepted(character, quest):
    say(character, QuestAcceptRequested(quest=quest))


def chose(character, quest, choice):
    say(character, QuestChoiceRequested(quest=quest, choice=choice))
