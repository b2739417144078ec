"""What is spoken when: sentences, clauses, and words when no end comes; nothing lost, nothing twice."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from inference.dressing import dressed, fits, plain, spoken_of
from inference.speech import TOO_LONG, Chunker, SpokenFields, Voice


def _fed(pieces: list[str], step: float = 0.0) -> list[str]:
    chunker = Chunker()
    said = [chunk for number, piece in enumerate(pieces) if (chunk := chunker.feed(piece, number * step))]
    return [*said, rest] if (rest := chunker.finish()) else said


def test_a_sentence_is_spoken_as_soon_as_it_is_whole() -> None:
    assert _fed(["Mind", " your step. The", " tide"]) == ["Mind your step. ", "The tide"]


def test_a_point_inside_a_number_ends_nothing() -> None:
    assert _fed(["It costs 3.50 crowns"]) == ["It costs 3.50 crowns"]


def test_a_text_without_spaces_is_cut_at_last() -> None:
    assert len(_fed(["x" * (TOO_LONG + 1), "y"])) == 2


@given(st.lists(st.text(alphabet="ab .!?,;\n", max_size=12), max_size=30), st.floats(0, 1))
def test_the_chunks_joined_are_the_text(pieces: list[str], step: float) -> None:
    assert "".join(_fed(pieces, step)) == "".join(pieces)


@given(
    st.dictionaries(st.sampled_from(["say", "emotion", "a"]), st.one_of(st.text(), st.lists(st.text(), max_size=2), st.integers())),
    st.lists(st.integers(1, 7), min_size=1, max_size=50),
    st.booleans(),
)
def test_only_say_is_spoken_however_the_json_is_cut(answer: dict[str, object], cuts: list[int], escape: bool) -> None:
    text, field, said, at = json.dumps(answer, ensure_ascii=escape), SpokenFields(["say"]), "", 0
    while at < len(text):
        size = cuts[at % len(cuts)]
        said += field.feed(text[at : at + size])
        at += size

    wanted = answer.get("say")
    expected = wanted if isinstance(wanted, str) else ""
    assert said == expected.replace("\b", "").replace("\f", "")


@given(st.text())
def test_json_that_is_none_raises_nothing(text: str) -> None:
    SpokenFields(["say"]).feed(text)


def test_a_say_inside_another_value_is_not_spoken() -> None:
    assert SpokenFields(["say"]).feed('{"a": {"say": "no"}, "b": ["say", "no"], "c": "\\"say\\": \\"no\\"", "say": "yes"}') == "yes"


def test_a_choice_is_spoken_when_it_is_whole() -> None:
    voice = Voice(whole=True)

    assert voice.feed("Yes. No. ", 0.0) == ""
    assert voice.finish() == "Yes. No. "


@given(st.text())
def test_plain_text_has_no_control_characters(text: str) -> None:
    assert all(ord(char) >= 32 and not 127 <= ord(char) < 160 for char in plain(text))


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "say": {"type": "string", "maxLength": 40},
            "emotion": {"enum": ["neutral", "warm"]},
            "action": {"enum": ["none", "give"]},
        },
        "required": ["say", "emotion", "action"],
        "additionalProperties": False,
    }
)


@given(st.text(max_size=40))
def test_a_dressed_line_fits_its_schema_and_says_the_line(line: str) -> None:
    prepared = ['{"say": "x", "emotion": "warm", "action": "none"}']
    for whole in (prepared, [], ["no json"]):
        answer = dressed(line, SCHEMA, (), whole)
        if fits(line, SCHEMA, ()):
            continue
        assert fits(answer, SCHEMA, ())
        assert spoken_of(answer, SCHEMA) == plain(line)


def test_an_action_outside_the_list_does_not_fit() -> None:
    assert not fits('{"say": "here", "emotion": "neutral", "action": "open-vault"}', SCHEMA, ())
    assert not fits('{"say": "here", "emotion": "neutral"}', SCHEMA, ())
    assert not fits('{"say": "here", "emotion": "neutral", "action": "none", "more": 1}', SCHEMA, ())
    assert fits('{"say": "here", "emotion": "neutral", "action": "none"}', SCHEMA, ())
