"""Memories of characters, as the handler `npc` says them: a row each, which only its owner may know.

The store keeps what the character itself has not at hand: a memory that is crowded out stays, and words that remind of it bring it back.
It ends when it fades (`NpcForgot`), when it is merged into a gist (`NpcMemoriesMerged`, which is a memory of its own), when it is the
oldest of too many gists, or with its player (`NpcForgotPlayer`: a row of `strangers` ends all of them without naming them).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from projections.knowledge.lore import PASSAGES
from projections.knowledge.text import content_hash
from projections.knowledge.truths import happened
from projections.projection import Change, Table, When
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said

SAYER: Final = "npc"
GIST: Final = "gist"  # tag of a merged memory; other memories have their kind as tag

STRANGERS = Table("strangers", key=("world", "owner", "player", "since"))


def memory_id(owner: str, number: int) -> str:
    """The id of a memory among passages."""
    return f"memory:{owner}:{number}"


def remembered(event: Event, it: said.NpcRemembered) -> list[Change]:
    """Add a memory that is known from here on; those that it crowded out are still in the store."""
    if event.subject.subsystem != SAYER:
        return []
    return [*happened(event, it), _memory(event, it, it.kind)]


def merged(event: Event, it: said.NpcMemoriesMerged) -> list[Change]:
    """The gist is known from here on, in place of what went into it."""
    if event.subject.subsystem != SAYER:
        return []
    return [*happened(event, it), *_ended(event, it.numbers), *_ended(event, it.forgotten), _memory(event, it, GIST)]


def forgot(event: Event, it: said.NpcForgot) -> list[Change]:
    """End the memories that are gone from here on."""
    return [*happened(event, it), *_ended(event, it.numbers)] if event.subject.subsystem == SAYER else []


def forgot_player(event: Event, it: said.NpcForgotPlayer) -> list[Change]:
    """Every memory of this player from before is gone from here on."""
    if event.subject.subsystem != SAYER:
        return []
    return [*happened(event, it), STRANGERS.put(event.world, event.entity, it.player, event.position)]


def _memory(event: Event, it: said.NpcRemembered | said.NpcMemoriesMerged, tag: str) -> Change:
    return PASSAGES.put(
        *(event.world, memory_id(event.entity, it.number), 0),
        kind="memory",
        document=event.entity,
        content_hash=content_hash((), it.memory),
        body=it.memory,
        tags=[tag],
        audience=[f"npc:{event.entity}"],
        owner=event.entity,
        player=it.player,
        salience=it.salience,
        formed_ms=it.world_ms,
        added=event.position,
    )


def _ended(event: Event, numbers: Iterable[int]) -> list[Change]:
    return [PASSAGES.put(event.world, memory_id(event.entity, number), 0, ended=event.position) for number in numbers]


ON: Final[dict[type[Message], When]] = {
    said.NpcRemembered: remembered,
    said.NpcMemoriesMerged: merged,
    said.NpcForgot: forgot,
    said.NpcForgotPlayer: forgot_player,
}
