"""Laws of languages, whatever is said, studied and meant."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.language_system.compose import compose, problem
from handlers.language_system.comprehension import ear, level
from handlers.language_system.decide import Listener
from handlers.language_system.lexicon import prepare, word
from handlers.language_system.tables import load
from handlers.language_system.translate import MAX_WORDS, heard
from schemas.gen.worldbus.language.v1.language_pb2 import (
    ComprehensionGrew,
    LanguageStudied,
    SpeechHeard,
    UtteranceComposed,
    UtteranceRequested,
)
from schemas.gen.worldbus.language.v1.types_pb2 import Circumstance, Meaning, Thing
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from tests.duskmarket import FOLDER, language

TABLES = load(FOLDER / "languages.toml")
LEXICONS = prepare(TABLES)
COMMON = frozenset(TABLES.common_words)
lexicons = st.sampled_from(sorted(LEXICONS)).map(LEXICONS.__getitem__)
glosses = st.one_of(st.sampled_from(TABLES.common_words), st.from_regex(r"[a-z]{1,12}", fullmatch=True))
levels = st.integers(0, 1000)
players = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=200),
    st.lists(glosses, max_size=30).map(lambda words: " ".join(words).capitalize() + "."),
)
nouns = st.one_of(
    st.builds(
        lambda noun, plural, adjectives: Thing(noun=noun, plural=plural, adjectives=adjectives),
        glosses,
        st.booleans(),
        st.lists(glosses, max_size=4),
    ),
    st.just(Thing(noun="Hask", name=True)),
)
meanings = st.builds(
    lambda subject, verb, thing, around, tense, negated, question: Meaning(
        subject=subject, verb=verb, object=thing, circumstances=around, tense=tense, negated=negated, question=question
    ),
    nouns | st.none(),
    glosses,
    nouns | st.none(),
    st.lists(st.builds(lambda relation, thing: Circumstance(relation=relation, thing=thing), glosses, nouns), max_size=3),
    st.sampled_from(["", "present", "past", "future"]),
    st.booleans(),
    st.booleans(),
)
tongues = st.sampled_from(["ossic", "sedge", "common", ""])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("npc"), st.builds(lambda text, tongue: NpcSpoke(player="mira", text=text, language=tongue), texts, tongues)),
        st.tuples(
            st.just("game"), st.builds(lambda tongue, many: LanguageStudied(language=tongue, words=many), tongues, st.integers(-5, 12_000))
        ),
        st.tuples(
            st.just("game"),
            st.builds(lambda tongue, it: UtteranceRequested(request_id="u", language=tongue, meaning=it), tongues, meanings),
        ),
    ),
    max_size=25,
)


def live(said: list[tuple[str, Any]]) -> Rehearsal:
    town = Rehearsal(language)
    for edge, message in said:
        town.say(message, entity="doctor-vane" if edge == "npc" else "mira", subsystem=edge)
    return town


@given(lexicons, glosses)
def test_every_word_is_made_of_the_languages_sounds_and_breaks_none_of_its_rules(lexicon: Any, gloss: str) -> None:
    made, tongue = word(lexicon, gloss), lexicon.language
    if gloss in tongue.words:
        return
    consonants, vowels = ("|".join(sorted(sounds, key=len, reverse=True)) for sounds in (tongue.consonants, tongue.vowels))
    patterns = "|".join(pattern.replace("C", f"(?:{consonants})").replace("V", f"(?:{vowels})") for pattern in tongue.patterns)

    assert re.fullmatch(f"(?:{patterns})+", made)
    assert tongue.allows(made)
    assert made == word(prepare(TABLES)[tongue.name], gloss), "the same in every process"


@given(lexicons, players, glosses, levels, levels)
def test_who_understands_a_word_understands_it_at_every_higher_level(lexicon: Any, player: str, gloss: str, one: int, other: int) -> None:
    understands = ear(lexicon.language, player, COMMON)

    assert understands(gloss, min(one, other)) <= understands(gloss, max(one, other))
    assert not understands(gloss, 0)
    assert understands(gloss, 950)


@given(lexicons, st.integers(0, 10**9), st.integers(0, 10**6))
def test_comprehension_never_sinks_and_is_half_at_half(lexicon: Any, exposure: int, more: int) -> None:
    assert 0 <= level(lexicon.language, exposure) <= level(lexicon.language, exposure + more) < 1000
    assert level(lexicon.language, lexicon.language.half_words) == 500


@given(lexicons, players, texts, levels, levels)
def test_more_comprehension_understands_no_less_of_a_text(lexicon: Any, player: str, text: str, one: int, other: int) -> None:
    understands = ear(lexicon.language, player, COMMON)
    less, more = (heard(TABLES, lexicon, text, understands, at) for at in sorted((one, other)))

    assert (less.spoken, less.words) == (more.spoken, more.words)
    assert 0 <= less.clear <= more.clear <= more.words <= MAX_WORDS
    assert 0 <= less.share <= more.share <= 1000
    assert "\n" not in more.understood


@given(lexicons, players, texts)
def test_who_understands_everything_hears_every_word_and_who_nothing_only_sounds(lexicon: Any, player: str, text: str) -> None:
    understands = ear(lexicon.language, player, COMMON)
    nothing, everything = heard(TABLES, lexicon, text, understands, 0), heard(TABLES, lexicon, text, understands, 1000)

    assert nothing.understood == nothing.spoken
    assert everything.clear == everything.words
    said = [each.lower() for each in re.findall(r"[^\W\d_]+", everything.understood)]
    meant = [each.lower() for each in re.findall(r"[^\W\d_]+", text)]
    if len(meant) <= MAX_WORDS:
        assert said == [each for each in meant if each not in ("a", "an", "the")]


@given(lexicons, meanings)
def test_every_meaning_becomes_one_sentence_in_the_order_of_its_language(lexicon: Any, meaning: Meaning) -> None:
    assert problem(meaning) == ""
    words = compose(lexicon, meaning)
    tongue = lexicon.language
    verb = next(place for place, each in enumerate(words) if each.gloss == meaning.verb and _is_verb(lexicon, each.form, meaning))
    if meaning.subject.noun:
        head = meaning.subject.noun
        subject = next(place for place, each in enumerate(words) if (each.gloss or each.form) == head)
        around = [each.relation for each in meaning.circumstances]
        if head not in (meaning.verb, meaning.object.noun, *meaning.object.adjectives, *around) and not any(
            head in (each.thing.noun, *each.thing.adjectives) for each in meaning.circumstances
        ):
            assert (subject < verb) == (tongue.order.index("S") < tongue.order.index("V"))
    assert (words[-1].parts == ("Q",)) == (meaning.question and bool(tongue.particle))
    count = sum(1 + len(each.adjectives) for each in (meaning.subject, meaning.object) if each.noun)
    count += sum(2 + len(each.thing.adjectives) for each in meaning.circumstances)
    assert len(words) == count + 1 + (meaning.question and bool(tongue.particle))


def _is_verb(lexicon: Any, form: str, meaning: Meaning) -> bool:
    bare = Meaning(verb=meaning.verb, tense=meaning.tense, negated=meaning.negated, question=meaning.question)
    return compose(lexicon, bare)[0].form == form


@given(steps)
@settings(deadline=None)
def test_exposure_is_the_sum_of_what_was_heard_and_studied(said: list[tuple[str, Any]]) -> None:
    town = live(said)
    state = town.state(language, "mira")
    assert town.refold() == ({("language", "mira"): state} if any(event.subsystem == "language" for event in town.log) else {})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Listener) == state
    for name in ("ossic", "sedge"):
        spoken = sum(it.words for it in town.said(SpeechHeard) if it.language == name)
        studied = sum(m.words for _, m in said if isinstance(m, LanguageStudied) and m.language == name and 1 <= m.words <= 10_000)
        assert state.exposure.get(name, 0) == spoken + studied
        grown = [it for it in town.said(ComprehensionGrew) if it.language == name]
        assert [it.level for it in grown] == sorted(it.level for it in grown)
        assert all(it.previous <= it.level and it.stage == TABLES.stage(it.level) for it in grown)
        assert len({it.stage for it in grown if it.stage_reached}) == sum(it.stage_reached for it in grown), "each stage once"


@given(steps)
@settings(deadline=None)
def test_the_same_inputs_give_the_same_log(said: list[tuple[str, Any]]) -> None:
    assert [event.raw for event in live(said).log] == [event.raw for event in live(said).log]


@given(meanings, players, players)
@settings(deadline=None)
def test_a_sentence_is_the_same_for_everybody_only_its_understanding_differs(meaning: Meaning, one: str, other: str) -> None:
    town = Rehearsal(language)
    for player in (one, other):
        town.say(UtteranceRequested(request_id="u", language="sedge", meaning=meaning), entity=player)
    first, second = town.said(UtteranceComposed)

    assert (first.text, first.gloss) == (second.text, second.gloss)
