"""The share of a bus that one game plays: the worlds whose events it looks at, and the mark on what it keeps at the server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bus.subjects import check_token


@dataclass(frozen=True)
class Played:
    """One game's share.

    game    stands before the names of its consumers, behind which a `~` follows; empty: they are called like their handlers alone
    worlds  that it plays: what happens in another one is passed over, and belongs to whichever game plays there. None: every world
    """

    game: str = ""
    worlds: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.game:
            check_token(self.game, "name of a game")
        if self.worlds is not None:
            if not self.worlds:
                raise ValueError("wanted at least one world that a game plays, found none")
            for world in self.worlds:
                check_token(world, "world")

    def label(self, name: str) -> str:
        """The name under which the server and other members know something of this game: no two games of a bus share one."""
        return f"{self.game}~{name}" if self.game else name

    def has(self, world: str) -> bool:
        """Return whether the game plays a world."""
        return self.worlds is None or world in self.worlds

    @cached_property
    def tokens(self) -> frozenset[bytes] | None:
        """The worlds as they stand in subjects."""
        return None if self.worlds is None else frozenset(world.encode() for world in self.worlds)


EVERYTHING: Final = Played()
"""Of the only game of a bus."""
