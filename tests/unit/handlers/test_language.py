"""The rules of languages: words, sentences, what is heard and what is learned."""

from __future__ import annotations

from typing import Any

import pytest

from bus.testing import Case, Rehearsal, given, recorded
from handlers.language_system.compose import Word, compose
from handlers.language_system.decide import MAX_STUDY, Listener
from handlers.language_system.lexicon import ended, prepare, word
from handlers.language_system.tables import load
from handlers.language_system.translate import heard, lemma
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceRequested
from schemas.gen.worldbus.language.v1.language_pb2 import (
    ComprehensionGrew,
    LanguageRequestRefused,
    LanguageStudied,
    SpeechHeard,
    UtteranceComposed,
    UtteranceRequested,
)
from schemas.gen.worldbus.language.v1.types_pb2 import Circumstance, Meaning, Thing
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcSpoke
from tests.duskmarket import FOLDER, language, npc

TABLES = load(FOLDER / "languages.toml")
OSSIC, SEDGE = prepare(TABLES)["ossic"], prepare(TABLES)["sedge"]
SALE = Meaning(
    subject=Thing(noun="broker", adjectives=["old"]),
    verb="sell",
    object=Thing(noun="body", plural=True),
    circumstances=[Circumstance(relation="at", thing=Thing(noun="quay"))],
    tense="past",
)


def nobody_understands(gloss: str, level: int) -> bool:
    return False


def mira(*history: Any) -> Case[Listener]:
    return given(language, *history, entity="mira")


def said_to_her(case: Case[Listener], text: str = "Was he seen?", tongue: str = "ossic") -> Case[Listener]:
    return case.when(NpcSpoke(player="mira", text=text, language=tongue), entity="doctor-vane", subsystem="npc")


def refusal(case: Case[Any]) -> str:
    (said,) = case.said
    assert isinstance(said, LanguageRequestRefused)
    assert said.request
    assert said.request_event_id
    assert len(said.reason) > 20
    return said.code


# ---- words ----------------------------------------------------------------------------------------------------------------------------


def test_a_word_is_always_the_same_and_fits_its_language() -> None:
    assert word(OSSIC, "herring") == word(prepare(TABLES)["ossic"], "herring") != word(SEDGE, "herring")
    for gloss in ("herring", "tally", "gallows", "ferryman"):
        made = word(OSSIC, gloss)
        assert OSSIC.language.allows(made)
        assert set(made) <= set("".join((*OSSIC.language.consonants, *OSSIC.language.vowels)))


def test_the_tables_own_words_and_the_common_ones_never_sound_alike() -> None:
    for lexicon in (OSSIC, SEDGE):
        assert word(lexicon, next(iter(lexicon.language.words))) in lexicon.language.words.values()
        assert len(set(lexicon.fixed.values())) == len(lexicon.fixed) >= len(TABLES.common_words)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("bodies", ("body", "plural")),
        ("brokers", ("broker", "plural")),
        ("churches", ("church", "plural")),
        ("glasses", ("glass", "plural")),
        ("Sold", ("sell", "past")),
        ("carried", ("carry", "past")),
        ("counted", ("count", "past")),
        ("counting", ("count", "")),
        ("don't", ("not", "")),
        ("night\u2019s", ("night", "")),
        ("this", ("this", "")),
        ("need", ("need", "")),
        ("gallows", ("gallow", "plural")),
    ],
)
def test_forms_of_the_common_tongue_lead_to_their_word(form: str, expected: tuple[str, str]) -> None:
    assert lemma(TABLES, form) == expected


def test_endings_come_before_or_after() -> None:
    assert (ended("mor", "-ek"), ended("mor", "ne-"), ended("mor", "")) == ("morek", "nemor", "mor")


# ---- sentences ------------------------------------------------------------------------------------------------------------------------


def glosses(words: list[Word]) -> list[str]:
    return ["-".join(each.parts) for each in words]


