"""Comprehension of a language by a player: a level that grows with every word heard, and from which level on each word is clear."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final
from zlib import crc32

from handlers.language_system.tables import Language

MAX_EXPOSURE: Final = 10**9  # words
_GOLDEN: Final = 0x9E3779B1  # spreads neighbouring checksums


def level(language: Language, exposure: int) -> int:
    """Comprehension after `exposure` words, thousandths: half of it after `half_words`, and never quite all. Never sinks."""
    return 1000 * exposure // (exposure + language.half_words)


def ear(language: Language, player: str, common_words: frozenset[str]) -> Callable[[str, int], bool]:
    """Make the test that tells at which level this player understands a word (by its gloss). Understood once, it stays so at higher levels.

    Common words are clear from levels 10 to 300 on, the others from 100 to 899; which one when is the player's own die.
    """
    salt = int.from_bytes(blake2b(f"{language.name}\n{player}".encode(), digest_size=4).digest(), "big")

    def understands(gloss: str, at: int) -> bool:
        die = ((crc32(gloss.encode(), salt) * _GOLDEN) & 0xFFFFFFFF) * 1000 >> 32
        return at >= (10 + die * 290 // 999 if gloss in common_words else 100 + die * 799 // 999)

    return understands
