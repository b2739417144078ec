"""The words of a language, made from its sounds and its seed: the same gloss is always the same word, and nobody keeps a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Final

from handlers.language_system.tables import Language, Tables

ATTEMPTS: Final = 64  # at a word of allowed sounds; then the last one is taken as it is


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """A language ready to be spoken. `fixed` are the words that must not sound alike: the table's own, and the common ones."""

    language: Language
    fixed: Mapping[str, str]


def prepare(tables: Tables) -> dict[str, Lexicon]:
    """Every language of the tables, by name."""
    return {name: Lexicon(language, _fixed(language, tables.common_words)) for name, language in tables.languages.items()}


def _fixed(language: Language, common_words: tuple[str, ...]) -> dict[str, str]:
    """Each common word as short as the language allows, and unlike those before it."""
    words = dict(language.words)
    taken = set(words.values())
    for gloss in common_words:
        if gloss not in words:
            word = next(word for number in count() if (word := _coin(language, gloss, number, common=True)) not in taken)
            words[gloss] = word
            taken.add(word)
    return words


@lru_cache(maxsize=16_384)  # a pure function; a world's languages and what is talked about are few
def word(lexicon: Lexicon, gloss: str) -> str:
    """The word for a gloss. Words that are not common may sound alike, as they do in every language."""
    return lexicon.fixed.get(gloss) or _coin(lexicon.language, gloss, 0, common=False)


def _coin(language: Language, gloss: str, number: int, *, common: bool) -> str:
    """A word from dice that fall the same way for the same seed, gloss and number. After some numbers common words grow longer."""
    low, high = language.syllables
    least = low + number // 16 if common else max(low, min(2, high))
    most = least if common else high
    made = ""
    for attempt in range(ATTEMPTS):
        dice = iter(blake2b(f"{language.seed}\n{gloss}\n{number}\n{attempt}".encode(), digest_size=64).digest())
        made = "".join(_syllable(language, dice) for _ in range(least + next(dice) % (most - least + 1)))
        if language.allows(made):
            break
    return made


def _syllable(language: Language, dice: Iterator[int]) -> str:
    pattern = language.patterns[next(dice, 0) % len(language.patterns)]
    kinds = (language.consonants if place == "C" else language.vowels for place in pattern)
    return "".join(sounds[next(dice, 0) % len(sounds)] for sounds in kinds)


def ended(form: str, ending: str) -> str:
    """The form with an ending: `-x` after it, `x-` before it."""
    if not ending:
        return form
    return form + ending[1:] if ending.startswith("-") else ending[:-1] + form
