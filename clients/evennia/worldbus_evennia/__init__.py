"""An Evennia game on the bus: what players do becomes events, what the world answers is shown in rooms.

At the end of `server/conf/settings.py` of any game:

    from worldbus_evennia.settings import *

Nothing of Evennia is changed or patched: this uses its settings for typeclasses, for the parser of commands, and for what happens at the
server's start.
"""
