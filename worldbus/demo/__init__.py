"""The demo: a small world lives for a while, and is then counted from the log and the tables. Its bots are the game's own.

from worldbus.demo import Bots, Stage
"""

from worldbus.demo.bots import Bot, Bots, Due, Stage

__all__ = ["Bot", "Bots", "Due", "Stage"]
