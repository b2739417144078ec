"""Characters whose doings are told to the bus, and people whose minds live there."""

from evennia.objects.objects import DefaultCharacter

from worldbus_evennia import facts, names


class Character(DefaultCharacter):
    """A player's character: arriving, leaving, walking, speaking and picking up become events."""

    def at_post_puppet(self, **kwargs):
        super().at_post_puppet(**kwargs)
        facts.joined(self)

    def at_post_unpuppet(self, account=None, session=None, **kwargs):
        facts.left(self)
        super().at_post_unpuppet(account=account, session=session, **kwargs)

    def at_post_move(self, source_location, move_type="move", **kwargs):
        super().at_post_move(source_location, move_type=move_type, **kwargs)
        if self.has_account and self.location is not None:
            facts.moved(self)

    def at_say(self, message, msg_self=None, msg_location=None, receivers=None, msg_receivers=None, **kwargs):
        from worldbus_evennia import shows  # which makes bodies of the class below

        super().at_say(message, msg_self, msg_location, receivers, msg_receivers, **kwargs)
        heard = [one for one in (receivers or ()) if isinstance(one, Npc)] if kwargs.get("whisper") else listeners(self, message)
        for npc in heard:
            facts.spoke(self, npc.db.worldbus_npc, message)
            shows.expect(npc, self)

    def at_object_receive(self, moved_obj, source_location, move_type="move", **kwargs):
        super().at_object_receive(moved_obj, source_location, move_type=move_type, **kwargs)
        if self.has_account and source_location is not None and source_location == self.location:
            facts.collected(self, moved_obj)


def listeners(speaker, message):
    """The characters that feel spoken to: those named, else the last one the speaker talked to, else the first in the room."""
    here = [one for one in speaker.location.contents if isinstance(one, Npc)] if speaker.location else []
    words = message.lower()
    named = [one for one in here if any(part in words for part in one.key.lower().split())]
    if named or not here:
        return named[:1]
    last = [one for one in here if one.db.worldbus_npc == speaker.ndb.worldbus_talks_to]
    return (last or here)[:1]


class Npc(DefaultCharacter):
    """One of the bus's people. What it says and does comes from there; the body only stands here and is spoken to."""

    def at_object_creation(self):
        super().at_object_creation()
        self.locks.add("get:false();puppet:false()")
        self.db.desc = "One of the people of this world. |wsay|n something, and they may answer."

    def at_hit(self, weapon, attacker, damage):
        """The tutorial world's weapons call this. People of the bus are not killed by them; they remember."""
        facts.attacked(attacker, self.db.worldbus_npc)
        self.location.msg_contents(f"{self.key} steps back from {attacker.key}.")

    def where(self):
        """The place on the bus."""
        return names.place(self.location)
