"""The languages of a world as a designer writes them (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token

ORDERS: Final = ("SVO", "SOV", "VSO", "VOS", "OSV", "OVS")
SIDES: Final = ("before", "after")
ENDINGS: Final = ("plural", "past", "future", "negation", "question", "object")
MAX_SYLLABLES: Final = 6
FEWEST_SYLLABLES: Final = 64  # that a language can form; below, everything sounds alike
_SOUND: Final = re.compile(r"[^\W\d_]{1,4}")
_PATTERN: Final = re.compile(r"C{0,2}VC{0,2}", re.ASCII)
_ENDING: Final = re.compile(r"-[^\W\d_]{1,8}|[^\W\d_]{1,8}-|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One constructed language. Endings are written `-x` (after) or `x-` (before)."""

    name: str
    title: str
    seed: int
    half_words: int
    order: str
    adjective: str
    adposition: str
    consonants: tuple[str, ...]
    vowels: tuple[str, ...]
    patterns: tuple[str, ...]
    syllables: tuple[int, int]
    forbidden: tuple[str, ...]
    plural: str
    past: str
    future: str
    negation: str
    question: str
    object: str
    particle: str
    articles: bool
    words: Mapping[str, str] = field(default_factory=dict)

    def every_syllable(self) -> Iterator[str]:
        """Every syllable that can be formed and is not forbidden; the same one may come again from another pattern."""
        for pattern in self.patterns:
            for sounds in product(*(self.consonants if place == "C" else self.vowels for place in pattern)):
                syllable = "".join(sounds)
                if self.allows(syllable):
                    yield syllable

    def allows(self, word: str) -> bool:
        """Return whether no forbidden run of sounds is in it."""
        return not any(run in word for run in self.forbidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A name for how much somebody understands, from this level on."""

    name: str
    level: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Checked languages of a world. `common` needs no translation."""

    common: str
    stages: tuple[Stage, ...]
    common_words: tuple[str, ...]
    irregular: Mapping[str, tuple[str, str]]  # form → its word and ending (`plural`, `past` or empty)
    languages: Mapping[str, Language]

    def stage(self, level: int) -> str:
        """The name of a level of comprehension."""
        return next(stage.name for stage in reversed(self.stages) if stage.level <= level)


def load(path: Path) -> Tables:
    """The languages in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Tables:
    """The languages in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("common", "stages", "common_words", "irregular", "languages")
    tables = Tables(
        common=root.value("common", str),
        stages=tuple(stage.into(Stage) for stage in root.rows("stages")),
        common_words=tuple(dict.fromkeys(root.value("common_words", tuple[str, ...]))),
        irregular={form: _form(each) for form, each in root.value("irregular", Mapping[str, str]).items()},
        languages={each: body.into(Language, name=each) for each, body in root.tables("languages").items()},
    )
    root.refuse(_problems(tables))
    return tables


def _form(text: str) -> tuple[str, str]:
    word, _, ending = text.partition(" ")
    return word, ending


def _problems(tables: Tables) -> Iterator[str]:
    if not is_token(tables.common) or tables.common in tables.languages:
        yield f"common must be {NAME_RULE} and no language of the table, found {tables.common!r}"
    levels = [stage.level for stage in tables.stages]
    if not levels or levels[0] != 0 or levels[-1] > 1000 or any(later <= sooner for sooner, later in pairwise(levels)):
        yield f"stages must begin at level 0 and rise to at most 1000, found {levels}"
    strange = [form for form, (_, ending) in tables.irregular.items() if ending not in ("", "plural", "past")]
    if strange:
        yield f"irregular: wanted a word and `plural`, `past` or nothing, found something else at {', '.join(strange)}"
    for name, language in tables.languages.items():
        yield from (f"languages.{name}: {problem}" for problem in _language_problems(language))


def _language_problems(language: Language) -> Iterator[str]:
    if not is_token(language.name):
        yield f"a name must be {NAME_RULE}"
    if language.order not in ORDERS:
        yield f"order must be one of {', '.join(ORDERS)}, found {language.order!r}"
    if language.adjective not in SIDES or language.adposition not in SIDES:
        yield f"adjective and adposition must be {' or '.join(SIDES)}"
    if language.half_words < 1:
        yield f"half_words must be 1 or more, found {language.half_words}"
    low, high = language.syllables
    if not 1 <= low <= high <= MAX_SYLLABLES:
        yield f"syllables must rise within 1 to {MAX_SYLLABLES}, found {low} to {high}"
    strange = [sound for sound in (*language.consonants, *language.vowels, *language.forbidden) if _SOUND.fullmatch(sound) is None]
    if strange or not language.consonants or not language.vowels:
        yield f"wanted consonants and vowels of 1 to 4 letters, found {strange or 'none'}"
    if not language.patterns or any(_PATTERN.fullmatch(pattern) is None for pattern in language.patterns):
        yield f"patterns must be one V with up to two C on either side, found {list(language.patterns)}"
    for name in ENDINGS:
        if _ENDING.fullmatch(getattr(language, name)) is None:
            yield f"{name} must be -x, x- or empty, found {getattr(language, name)!r}"
    for gloss, word in (*language.words.items(), ("particle", language.particle or "x")):
        if re.fullmatch(r"[^\W\d_]{1,24}", word) is None:
            yield f"{gloss}: a word must be 1 to 24 letters, found {word!r}"
    yield from _poverty(language)


def _poverty(language: Language) -> Iterator[str]:
    """Too few sounds, or rules that forbid nearly all of them."""
    count = len(set(islice(language.every_syllable(), 4 * FEWEST_SYLLABLES)))
    if count < FEWEST_SYLLABLES:
        yield f"its sounds and patterns make {count} syllables that are not forbidden, wanted {FEWEST_SYLLABLES} or more"
