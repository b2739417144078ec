"""The law of the story: told without a model, a beat has its author's words, and no fact comes of them.

Random arcs, random requests and schemas, every engine and rung that is no model's.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.errors import BadSettings
from bus.testing import given as lane
from handlers.storyteller import storyteller_of
from handlers.storyteller.tables import parse
from inference import json_schema
from inference.dressing import dressed, fits, plain, speakable, spoken_of
from inference.engines.authored import fill
from inference.ladder import ladders
from inference.lower_rungs import authored
from inference.speech import Voice
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded, InferenceExpired, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, Measured
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryArcStartRequested, StoryFactEstablished, StoryNarrated
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired

token = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
any_words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)
words = any_words.filter(lambda text: any(char.isprintable() and char != " " for char in text))  # as the tables want them
facts = st.dictionaries(token, st.lists(token, min_size=1, max_size=4, unique=True), min_size=1, max_size=4)


@st.composite
def arcs(draw: st.DrawFn) -> dict[str, Any]:
    known = draw(facts)
    beats = [
        {"name": name, "title": "T", "text": draw(words), "tension": draw(st.integers(0, 1000)), "narrates": draw(some_of(list(known)))}
        for name in draw(st.lists(token, min_size=1, max_size=4, unique=True))
    ]
    body = {"title": "A", "premise": "P", "pulse_minutes": 5, "calm": 1, "choice_minutes": 5, "curve": [500], "facts": known}
    return {"arcs": {"arc": {**body, "beats": beats}}}


def some_of(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True, max_size=len(names)) if names else st.just([])


def answer_to(request: InferenceRequested, draw: st.DrawFn, lines: list[str]) -> Any:
    """An end of the request of which no model chose the words: by the ladder, by a grammar's engine, or a forged claim of one."""
    to = {"request_id": request.request_id, "requester_subsystem": "storyteller", "requester_entity": "arc"}
    how = draw(st.sampled_from(["ladder", "grammar", "timed", "claims", "expired"]))
    if how == "expired":
        return InferenceExpired(**to)
    if how == "ladder":
        line = authored(request, lines)
        return InferenceDegraded(text=line.text, rung=line.rung, measured=Measured(engine=line.rung), **to)
    if how == "claims" or not request.json_schema:
        shape = json_schema.schema(request.json_schema) if request.json_schema else {}
        open_ = shape.get("properties", {}).get("facts", {}).get("properties", {})
        claimed = {name: draw(st.sampled_from(body["enum"])) for name, body in open_.items()}
        text = json.dumps({"text": "It is decided.", "facts": claimed})
    else:
        text = fill(json_schema.schema(request.json_schema), lambda _: "Evening.", 64, request.seed)
    engine = draw(st.sampled_from(["grammar", "timed", "authored", ""]))
    kind = draw(st.sampled_from([InferenceCompleted, InferenceDegraded]))
    rung = "full" if kind is InferenceCompleted else draw(st.sampled_from(["shorter", "choice", "grammar", "authored"]))
    return kind(text=text, rung=rung, measured=Measured(engine=engine), **to)


@given(arcs(), st.lists(words, min_size=1, max_size=3), st.data())
def test_told_without_a_model_a_beat_has_its_authors_words_and_no_fact_comes_of_it(
    table: dict[str, Any], lines: list[str], data: st.DataObject
) -> None:
    beats = {beat["name"]: beat["text"] for beat in table["arcs"]["arc"]["beats"]}
    case = lane(storyteller_of(parse(table, "random")), entity="arc").when(StoryArcStartRequested(), entity="arc")
    told = []
    for number in range(2 * len(beats)):
        case = case.when(WakeFired(subsystem="storyteller", entity="arc", name="pulse"), entity="clock", subsystem="time", id=f"p{number}")
        for request in [message for message in case.said if isinstance(message, InferenceRequested)]:
            answer = data.draw(st.composite(lambda draw, request=request: answer_to(request, draw, lines))())
            case = case.when(answer, entity="arc", subsystem="inference", id=f"a{number}")
            told += [message for message in case.said if isinstance(message, StoryNarrated)]
            assert not [message for message in case.said if isinstance(message, StoryFactEstablished)]

    assert [message.beat for message in told] == list(dict.fromkeys(message.beat for message in told))
    assert {message.beat: message.text for message in told} == {name: beats[name] for name in (message.beat for message in told)}
    assert len(told) == len(beats)
    assert case.state.facts == ()


def test_a_beat_of_which_nothing_can_be_read_is_refused() -> None:
    """What players would hear instead of it is some other line."""
    beat = {"name": "b", "title": "T", "text": "\x1b \u202e", "tension": 0}
    body = {"title": "A", "premise": "P", "pulse_minutes": 5, "calm": 1, "choice_minutes": 5, "curve": [500], "facts": {}}
    with pytest.raises(BadSettings, match="text must have words, found nothing to be read"):
        parse({"arcs": {"arc": {**body, "beats": [beat]}}}, "random")