def test_order_endings_and_small_words_are_those_of_the_language() -> None:
    assert glosses(compose(OSSIC, SALE)) == ["broker", "old", "body-PL-OBJ", "quay", "at", "sell-PST"]
    assert glosses(compose(SEDGE, SALE)) == ["sell-PST", "old", "broker", "PL-body", "at", "quay"]


def test_negation_tense_and_question_are_heard() -> None:
    asked = Meaning(subject=Thing(noun="you"), verb="pay", tense="future", negated=True, question=True)

    assert glosses(compose(OSSIC, asked)) == ["you", "NEG-FUT-pay-Q"]
    assert glosses(compose(SEDGE, asked)) == ["NEG-pay-FUT", "you", "Q"]
    assert compose(SEDGE, asked)[-1].form == "nei"


def test_what_somebody_is_needs_no_verb() -> None:
    dead = Meaning(subject=Thing(noun="Hask", name=True), complement="dead")

    assert [each.form for each in compose(OSSIC, dead)] == ["Hask", "mor", word(OSSIC, "be")]


def test_an_utterance_is_composed_and_understood_by_degrees() -> None:
    wish = UtteranceRequested(request_id="u1", language="ossic", meaning=SALE)
    stranger = mira().when(wish)
    (made,) = stranger.said
    assert isinstance(made, UtteranceComposed)
    assert made.gloss == "broker old body-PL-OBJ quay at sell-PST"
    assert made.understood == made.text, "a stranger understands nothing"
    assert made.text.endswith(".")
    (fluent,) = mira(ComprehensionGrew(language="ossic", exposure=10**6)).when(wish).said
    assert isinstance(fluent, UtteranceComposed)

    assert (fluent.text, fluent.understood) == (made.text, "Broker old body quay at sell.")


@pytest.mark.parametrize(
    ("meaning", "word"),
    [
        (Meaning(), "neither"),
        (Meaning(subject=Thing(noun="i"), verb="go", complement="dead"), "complement"),
        (Meaning(complement="dead"), "complement"),
        (Meaning(verb="go", tense="once"), "tense"),
        (Meaning(verb="go away"), "a-z"),
        (Meaning(verb="x" * 33), "a-z"),
        (Meaning(verb="go", subject=Thing(noun="")), "verb"),
        (Meaning(verb="go", subject=Thing(adjectives=["old"])), "noun"),
        (Meaning(verb="go", subject=Thing(noun="a\nb", name=True)), "name"),
        (Meaning(verb="go", subject=Thing(noun="i", adjectives=["old"] * 5)), "adjectives"),
        (Meaning(verb="go", circumstances=[Circumstance(relation="to", thing=Thing(noun="i"))] * 9), "circumstances"),
        (Meaning(verb="go", circumstances=[Circumstance(thing=Thing(noun="i"))]), "a-z"),
    ],
)
def test_a_meaning_that_cannot_be_said_is_refused(meaning: Meaning, word: str) -> None:
    case = mira().when(UtteranceRequested(request_id="u1", language="ossic", meaning=meaning))
    if meaning == Meaning(verb="go", subject=Thing(noun="")):
        case.then_types(UtteranceComposed)  # nobody in particular goes
        return

    assert refusal(case) == "BAD_MEANING"
    assert word in case.said[0].reason  # type: ignore[attr-defined]


def test_unknown_languages_and_bad_ids_are_refused() -> None:
    assert refusal(mira().when(UtteranceRequested(request_id="u1", language="common", meaning=SALE))) == "UNKNOWN_LANGUAGE"
    assert refusal(mira().when(UtteranceRequested(request_id="", language="ossic", meaning=SALE))) == "BAD_ID"


# ---- hearing --------------------------------------------------------------------------------------------------------------------------


