"""Free text of the common tongue in a constructed language, word for word, and what somebody understands of it.

Words keep their order and their punctuation: what models and authors write is open. Only sentences made from a meaning (`compose`) follow
the language's own syntax. Names (capitals within a sentence) stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from handlers.language_system.lexicon import Lexicon, ended, word
from handlers.language_system.tables import Tables

MAX_WORDS: Final = 200  # of a text; the rest of it is not heard
_TOKEN: Final = re.compile(r"([^\W\d_]+(?:['\u2019][^\W\d_]+)?)|([^\w\s]|_)|(\s+)|(\d+)")  # word, mark, space, number
_ARTICLES: Final = frozenset({"a", "an", "the"})
_ENDS: Final = ".!?"


class Piece(NamedTuple):
    """A part of a text: a word with its gloss and its foreign form, or (without a gloss) anything between words."""

    text: str
    gloss: str = ""
    foreign: str = ""


class Heard(NamedTuple):
    """A text as it was spoken, as it was understood, and how many of its words were."""

    spoken: str
    understood: str
    words: int
    clear: int

    @property
    def share(self) -> int:
        """Thousandths of the words; all of nothing."""
        return 1000 * self.clear // self.words if self.words else 1000


def lemma(tables: Tables, form: str) -> tuple[str, str]:
    """The word that an English form comes from, and its ending: `plural`, `past` or none. A rule of thumb: nobody looks it up."""
    form, _, tail = form.lower().replace("\u2019", "'").partition("'")
    if tail == "t":
        return "not", ""  # don't, can't, won't
    if (known := tables.irregular.get(form)) is not None:
        return known
    if form in tables.common_words or len(form) < 4:
        return form, ""
    for suffix, least, instead, ending in (
        ("ies", 5, "y", "plural"),
        ("sses", 6, "ss", "plural"),
        ("ches", 6, "ch", "plural"),
        ("shes", 6, "sh", "plural"),
        ("ied", 5, "y", "past"),
        ("ed", 5, "", "past"),
        ("ing", 6, "", ""),
        ("s", 4, "", "plural"),
    ):
        if form.endswith(suffix) and len(form) >= least and not form.endswith(("ss", "us", "is", "eed")):
            return form[: -len(suffix)] + instead, ending
    return form, ""


def pieces(tables: Tables, lexicon: Lexicon, text: str) -> Iterator[Piece]:
    """`text` in parts; words beyond the limit end it."""
    begins, dropped, words = True, False, 0
    for match in _TOKEN.finditer(text):
        form, mark = match.group(1), match.group(2)
        if form is None:
            yield Piece(match.group(0))
            begins = begins or (mark is not None and mark in _ENDS)
            continue
        words += 1
        if words > MAX_WORDS:
            return
        if form.lower() in _ARTICLES and not lexicon.language.articles:
            dropped = begins
            continue
        yield _piece(tables, lexicon, form, begins, dropped)
        begins = dropped = False


def _piece(tables: Tables, lexicon: Lexicon, form: str, begins: bool, dropped: bool) -> Piece:
    if form[0].isupper() and not begins and form != "I" and not form.startswith(("I'", "I\u2019")):
        return Piece(form)  # a name
    gloss, foreign = _foreign(tables, lexicon, form.lower())
    shown = form.capitalize() if dropped and form.isascii() else form  # the article that began the sentence is gone
    return Piece(shown, gloss, foreign.capitalize() if begins else foreign)


@lru_cache(maxsize=16_384)  # a pure function; most talk is made of the same few words
def _foreign(tables: Tables, lexicon: Lexicon, form: str) -> tuple[str, str]:
    """The gloss of an English form, and its word in the language with its ending."""
    gloss, ending = lemma(tables, form)
    foreign, language = word(lexicon, gloss), lexicon.language
    return gloss, ended(foreign, language.plural if ending == "plural" else language.past) if ending else foreign


def heard(tables: Tables, lexicon: Lexicon, text: str, understands: Callable[[str, int], bool], level: int) -> Heard:
    """`text` spoken in the language, and what is understood of it at a level."""
    spoken: list[str] = []
    understood: list[str] = []
    words = clear = 0
    for piece in pieces(tables, lexicon, text):
        known = not piece.gloss or understands(piece.gloss, level)
        spoken.append(piece.foreign or piece.text)
        understood.append(piece.text if known else piece.foreign)
        words += bool(piece.gloss)
        clear += bool(piece.gloss) and known
    return Heard(_joined(spoken), _joined(understood), words, clear)


def _joined(parts: list[str]) -> str:
    """The parts on one line; where an article is gone, one space is enough."""
    return " ".join("".join(parts).split())
