"""Gists: many small memories that are not at hand any more become one, and of the gists the oldest are forgotten.

What is crowded out lies on a shelf: the store still has it word by word, and words that remind of it bring it back. When enough lies there
it is merged into a gist made of its own words, never of a model's, so that no memory is invented and a replay merges the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from handlers.npc_behavior.mind import clamp, salience_now
from handlers.npc_behavior.state import Memory, Npc
from handlers.npc_behavior.tables import Tables
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcMemoriesMerged

MERGED_AT: Final = 6  # memories on a shelf
MOST_EXTRACTS: Final = 6
MAX_EXTRACT: Final = 96  # characters
MOST_GISTS: Final = 16  # of one player, and of nobody in particular
MAX_GIST: Final = 640  # characters


def merged(tables: Tables, npc: Npc, *, player: str, number: int, crowded_out: Sequence[Memory]) -> Iterator[NpcMemoriesMerged]:
    """The gist of a shelf that is full once `crowded_out` lie on it; nothing if it is not."""
    shelf, gists = npc.put_by(player)
    memories = (*shelf, *crowded_out)
    if len(memories) < MERGED_AT:
        return
    yield NpcMemoriesMerged(
        number=number,
        player=player,
        numbers=sorted(memory.number for memory in memories),
        memory=gist(memories),
        salience=_salience(tables, memories, npc.world_ms),
        world_ms=npc.world_ms,
        from_world_ms=min(memory.world_ms for memory in memories),
        forgotten=gists[: max(0, len(gists) + 1 - MOST_GISTS)],
    )


def gist(memories: Sequence[Memory]) -> str:
    """The rest of memories: the beginnings of those that mattered most, oldest first, each once; at most 640 characters."""
    strongest = sorted(memories, key=lambda memory: (-memory.salience, memory.number))
    times = Counter(extract(memory.text) for memory in strongest)
    told = set(list(times)[:MOST_EXTRACTS])
    in_order = dict.fromkeys(extract(memory.text) for memory in sorted(memories, key=lambda memory: memory.number))
    return "; ".join(f"{text} ({times[text]} times)" if times[text] > 1 else text for text in in_order if text in told)[:MAX_GIST]


def extract(text: str) -> str:
    """The beginning of a memory, cut between words: at most 80 characters and an ellipsis."""
    text = text.rstrip(" .;")
    room = MAX_EXTRACT - 16  # for the ellipsis and how many times it was so
    return text if len(text) <= room else text[:room].rsplit(" ", 1)[0].rstrip(" ,.;:") + "…"


def _salience(tables: Tables, memories: Sequence[Memory], world_ms: int) -> int:
    """The salience of the strongest, and a little of each other one: repeated experiences matter."""
    now = sorted((salience_now(tables, memory, world_ms) for memory in memories), reverse=True)
    return clamp(now[0] + sum(now[1:]) // 8, 1, 1000)
