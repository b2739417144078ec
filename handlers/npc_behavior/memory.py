"""Memories of a character: those that it keeps of events, and those that it lets go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.message import Message

from handlers.npc_behavior.gist import merged
from handlers.npc_behavior.mind import salience_now
from handlers.npc_behavior.state import MOST_ABOUT_ONE, MOST_MEMORIES, MOST_PER_PAGE, Memory, Npc, Tie
from handlers.npc_behavior.tables import Tables
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcForgot, NpcForgotPlayer, NpcRemembered

MAX_MEMORY: Final = 240  # characters
_WORD: Final = re.compile(r"[a-z]{4,32}")


def plain(text: str, limit: int) -> str:
    """`text` on one line, without what does not print, at most `limit` characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * limit]).split())[:limit]


def words_of(text: str) -> frozenset[str]:
    """The words of a text that may carry a meaning."""
    return frozenset(_WORD.findall(text.lower()))


def remember(tables: Tables, npc: Npc, *, kind: str, text: str, salience: int, player: str = "", position: int = 0) -> Iterator[Message]:
    """The memory, if it matters enough to be kept, and the gist of those that it moved out of mind, once they are many."""
    known, limit = (npc.tie(player).memories, MOST_ABOUT_ONE) if player else (npc.memories, MOST_MEMORIES)
    if salience < tables.forget_below:
        return
    crowded_out = _crowded_out(tables, known, limit, npc.world_ms)
    number = npc.remembered + 1
    yield NpcRemembered(
        number=number,
        player=player,
        kind=kind,
        memory=plain(text, MAX_MEMORY),
        salience=min(salience, 1000),
        world_ms=npc.world_ms,
        about_position=position,
        crowded_out=crowded_out,
    )
    gone = [memory for memory in known if memory.number in crowded_out]
    yield from merged(tables, npc, player=player, number=number + 1, crowded_out=gone)


def _crowded_out(tables: Tables, known: Sequence[Memory], limit: int, world_ms: int) -> list[int]:
    """Choose the memories that go so that one more fits: all that faded, and the faintest if that is not enough; of equals the oldest."""
    by_faintness = sorted((salience_now(tables, memory, world_ms), memory.number) for memory in known)
    surplus = len(known) + 1 - limit
    return sorted(number for place, (salience, number) in enumerate(by_faintness) if place < surplus or salience < tables.forget_below)


def forget(tables: Tables, npc: Npc, world_ms: int) -> Iterator[Message]:
    """Forget those memories about no player that faded."""
    numbers = [memory.number for memory in npc.memories if salience_now(tables, memory, world_ms) < tables.forget_below]
    if numbers:
        yield NpcForgot(numbers=numbers, world_ms=world_ms)


def room(npc: Npc, player: str) -> Iterator[Message]:
    """Makes place for a new acquaintance: whoever of the page means least, and was met longest ago, becomes a stranger."""
    page = npc.page(player)
    if player in page or len(page) < MOST_PER_PAGE:
        return
    least = min(page, key=lambda name: (_meaning(page[name]), page[name].world_ms, name))
    yield NpcForgotPlayer(player=least, world_ms=npc.world_ms)


def _meaning(tie: Tie) -> int:
    return (
        abs(tie.trust)
        + tie.fear
        + abs(tie.affection)
        + min(abs(tie.debt_minor), 1000)
        + max((each.salience for each in tie.memories), default=0)
    )


def recall(tables: Tables, npc: Npc, player: str, words: str, most: int) -> list[Memory]:
    """The memories that `words` of `player` bring to mind: weighty ones, those about the player, those that share words; oldest first."""
    said = words_of(words)
    ranked: list[tuple[int, int, Memory]] = []
    for own, memories in ((False, npc.memories), (True, npc.tie(player).memories)):
        for memory in memories:
            salience = salience_now(tables, memory, npc.world_ms)
            shared = len(said & words_of(memory.text)) if said else 0
            if salience >= tables.forget_below:
                ranked.append((-salience - 150 * own - 200 * min(shared, 3), memory.number, memory))
    ranked.sort()
    return sorted((memory for _, _, memory in ranked[:most]), key=lambda memory: memory.number)
