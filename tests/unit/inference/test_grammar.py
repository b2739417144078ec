"""Grammars: what templates mean, what is refused when they are read, and that no text of a request changes them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import BadSettings
from inference.engines.authored import fill
from inference.errors import PromptRejected
from inference.grammar import MAX_SLOT, Grammar, clean
from inference.grammars import load, read
from tests.duskmarket import FOLDER

LOADED = load(FOLDER / "grammars")


def one(template: str, slots: dict[str, str] | None = None, **rules: object) -> str:
    """What a grammar of this one origin says."""
    return Grammar.of("test", {"origin": [template], **rules}, {"who": "nobody", "mood": ""}).expand(0, slots)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("plain", "plain"),
        ("#who#", "nobody"),
        ("##1 #fish#", "#1 cod"),
        ("#fish.capitalize#", "Cod"),
        ("#eel.a#", "an eel"),
        ("#fish.a.capitalize#", "A cod"),
        ("#berry.s#, #box.s#, #fish.s#", "berries, boxes, cods"),
        ("[x:#fish#]#x# and #x#", "cod and cod"),
        ("#way:mood#", "well"),
    ],
)
def test_templates(template: str, said: str) -> None:
    rules = {"fish": ["cod"], "eel": ["eel"], "berry": ["berry"], "box": ["box"], "way": {"good": ["gladly"], "otherwise": ["well"]}}

    assert one(template, **rules) == said


def test_a_slot_chooses_the_case() -> None:
    assert one("#way:mood#", {"mood": "good"}, way={"good": ["gladly"], "otherwise": ["well"]}) == "gladly"


def test_what_is_remembered_is_drawn_once() -> None:
    grammar = Grammar.of("test", {"origin": ["[x:#n#]#x##x#"], "n": [str(n) for n in range(10)]})
    said = {grammar.expand(seed) for seed in range(100)}

    assert len(said) > 5
    assert all(text[0] == text[1] for text in said)


def test_a_rule_that_calls_itself_ends() -> None:
    grammar = Grammar.of("test", {"origin": ["#origin##origin##origin#", "a"]})

    said = [grammar.expand(seed) for seed in range(200)]

    assert {letter for text in said for letter in text} == {"a"}
    assert max(map(len, said)) < 2_000


@pytest.mark.parametrize(
    ("rules", "slots", "fault"),
    [
        ({}, {}, "wanted a rule 'origin'"),
        ({"origin": []}, {}, "wanted a list of texts"),
        ({"origin": "a"}, {}, "wanted a list of texts"),
        ({"origin": [1]}, {}, "wanted a list of texts"),
        ({"origin": ["#nope#"]}, {}, "neither a rule nor a slot"),
        ({"origin": ["#a:nope#"], "a": ["b"]}, {}, "neither a rule nor a slot"),
        ({"origin": ["#a.shout#"], "a": ["b"]}, {}, "wanted one of capitalize"),
        ({"origin": ["50 # off"]}, {}, "has no partner"),
        ({"origin": ["[a:b"]}, {}, "has no partner"),
        ({"origin": ["#origin#"]}, {}, "never comes to an end"),
        ({"origin": ["#a#"], "a": ["#b#"], "b": ["#a# x"]}, {}, "never comes to an end"),
        ({"origin": ["[x:#origin#]"]}, {}, "never comes to an end"),
        ({"origin": {"good": ["a"]}}, {}, "wanted a case 'otherwise'"),
        ({"origin": ["a"], "who": ["b"]}, {"who": "c"}, "both a rule and a slot"),
        ({"origin": ["a"]}, {"who": 1}, "wanted a text"),
    ],
)
def test_a_broken_grammar_is_refused(rules: dict[str, object], slots: dict[str, object], fault: str) -> None:
    with pytest.raises(BadSettings, match=fault):
        Grammar.of("test", rules, slots)


@given(st.text(max_size=300), st.integers(0, 2**63 - 1))
def test_words_of_a_request_are_never_expanded(words: str, seed: int) -> None:
    grammar = Grammar.of("test", {"origin": ["<#who#>"], "secret": ["SECRET"]}, {"who": "nobody"})

    assert grammar.expand(seed, {"who": words, "secret": words, "origin": words}) == f"<{clean(words) or 'nobody'}>"


@given(st.text(max_size=2000))
def test_clean_text_is_one_short_line(words: str) -> None:
    cleaned = clean(words)

    assert len(cleaned) <= MAX_SLOT
    assert cleaned == cleaned.strip()
    assert not any(ord(each) < 32 or each in "\u202e\u200b\u2028" for each in cleaned)


@given(st.text(alphabet="#[]:.ab oriogin", max_size=40))
def test_any_template_is_read_or_refused(template: str) -> None:
    try:
        grammar = Grammar.of("test", {"origin": [template], "a": ["x"], "b": ["y", "#a#"]})
    except BadSettings:
        return
    assert isinstance(grammar.expand(1), str)


@given(st.sampled_from(sorted(LOADED)), st.integers(0, 2**63 - 1), st.sampled_from(["friendly", "neutral", "hostile", "", "#say#"]))
def test_the_grammars_of_the_world_speak(name: str, seed: int, manner: str) -> None:
    slots = {"manner": manner, "player": "Ann"}
    said = LOADED[name].expand(seed, slots)

    assert said == LOADED[name].expand(seed, slots)
    assert 3 <= len(said) <= 300
    assert not set("#[]") & set(said)


@pytest.mark.parametrize("text", ["rules = 1", "nonsense", "[rules]\norigin = ['a']\n[other]\n", "\x00"])
def test_a_broken_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(BadSettings, match=r"broken\.toml"):
        read(tmp_path / "broken.toml")


def test_json_is_as_good_as_toml(tmp_path: Path) -> None:
    table = tomllib.loads("[slots]\nwho = 'you'\n[rules]\norigin = ['#who#']\n")
    (tmp_path / "a.json").write_text(json.dumps(table))

    assert load(tmp_path)["a"].expand(0) == "you"


def test_a_folder_without_grammars_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="found none"):
        load(tmp_path)


def text(name: str) -> str | None:
    """As a grammar with the rules `say` and `mood` has it."""
    return {"": "one two three", "say": "one two three", "mood": "warm"}.get(name)


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ({"properties": {"say": {"type": "string"}, "mood": {"enum": ["cold", "warm"]}}}, {"say": "one two three", "mood": "warm"}),
        ({"properties": {"deed": {"enum": ["bow", "none"]}}, "required": ["deed"]}, {"deed": "none"}),
        ({"properties": {"deed": {"enum": ["bow", "none"]}, "mood": {"enum": ["cold", "warm"]}}}, {"mood": "warm"}),
        ({"type": "object", "required": ["say"]}, {"say": "one two three"}),
        ({"type": "string", "maxLength": 5}, "one"),
        ({"type": "string", "maxLength": 2}, "on"),
        ({"const": 4}, 4),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": ["number", "null"]}, 0),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
    ],
)
def test_json_of_authored_text(shape: dict[str, object], value: object) -> None:
    assert json.loads(fill(shape, text, 64)) == value


def test_texts_hold_no_more_words_than_asked_for() -> None:
    shape = {"properties": {"say": {"type": "string"}, "more": {"type": "string"}}, "required": ["say", "more"]}

    assert json.loads(fill(shape, text, 4)) == {"say": "one two three", "more": "one"}


@pytest.mark.parametrize(
    "shape",
    [
        {"type": "string", "pattern": "^x$"},
        {"$ref": "#/a"},
        {"type": "string", "minLength": 500},
        {"type": "integer", "minimum": 3, "maximum": 1},
        {"type": "integer", "minimum": "3"},
        {"type": "string", "maxLength": -1},
        {"type": "integer", "multipleOf": 7},
    ],
)
def test_what_needs_thinking_is_refused(shape: dict[str, object]) -> None:
    with pytest.raises(PromptRejected) as refused:
        fill(shape, text, 64)

    assert refused.value.code == "BAD_SCHEMA"
