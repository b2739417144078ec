"""Checks of a world's lore: does it agree with itself, with the world's tables and with the questions that are asked of it?

Writers run `python -m worldbus.lore_check`, CI a test; nothing that decides in the world reads this.
"""

from worldbus.lore_check.check import check
from worldbus.lore_check.finding import Finding

__all__ = ["Finding", "check"]