@given(arcs(), st.integers(0, 2**63 - 1), st.lists(words, min_size=1, max_size=3))
def test_what_is_heard_of_a_beat_without_a_model_is_its_text(table: dict[str, Any], seed: int, lines: list[str]) -> None:
    """The chunks that players hear while it is told, not only what is recorded."""
    case = lane(storyteller_of(parse(table, "random")), entity="arc").when(StoryArcStartRequested(), entity="arc")
    case = case.when(WakeFired(subsystem="storyteller", entity="arc", name="pulse"), entity="clock", subsystem="time")
    (request,) = [message for message in case.said if isinstance(message, InferenceRequested)]
    request.seed = seed

    assert authored(request, lines).spoken == plain(
        next(beat["text"] for beat in table["arcs"]["arc"]["beats"] if beat["name"] == case.state.beat)
    )


# -- requests of others: any schema ------------------------------------------------------------------------------------------------------

leaf = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(token, min_size=2, max_size=4, unique=True)),
    st.just({"type": "boolean"}),
    st.just({"type": "integer", "minimum": 3}),
    st.just({"type": "string"}),
    st.just({"type": "array", "items": {"type": "string"}}),
    st.just({"enum": ["bow", "none"]}),
    st.builds(lambda value: {"const": value}, token),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(token, inner, max_size=4).flatmap(
        lambda properties: some_of(sorted(properties)).map(
            lambda required: {"type": "object", "properties": properties, "required": required}
        )
    )


@st.composite
def requests(draw: st.DrawFn) -> InferenceRequested:
    shape = draw(objects(st.recursive(leaf, objects, max_leaves=8)))
    names = draw(st.lists(token, min_size=1, max_size=2, unique=True))
    properties = {**shape["properties"], **{name: {"type": "string"} for name in names}}
    schema = json.dumps({"type": "object", "properties": properties, "required": [*shape["required"], names[0]]})
    lines = draw(st.lists(any_words, max_size=2))
    seed = draw(st.integers(0, 2**63 - 1))
    return InferenceRequested(json_schema=schema, speakable=names, seed=seed, fallback=Fallback(lines=lines))


def decisions(value: Any, shape: Any) -> list[Any]:
    """Values of a made-up answer that decide something: an enumeration's that is not quiet, a number, a truth."""
    if not isinstance(shape, dict) or "const" in shape:
        return []
    if "enum" in shape:
        return [] if value in ("none", "neutral") or len(shape["enum"]) == 1 else [value]
    if isinstance(value, dict):
        return [one for name, item in value.items() for one in decisions(item, shape.get("properties", {}).get(name))]
    return [value] if isinstance(value, (bool, int)) else []


ONE_TEXT = '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}'


@given(requests(), st.lists(words, min_size=1, max_size=3))
@example(InferenceRequested(json_schema=ONE_TEXT, speakable=["a"]), ["\x1b"])  # nothing of it can be heard: the shape was spoken instead
@example(InferenceRequested(json_schema=ONE_TEXT, speakable=["a"], fallback=Fallback(lines=["\x1b"])), ["Not now."])
def test_an_authors_line_in_any_shape_decides_nothing(request: InferenceRequested, lines: list[str]) -> None:
    line = authored(request, lines)
    shape = json_schema.schema(request.json_schema)

    found = json.loads(line.text)
    assert decisions({key: value for key, value in found.items() if key not in request.speakable}, shape) == []
    own = [plain(one) for one in request.fallback.lines if plain(one).strip() and not one.lstrip().startswith("{")]
    assert line.spoken in (own or [plain(one) for one in lines])


@given(requests(), words)
def test_what_is_spoken_is_what_the_request_declares_however_it_is_cut(request: InferenceRequested, text: str) -> None:
    names = speakable(request.speakable)
    answer = dressed(text, request.json_schema, (), (), names)

    voice = Voice(names)
    heard = "".join(voice.feed(char, 0.0) for char in answer) + voice.finish()
    assert heard.split() == spoken_of(answer, request.json_schema, names).split()


def test_a_request_that_declares_nothing_is_spoken_as_before() -> None:
    schema = '{"type": "object", "properties": {"say": {"type": "string"}, "text": {"type": "string"}}, "required": ["say", "text"]}'
    answer = '{"say": "Good day.", "text": "Not this."}'

    assert fits(answer, schema, ())
    assert spoken_of(answer, schema) == "Good day."


def test_a_ladder_without_a_grammar_has_none_for_its_kind() -> None:
    table = {"default": {"reserve_ms": 1, "rungs": [{"rung": "authored", "needs_ms": 1}], "lines": ["Not now."]}}

    ladder = ladders(table, "test").of("story_beat")
    assert ladder is not None
    assert ladder.grammar == ""
