"""Laws of stories, whatever the world does, models answer and players choose."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.handler import MAX_OUTPUTS
from bus.testing import Case
from bus.testing import given as lane
from handlers.storyteller.needs import Need
from handlers.storyteller.needs import parse as parse_need
from handlers.storyteller.state import Arc
from handlers.storyteller.tables import load
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded, InferenceExpired, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneDiscovered
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import (
    StoryArcEnded,
    StoryArcStartRequested,
    StoryBeatBegan,
    StoryChoiceMade,
    StoryChoiceOpened,
    StoryChoiceRequested,
    StoryFactEstablished,
    StoryNarrated,
    StoryTensionChanged,
)
from schemas.gen.worldbus.time.v1.time_pb2 import DayBegan, WakeFired, WakeRequested
from tests.duskmarket import FOLDER, storyteller

TABLES = load(FOLDER / "story.toml")

arcs = st.sampled_from(sorted(TABLES.arcs))
names = st.sampled_from(["ferryman", "keeper", "bell", "eighth-square", "price-of-salt", "market-ward", "moon"])
values = st.sampled_from(["drowned", "sold", "walking", "pell", "vane", "tolled", "fair", "cruel", "warden", "green"])
told = st.one_of(
    st.text(max_size=50),
    st.builds(
        lambda text, facts: json.dumps({"text": text, "facts": facts}), st.text(max_size=20), st.dictionaries(names, values, max_size=4)
    ),
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(names, inner)).map(
        json.dumps
    ),
)
stirs = st.sampled_from(
    [
        (QuestCompleted(quest="missing-ferryman", ending="told"), "mira", "quest"),
        (QuestCompleted(quest="bell-for-the-drowned", ending="tolled"), "mira", "quest"),
        (SceneDiscovered(scene="chalk-on-the-quay"), "ben", "narrative"),
        (CreatureSlain(creature="moor-hound"), "ben", "game"),
        (BargainStruck(kind="moth-lung"), "mira", "broker"),
        (RaidSuffered(), "mira", "broker"),
        (DayBegan(), "clock", "time"),
    ]
)
# What else happens: a pulse, an answer (of any shape, to the newest or an older question), silence, any wake that was asked for, a choice,
# and (mostly) whatever the arc waits for: without purpose few arcs end.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("on"), told),
        st.tuples(st.just("on"), told),
        st.tuples(st.just("on"), told),
        stirs,
        st.just("pulse"),
        st.just("pulse"),
        st.tuples(st.sampled_from(["answer", "degraded", "expired"]), told, st.booleans()),
        st.tuples(st.sampled_from(["answer", "degraded", "expired"]), told, st.booleans()),
        st.tuples(st.just("wake"), st.integers(0, 99)),
        st.tuples(st.just("choose"), st.integers(0, 3)),
    ),
    min_size=10,
    max_size=80,
)


def follow(arc: str, asked: list[Any]) -> tuple[Case[Arc], list[Any]]:
    """The arc lives through all of it; its lane at the end, and everything it said."""
    case = lane(storyteller, entity=arc).when(StoryArcStartRequested(), entity=arc)
    log = list(case.said)
    for number, step in enumerate(asked):
        message, entity, by = (
            step if isinstance(step, tuple) and len(step) == 3 and step[1] in ("mira", "ben", "clock") else (*_resolve(step, case, log),)
        )
        if message is not None:
            case = case.when(message, entity=entity, subsystem=by, id=f"step-{number}")
            assert len(case.said) <= MAX_OUTPUTS
            log += case.said
    return case, log


def _resolve(step: Any, case: Case[Arc], log: list[Any]) -> tuple[Any, str, str]:
    arc = case.entity
    requests = [it.request_id for it in log if isinstance(it, InferenceRequested)]
    match step:
        case ("on", text) if case.state.phase == "telling":
            return _answer("answer", text, case.state.request, arc), arc, "inference"
        case ("on", text) if case.state.phase == "choosing":
            open_ = case.state.open
            return StoryChoiceRequested(player="mira", choice=open_[len(text) % len(open_)]), arc, "game"
        case "pulse" | ("on", _):
            return WakeFired(subsystem="storyteller", entity=arc, name="pulse"), "clock", "time"
        case ("wake", pick):
            wakes = [it.name for it in log if isinstance(it, WakeRequested)]
            return WakeFired(subsystem="storyteller", entity=arc, name=wakes[pick % len(wakes)]), "clock", "time"
        case ("choose", pick):
            open_ = case.state.open
            return StoryChoiceRequested(player="mira", choice=open_[pick % len(open_)] if open_ else "none"), arc, "game"
        case (how, text, newest) if requests:
            return _answer(how, text, requests[-1 if newest else 0], arc), arc, "inference"
        case _:
            return None, arc, "game"


def _answer(how: str, text: str, request: str, arc: str) -> Any:
    to: dict[str, Any] = {"request_id": request, "requester_subsystem": "storyteller", "requester_entity": arc}
    if how == "expired":
        return InferenceExpired(**to)
    to["measured"] = Measured(engine="vllm" if how == "answer" else "grammar")
    return InferenceCompleted(text=text, rung="full", **to) if how == "answer" else InferenceDegraded(text=text, rung="grammar", **to)


@given(arcs, steps)
@settings(deadline=None)
def test_a_fact_never_changes_and_only_what_the_table_knows_is_one(arc: str, asked: list[Any]) -> None:
    _, log = follow(arc, asked)

    facts = Counter(it.fact for it in log if isinstance(it, StoryFactEstablished))
    assert all(times == 1 for times in facts.values())
    for it in log:
        if isinstance(it, StoryFactEstablished):
            assert it.value in TABLES.arcs[arc].facts[it.fact]


@given(arcs, steps)
@settings(deadline=None)
def test_nothing_that_was_told_contradicts_what_was_known(arc: str, asked: list[Any]) -> None:
    _, log = follow(arc, asked)

    known: dict[str, str] = {}
    for it in log:
        if isinstance(it, StoryBeatBegan):
            wants = TABLES.arcs[arc].beats[it.beat].establishes
            assert all(known.get(fact, value) == value for fact, value in wants.items())
        if isinstance(it, StoryFactEstablished):
            known[it.fact] = it.value


@given(arcs, steps)
@settings(deadline=None)
def test_beats_come_one_after_the_other_each_once_and_each_is_told_once(arc: str, asked: list[Any]) -> None:
    _, log = follow(arc, asked)

    begun = [it for it in log if isinstance(it, StoryBeatBegan)]
    told_ = [it.number for it in log if isinstance(it, StoryNarrated)]
    assert [it.number for it in begun] == list(range(1, len(begun) + 1))
    assert len({it.beat for it in begun}) == len(begun)
    assert told_ == list(range(1, len(told_) + 1))
    assert len(begun) - len(told_) in (0, 1)
    assert all(it.text.strip() for it in log if isinstance(it, StoryNarrated))


@given(arcs, steps)
@settings(deadline=None)
def test_every_choice_is_made_once_and_was_open(arc: str, asked: list[Any]) -> None:
    _, log = follow(arc, asked)

    opened = {it.number: {path.name for path in it.choices} for it in log if isinstance(it, StoryChoiceOpened)}
    made = [it for it in log if isinstance(it, StoryChoiceMade)]
    assert all(it.choice in opened[it.number] for it in made)
    assert len({it.number for it in made}) == len(made)


@given(arcs, steps)
@settings(deadline=None)
def test_tension_stays_within_bounds_and_moves_without_jumps(arc: str, asked: list[Any]) -> None:
    _, log = follow(arc, asked)

    tension = 0
    for it in log:
        if isinstance(it, StoryTensionChanged):
            assert it.previous == tension
            assert 0 <= it.tension <= 1000
            tension = it.tension


@given(arcs, steps)
@settings(deadline=None)
def test_an_arc_that_is_over_says_no_more_and_the_state_is_the_fold(arc: str, asked: list[Any]) -> None:
    case, log = follow(arc, asked)

    ends = [number for number, it in enumerate(log) if isinstance(it, StoryArcEnded)]
    assert len(ends) <= 1
    if ends:
        quiet = {type(it) for it in log[ends[0] + 1 :]}
        assert not quiet & {StoryBeatBegan, StoryNarrated, StoryTensionChanged, StoryFactEstablished, StoryChoiceOpened}
    assert lane(storyteller, *log, entity=arc).state == case.state


@given(st.text(max_size=80))
@settings(deadline=None)
def test_a_condition_is_read_or_refused_with_what_was_wanted(text: str) -> None:
    try:
        assert parse_need(text).text == text
    except ValueError as refusal:
        problem = str(refusal)
    else:
        return

    assert problem.startswith("wanted beat:NAME")


@given(
    st.sampled_from(["", "!"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.integers(0, 9999),
)
def test_every_condition_says_what_it_means(sign: str, name: str, value: str, number: int) -> None:
    negated = sign == "!"

    def need(text: str, **means: Any) -> None:
        assert parse_need(sign + text) == Need(text=sign + text, negated=negated, **means)

    need(f"beat:{name}", kind="beat", name=name)
    need(f"fact:{name}={value}", kind="fact", name=name, value=value)
    need(f"count:{name}>={number}", kind="count", name=name, number=number)
    need(f"tension>={number}", kind=">=", number=number)
    need(f"tension<={number}", kind="<=", number=number)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("beat:a", True),
        ("!beat:a", False),
        ("beat:b", False),
        ("fact:f=x", True),
        ("fact:f=y", False),
        ("!fact:g=x", True),
        ("count:k>=2", True),
        ("count:k>=3", False),
        ("tension>=500", True),
        ("tension<=499", False),
    ],
)
def test_a_condition_looks_at_the_arc(text: str, holds: bool) -> None:
    assert parse_need(text).holds(Arc(played=("a",), facts=(("f", "x"),), counts=(("k", 2),), tension=500)) is holds
