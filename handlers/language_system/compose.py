"""Sentences from a meaning: the order, endings and small words of a constructed language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from handlers.language_system.lexicon import Lexicon, ended, word
from schemas.gen.worldbus.language.v1.types_pb2 import Circumstance, Meaning, Thing

TENSES: Final = ("", "present", "past", "future")
MAX_ADJECTIVES: Final = 4
MAX_CIRCUMSTANCES: Final = 8
MAX_NAME: Final = 64  # characters
_GLOSS: Final = re.compile(r"[a-z]+(?:-[a-z]+)*", re.ASCII)


class Word(NamedTuple):
    """A word of a sentence; `gloss` is empty for names and particles, `parts` says what it is made of, in order."""

    form: str
    gloss: str
    parts: tuple[str, ...]


def problem(meaning: Meaning) -> str:
    """The fault of a meaning, for people; empty if it can be said."""
    if not meaning.verb and not meaning.complement:
        return "wanted a verb, or a complement for the subject, found neither"
    if meaning.complement and (meaning.verb or meaning.HasField("object") or not meaning.subject.noun):
        return "a complement says what a subject is: wanted a subject, and neither verb nor object beside it"
    if meaning.tense not in TENSES:
        return f"tense must be past, present or future, found {ascii(meaning.tense)[:40]}"
    if len(meaning.circumstances) > MAX_CIRCUMSTANCES:
        return f"at most {MAX_CIRCUMSTANCES} circumstances can be said at once, found {len(meaning.circumstances)}"
    glosses = [gloss for gloss in (meaning.verb, meaning.complement) if gloss]
    glosses += [circumstance.relation for circumstance in meaning.circumstances]
    bad = [gloss for gloss in glosses if not _is_gloss(gloss)]
    if bad:
        return f"a word must be 1 to 32 of a-z, found {ascii(bad[0])[:80]}"
    things = [thing for thing in (meaning.subject, meaning.object) if thing != Thing()]
    things += [circumstance.thing for circumstance in meaning.circumstances]
    return next(filter(None, map(_thing_problem, things)), "")


def _is_gloss(gloss: str) -> bool:
    return len(gloss) <= 32 and _GLOSS.fullmatch(gloss) is not None


def _thing_problem(thing: Thing) -> str:
    if thing.name:
        fine = 0 < len(thing.noun) <= MAX_NAME and thing.noun.isprintable() and thing.noun.strip() == thing.noun
        if not fine:
            return f"a name must be 1 to {MAX_NAME} characters that print, found {ascii(thing.noun)[:80]}"
    elif not _is_gloss(thing.noun):
        return f"a noun must be 1 to 32 of a-z, found {ascii(thing.noun)[:80]}"
    if len(thing.adjectives) > MAX_ADJECTIVES or not all(map(_is_gloss, thing.adjectives)):
        return f"wanted at most {MAX_ADJECTIVES} adjectives of a-z, found {len(thing.adjectives)}: {ascii(list(thing.adjectives))[:80]}"
    return ""


def compose(lexicon: Lexicon, meaning: Meaning) -> list[Word]:
    """The words of a sentence in the order of the language; the meaning must have no problem."""
    language = lexicon.language
    phrases = {
        "S": list(_noun(lexicon, meaning.subject, "")) if meaning.subject.noun else [],
        "V": [_verb(lexicon, meaning)],
        "O": _object(lexicon, meaning),
    }
    around = [each for circumstance in meaning.circumstances for each in _circumstance(lexicon, circumstance)]
    said: list[Word] = []
    for place in language.order:
        if place == "V" and language.order.endswith("V"):
            said += around  # what ends with its verb says everything else before it
        said += phrases[place]
    if not language.order.endswith("V"):
        said += around
    if meaning.question and language.particle:
        said.append(Word(language.particle, "", ("Q",)))
    return said


def _object(lexicon: Lexicon, meaning: Meaning) -> list[Word]:
    if meaning.complement:
        return [_word(lexicon, meaning.complement)]
    return list(_noun(lexicon, meaning.object, lexicon.language.object)) if meaning.object.noun else []


def _word(lexicon: Lexicon, gloss: str, *endings: tuple[str, str]) -> Word:
    """A word with (name, ending) pairs, innermost first; an ending that the language does not have is not heard."""
    form, parts = word(lexicon, gloss), [gloss]
    for name, ending in endings:
        if ending:
            form = ended(form, ending)
            parts = [*parts, name] if ending.startswith("-") else [name, *parts]
    return Word(form, gloss, tuple(parts))


def _noun(lexicon: Lexicon, thing: Thing, case: str) -> Iterator[Word]:
    language = lexicon.language
    if thing.name:
        noun = Word(thing.noun, "", (thing.noun,))
    else:
        noun = _word(lexicon, thing.noun, ("PL", language.plural if thing.plural else ""), ("OBJ", case))
    adjectives = [_word(lexicon, adjective) for adjective in thing.adjectives]
    if language.adjective == "before":
        yield from adjectives
    yield noun
    if language.adjective == "after":
        yield from adjectives


def _verb(lexicon: Lexicon, meaning: Meaning) -> Word:
    language = lexicon.language
    tense = {"past": ("PST", language.past), "future": ("FUT", language.future)}.get(meaning.tense, ("", ""))
    negation = ("NEG", language.negation if meaning.negated else "")
    question = ("Q", language.question if meaning.question else "")
    return _word(lexicon, meaning.verb or "be", tense, negation, question)


def _circumstance(lexicon: Lexicon, circumstance: Circumstance) -> Iterator[Word]:
    relation = _word(lexicon, circumstance.relation)
    if lexicon.language.adposition == "before":
        yield relation
    yield from _noun(lexicon, circumstance.thing, "")
    if lexicon.language.adposition == "after":
        yield relation


def sentence(words: Sequence[str], *, question: bool) -> str:
    """Words as they are written: a capital first, a mark last."""
    text = " ".join(words)
    return text[:1].upper() + text[1:] + ("?" if question else ".")


def glossed(words: Sequence[Word]) -> str:
    """The sentence word for word, for people who study it."""
    return " ".join("-".join(each.parts) for each in words)