def test_a_stranger_hears_only_sounds_names_and_marks() -> None:
    found = heard(TABLES, OSSIC, "Was Mira seen with the two dead bodies? Yes: 2!", nobody_understands, 1000)

    assert found.spoken == found.understood
    assert " Mira " in found.spoken
    assert "the" not in found.spoken.split()
    assert found.spoken.endswith(": 2!")
    assert " mor korumek? " in found.spoken
    assert (found.words, found.clear, found.share) == (7, 0, 0)


def test_words_of_a_character_are_heard_in_its_language_and_leave_something_behind() -> None:
    case = said_to_her(mira()).then_types(SpeechHeard)
    (speech,) = case.said

    assert isinstance(speech, SpeechHeard)
    assert (speech.npc, speech.language, speech.words, speech.share) == ("doctor-vane", "ossic", 3, 0)
    assert speech.understood == speech.spoken != "Was he seen?"
    case.then_state(exposure={"ossic": 3})


def test_who_knows_the_language_hears_the_words() -> None:
    (speech,) = said_to_her(mira(ComprehensionGrew(language="ossic", exposure=10**6))).said

    assert isinstance(speech, SpeechHeard)
    assert (speech.understood, speech.share) == ("Was he seen?", 1000)
    assert speech.spoken != speech.understood


def test_growth_is_said_at_every_hundredth_and_at_every_stage() -> None:
    quiet = mira(ComprehensionGrew(language="ossic", exposure=600))  # level 333
    said_to_her(quiet).then_types(SpeechHeard)
    nearly = mira(ComprehensionGrew(language="ossic", exposure=799))  # level 399
    grew = said_to_her(nearly).then_types(SpeechHeard, ComprehensionGrew).then_state(exposure={"ossic": 802}).said[1]

    assert grew == ComprehensionGrew(
        language="ossic", exposure=802, previous=399, level=400, stage="haggler", stage_reached=True, cause="speech"
    )


def test_the_common_tongue_and_unknown_ones_are_nothing_to_learn() -> None:
    said_to_her(mira(), tongue="common").then_nothing()
    said_to_her(mira(), tongue="").then_nothing()
    case = mira().when(NpcSpoke(player="mira", text="Ha.", language="ossic"), entity="doctor-vane", subsystem="game")
    case.then_nothing()
    assert tuple(language.entities(recorded(NpcSpoke(player="no body", language="ossic"), subsystem="npc"))) == ()


def test_study_counts_like_hearing() -> None:
    case = mira().when(LanguageStudied(language="sedge", words=800, source="primer"))

    case.then(
        ComprehensionGrew(language="sedge", exposure=800, previous=0, level=500, stage="haggler", stage_reached=True, cause="study")
    ).then_state(exposure={"sedge": 800})


def test_study_of_nothing_or_too_much_is_refused() -> None:
    assert refusal(mira().when(LanguageStudied(language="ossic", words=0))) == "BAD_WORDS"
    assert refusal(mira().when(LanguageStudied(language="ossic", words=MAX_STUDY + 1))) == "BAD_WORDS"
    assert refusal(mira().when(LanguageStudied(language="moon", words=1))) == "UNKNOWN_LANGUAGE"
    assert refusal(mira().when(LanguageStudied(language="ossic", words=1, source="x" * 65))) == "TOO_LONG"


def test_what_mother_sedge_answers_is_heard_in_her_tongue() -> None:
    marsh = Rehearsal(npc, language)
    marsh.say(PlayerSpoke(npc="mother-sedge", text="Where is the path?"), entity="mira")
    (question,) = marsh.said(InferenceRequested)
    text = '{"say": "Water is listening.", "emotion": "amused", "action": "nod"}'
    answer = InferenceCompleted(request_id=question.request_id, requester_subsystem="npc", requester_entity="mother-sedge", text=text)
    marsh.say(answer, entity="mother-sedge", subsystem="inference")
    (speech,) = marsh.said(SpeechHeard, entity="mira")

    assert (speech.npc, speech.language, speech.words) == ("mother-sedge", "sedge", 3)
    assert speech.spoken.startswith("Luel "), "water is fixed by the table"
