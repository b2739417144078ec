"""Askers of the knowledge base: a name as the tokens of what it may know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from bus.subjects import check_token
from worldbus.games import current

if TYPE_CHECKING:
    from asyncpg import Connection

PUBLIC: Final = "public"
STORYTELLER: Final = "storyteller"
ANYONE: Final = "anyone"
_PROGRESS: Final = "SELECT token FROM world.progress WHERE world = $1 AND holder = $2 AND since <= $3 ORDER BY token"


async def tokens_of(connection: Connection, world: str, who: str, as_of: int | None) -> tuple[str, ...]:
    """The tokens of an asker as of a position: `anyone`, the `storyteller`, a character with its factions, or a player by achievements.

    Raises `BadSubject` for what is no name, `BadSettings` for broken tables of characters.
    """
    if who in ("", ANYONE, PUBLIC):
        return (PUBLIC,)
    if who == STORYTELLER:
        return (PUBLIC, STORYTELLER)
    check_token(who, "asker")
    persona = current().content_of(world).npcs.npcs.get(who)
    if persona is not None:
        return persona.knows
    at = 2**62 if as_of is None else as_of
    try:
        return (PUBLIC, *(row["token"] for row in await connection.fetch(_PROGRESS, world, who, at)))
    except asyncpg.UndefinedTableError:  # nothing was projected yet, so nobody has achieved anything
        return (PUBLIC,)
