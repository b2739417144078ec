"""Evennia's settings that put a game on the bus; import them at the end of the game's own. The environment says where the bus is."""

import os

WORLDBUS_URL = os.environ.get("WORLDBUS_NATS_URL", "nats://127.0.0.1:4222")
WORLDBUS_WORLD = os.environ.get("WORLDBUS_WORLD", "main")
WORLDBUS_GAME_SERVER = os.environ.get("WORLDBUS_GAME_SERVER", "evennia")

# The module that says where this game and the world meet (worldbus_evennia.stage).
WORLDBUS_STAGE = os.environ.get("WORLDBUS_STAGE", "")

BASE_CHARACTER_TYPECLASS = "worldbus_evennia.typeclasses.Character"
COMMAND_PARSER = "worldbus_evennia.parser.parse"
# The game's own set of commands, to which ours are added.
WORLDBUS_CHARACTER_CMDSET = os.environ.get("WORLDBUS_CHARACTER_CMDSET", "commands.default_cmdsets.CharacterCmdSet")
CMDSET_CHARACTER = "worldbus_evennia.commands.CharacterCmdSet"
AT_SERVER_STARTSTOP_MODULE = "worldbus_evennia.startstop"
