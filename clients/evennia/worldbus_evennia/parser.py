"""Evennia's parser of commands, with an ear: what a command of any game did to objects and creatures is told to the bus after it ran."""

from evennia.commands.cmdparser import cmdparser
from evennia.utils.utils import inherits_from

from worldbus_evennia import facts

EXAMINES = frozenset({"look", "read", "examine"})
STRIKES = frozenset({"attack", "thrust", "slash", "stab", "hit", "kill", "fight", "chop"})


def parse(raw_string, cmdset, caller, match_index=None):
    """As `evennia.commands.cmdparser.cmdparser`, whose matches are returned unchanged but for one thing: the command tells us when it is over."""
    matches = cmdparser(raw_string, cmdset, caller, match_index=match_index)
    if len(matches) == 1:
        cmdname, arguments, command = matches[0][0], matches[0][1], matches[0][2]
        after = command.at_post_cmd

        def at_post_cmd():
            command.__dict__.pop("at_post_cmd", None)  # commands are shared between callers: the ear is for this one call
            try:
                _over(caller, cmdname.strip().lower(), arguments.strip())
            finally:
                after()

        if cmdname.strip().lower() in EXAMINES | STRIKES:
            command.at_post_cmd = at_post_cmd
    return matches


def _over(caller, verb, arguments):
    if not arguments or not inherits_from(caller, "worldbus_evennia.typeclasses.Character") or caller.location is None:
        return
    found = caller.search(arguments.split(" with ")[0], quiet=True)
    if not found or found[0] == caller or found[0].destination:
        return
    target = found[0]
    if verb in EXAMINES:
        if target.location == caller.location and target.db.worldbus_npc is None:
            facts.examined(caller, target)
    elif target.db.worldbus_npc is None and inherits_from(target, "evennia.contrib.tutorials.tutorial_world.mob.Mob") and not target.db.is_attacking:
        if target.db.health is not None and target.db.health <= 0:
            facts.slew(caller, target)
