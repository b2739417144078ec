"""Commands of players to the bus, beyond Evennia's own."""

from django.conf import settings
from evennia import Command
from evennia.utils.utils import class_from_module, inherits_from

from worldbus_evennia import facts, typeclasses
from worldbus_evennia.bridge import bridge
from worldbus_evennia.names import TOKEN
from worldbus_evennia.stage import stage

Base = class_from_module(settings.WORLDBUS_CHARACTER_CMDSET)


def person(caller, name):
    """One of the bus's people in the room; tells the caller if there is none."""
    found = caller.search(name) if name else next((one for one in caller.location.contents if isinstance(one, typeclasses.Npc)), None)
    if found is not None and not inherits_from(found, "worldbus_evennia.typeclasses.Npc"):
        caller.msg(f"{found.key} has no mind of that kind.")
        return None
    if found is None and not name:
        caller.msg("Nobody here answers.")
    return found


class CmdTalk(Command):
    """
    Say something to one of the people of the world.

    Usage:
      talk <who> = <words>
    """

    key = "talk"
    help_category = "worldbus"

    def func(self):
        who, _, words = self.args.partition("=")
        if not words.strip():
            self.caller.msg("Usage: talk <who> = <words>")
            return
        npc = person(self.caller, who.strip())
        if npc is not None:
            self.caller.ndb.worldbus_talks_to = npc.db.worldbus_npc
            self.caller.at_say(
                words.strip(), receivers=[npc], whisper=True, msg_self=True, msg_receivers='{object} says to {receiver}, "{speech}"'
            )


class CmdWork(Command):
    """
    Ask one of the people for work.

    Usage:
      work [<who>]
    """

    key = "work"
    help_category = "worldbus"

    def func(self):
        npc = person(self.caller, self.args.strip())
        if npc is not None:
            facts.asked_for_work(self.caller, npc.db.worldbus_npc)
            self.caller.msg(f"You ask {npc.key} for work.")


class CmdQuest(Command):
    """
    Take on a quest, or choose how it goes on.

    Usage:
      quest <name>
      quest <name> = <choice>
    """

    key = "quest"
    help_category = "worldbus"

    def func(self):
        name, _, choice = (part.strip() for part in self.args.partition("="))
        if not TOKEN.fullmatch(name) or (choice and not TOKEN.fullmatch(choice)):
            self.caller.msg("Usage: quest <name> [= <choice>]; names have letters, digits and dashes.")
        elif choice:
            facts.chose(self.caller, name, choice)
        else:
            facts.accepted(self.caller, name)


class CmdBus(Command):
    """
    See how this server stands with the bus, or switch it off and on.

    Usage:
      worldbus [on | off]
    """

    key = "worldbus"
    locks = "cmd:perm(Developer)"
    help_category = "worldbus"

    def func(self):
        match self.args.strip().lower():
            case "on" | "off" as wanted:
                bridge.switch(wanted == "on")
        state = "on" if bridge.on else "off"
        self.caller.msg(
            f"worldbus {state}: {bridge.published} published, {bridge.recorded} recorded, {bridge.failed} failed, "
            f"{bridge.dropped} dropped, {bridge.own_lines} own lines"
        )


class CharacterCmdSet(Base):
    """Evennia's own commands of a character, these, and those of the stage."""

    key = "DefaultCharacter"

    def at_cmdset_creation(self):
        super().at_cmdset_creation()
        for command in (CmdTalk, CmdWork, CmdQuest, CmdBus, *stage().commands):
            self.add(command())
