"""Checks of proper names in a text: each has to be one of the canon's.

A capital letter inside of a sentence makes a name in English, so whatever is capitalised there has to be (part of) a known name. At the
beginning of a sentence one word may be anything, unless nobody ever writes it small and it reads like a name: like a known one that is
misspelt, or as the first part of one. Curved quotation marks count as straight ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

_WORD: Final = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*'?")
_BEGINS: Final = re.compile(r"(?:^|[.!?:]['\")]*\s+|[\"(]\s*|(?<!\w)'|\n\s*\n)\Z")
_STRAIGHT: Final = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_BEGINNING: Final = 4  # letters that a misspelt name keeps, and that the forms of one word have in common
_ALIKE: Final = 0.6
_GROUPS: Final = ("people", "people_of_the_past", "places", "places_of_the_lore", "names")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text; `begins` says whether a sentence starts with it."""

    text: str
    at: int
    begins: bool

    @property
    def capital(self) -> bool:
        """True if it is written like a name; the word `I` is none."""
        return self.text[:1].isupper() and self.text.partition("'")[0] != "I"

    @property
    def plain(self) -> str:
        """Without the ending of the possessive."""
        return _plain(self.text)


class Names:
    """The names that may be used."""

    def __init__(self, names: Iterable[str]) -> None:
        parts = {tuple(_plain(word) for word in name.split()) for name in names}
        self._names = frozenset(parts)
        self._longest = max(map(len, parts), default=0)
        self._words = sorted({word for name in parts for word in name if len(word) > 3})

    @classmethod
    def of(cls, canon: Mapping[str, Any]) -> Names:
        """The names that the canon lists; a feast's or a year's name is written with or without its article."""
        listed = [name for group in _GROUPS for names in canon[group].values() for name in names]
        dated = [entry["name"].removeprefix("the ") for key in ("years", "feasts") for entry in canon[key]]
        return cls([*listed, *dated])

    def unknown(self, text: str, small: frozenset[str] | None = None) -> Iterator[tuple[int, str]]:
        """Every word that is written as a name and is none, with its place in the text.

        With `small`, what the documents write small (see `written_small`), beginnings of sentences are looked at too.
        """
        words = list(_words(text))
        place = 0
        while place < len(words):
            length = self._known(words, place)
            if length == 0 and words[place].capital and (not words[place].begins or self._like_a_name(words, place, small)):
                yield words[place].at, words[place].text
            place += max(1, length)

    def _like_a_name(self, words: Sequence[Word], place: int, small: frozenset[str] | None) -> bool:
        """Return whether a sentence's first word, which may be any, is probably meant to be a name."""
        word = words[place].plain
        low = word.lower()
        if small is None or low[: _BEGINNING + 1] in small or (low.endswith("s") and low[:_BEGINNING] in small):
            return False
        if place + 1 < len(words) and not words[place + 1].begins and self._known(words, place + 1):
            return True
        return bool(get_close_matches(word, [name for name in self._words if name[:_BEGINNING] == word[:_BEGINNING]], n=1, cutoff=_ALIKE))

    def _known(self, words: Sequence[Word], place: int) -> int:
        """The number of words of a known name that begin here, 0 for none."""
        if not words[place].capital:
            return 0
        spoken = [word.plain for word in words[place : place + self._longest]]
        return next((length for length in range(len(spoken), 0, -1) if tuple(spoken[:length]) in self._names), 0)


def written_small(texts: Iterable[str]) -> frozenset[str]:
    """The beginnings of the words that are written small in some place: no names."""
    plain = [word.plain for text in texts for word in _words(text) if not word.capital]
    return frozenset(word[:length] for word in plain for length in (_BEGINNING, _BEGINNING + 1))


def _plain(word: str) -> str:
    return re.sub(r"'s?\Z", "", word.translate(_STRAIGHT))


def _words(text: str) -> Iterator[Word]:
    text = text.translate(_STRAIGHT)
    for found in _WORD.finditer(text):
        yield Word(
            found[0], found.start(), _BEGINS.search(text, max(0, found.start() - 8), found.start()) is not None or found.start() == 0
        )
