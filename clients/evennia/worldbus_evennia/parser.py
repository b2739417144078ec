"""Evennia's parser of commands, with an ear: what a command of any game did to objects and creatures is told to the bus after it ran."""

from evennia.commands.cmdparser import cmdparser
from evennia.utils.utils import inherits_from

from worldbus_evennia import facts

EXAMINES = frozenset({"look", "read", "examine"})
MOB = "evennia.contrib.tutorials.tutorial_world.mob.Mob"
STRIKES = frozenset({"attack", "thrust", "slash", "stab", "hit", "kill", "fight", "chop"})


def parse(raw_string, cmdset, caller, match_index=None):
    """Parse like `evennia.commands.cmdparser.cmdparser`, and have the matched command report its end."""
    matches = cmdparser(raw_string, cmdset, caller, match_index=match_index)
    if len(matches) == 1:
        verb, arguments, command = matches[0][0].strip().lower(), matches[0][1].strip(), matches[0][2]
        told = _told(caller, verb, arguments) if verb in EXAMINES | STRIKES else None
        if told is not None:
            _after(command, told)
    return matches


def _after(command, told):
    """Let this one call of the command be followed by `told`. Commands are shared between callers: the ear goes with the call."""
    own = command.at_post_cmd

    def at_post_cmd():
        command.__dict__.pop("at_post_cmd", None)
        try:
            told()
        finally:
            own()

    command.at_post_cmd = at_post_cmd


def _told(caller, verb, arguments):
    """Choose the fact to publish at the end; None for nothing. The target of a blow is found before: the dead are elsewhere."""
    if not arguments or not inherits_from(caller, "worldbus_evennia.typeclasses.Character") or caller.location is None:
        return None
    found = caller.search(arguments.split(" with ")[0], quiet=True)
    if not found or found[0] == caller or found[0].destination or found[0].db.worldbus_npc:
        return None
    target = found[0]
    if verb in EXAMINES:
        return lambda: facts.examined(caller, target) if target.location == caller.location else None
    if target.db.is_dead or not inherits_from(target, MOB):
        return None
    return lambda: facts.slew(caller, target) if target.db.is_dead else None
