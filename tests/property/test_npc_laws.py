"""Laws of characters, whatever players, models, the clock and the world say in whatever order."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.npc_behavior.dialogue import checked, read
from handlers.npc_behavior.mind import faded
from handlers.npc_behavior.prompt import MAX_SAY, deeds
from handlers.npc_behavior.read import load
from handlers.npc_behavior.state import MOST_ABOUT_ONE, MOST_MEMORIES, MOST_PER_PAGE, Npc, Tie
from inference import ladder
from inference.dressing import fits
from inference.request import problem_of
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import (
    InferenceCancelled,
    InferenceCompleted,
    InferenceDegraded,
    InferenceExpired,
    InferenceRejected,
    InferenceRequested,
)
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted, QuestFailed
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryConsequence
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import FOLDER, npc, time

TABLES = load(FOLDER / "npcs.toml")
LADDERS = ladder.load(FOLDER / "ladder.toml")
NPCS = ("widow-hask", "doctor-vane")
players = st.sampled_from(["mira", "tam", "ann"])
npcs = st.sampled_from([*NPCS, "nobody"])
places = st.sampled_from(["quay", "fishmarket", ""])
texts = st.one_of(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), st.just("was he seen at the bell?"))
answers = st.one_of(
    texts,
    st.fixed_dictionaries(
        {"say": texts, "emotion": st.sampled_from([*TABLES.emotions, "smug"]), "action": st.sampled_from([*TABLES.actions, "none", "fly"])}
    ).map(json.dumps),
)
endings = st.sampled_from([InferenceCompleted, InferenceDegraded, InferenceExpired, InferenceRejected, InferenceCancelled])

deeds_of_players = st.one_of(
    st.builds(lambda npc, place, text: PlayerSpoke(npc=npc, place=place, text=text), npcs, places, texts),
    st.builds(lambda npc, place: NpcAttacked(npc=npc, place=place), npcs, places),
    st.builds(
        lambda npc, item, value: ItemGiven(to=npc, sku=item, value_minor=value),
        npcs,
        st.sampled_from(["chapel-candle", "leech-jar", "x"]),
        st.integers(-(2**63), 2**63 - 1),
    ),
    st.builds(lambda place, many: CreatureSlain(creature="moor-hound", place=place, quantity=many), places, st.integers(-5, 99)),
)
steps = st.one_of(
    st.tuples(st.just("game"), players, deeds_of_players),
    st.tuples(st.just("quest"), players, st.sampled_from([QuestCompleted(quest="missing-ferryman", ending="told"), QuestFailed()])),
    st.tuples(
        st.just("storyteller"),
        st.just("the-tally"),
        st.builds(lambda text: StoryConsequence(kind="rumour", target="quay", text=text), texts),
    ),
    st.tuples(st.just("clock"), st.just("clock"), st.integers(1, 3_000).map(lambda ms: RealTimePassed(real_ms=ms))),
    st.tuples(st.just("answer"), st.integers(0, 5), st.tuples(endings, answers)),
)
Steps = list[tuple[str, Any, Any]]


def live(wishes: Steps) -> Rehearsal:
    town = Rehearsal(time, npc)
    town.say(ClockStartRequested(scale=3_600_000), entity="clock")
    for edge, who, what in wishes:
        if edge == "answer":
            _answer(town, who, *what)
        else:
            speaker = "inventory" if isinstance(what, ItemGiven) else "game" if edge == "clock" else edge
            town.say(what, entity=who, subsystem=speaker)
    return town


def _answer(town: Rehearsal, number: int, cls: Any, text: str) -> None:
    """One of the last questions is answered, perhaps not for the first time."""
    asked = [event for event in town.log if isinstance(event.data, InferenceRequested)]
    if number < len(asked):
        event = asked[-1 - number]
        body = {"spoken": text} if cls is InferenceCancelled else {"text": text} if cls in (InferenceCompleted, InferenceDegraded) else {}
        ended = cls(request_id=event.data.request_id, requester_subsystem="npc", requester_entity=event.entity, **body)
        town.say(ended, entity=event.entity, subsystem="inference")


def known(town: Rehearsal) -> list[Npc]:
    return [town.state(npc, name) for name in TABLES.npcs]


@given(st.lists(steps, max_size=50))
@settings(deadline=None)
def test_states_are_the_fold_of_what_was_said_keep_their_bounds_and_survive_a_snapshot(wishes: Steps) -> None:
    town = live(wishes)
    assert town.refold() == {lane: town.state(town.handlers[lane[0]], lane[1]) for lane in town.refold()}
    for state in known(town):
        assert len(state.memories) <= MOST_MEMORIES
        assert len(state.questions) <= TABLES.dialogue.most_open
        assert all(0 <= level <= 1000 for level in state.needs.values())
        assert -1000 <= state.mood.value <= 1000
        assert all(0 <= goal.value <= 1000 for goal in state.goals.values())
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Npc) == state
        for page in state.ties:
            assert len(page) <= MOST_PER_PAGE
            for tie in page.values():
                assert len(tie.memories) <= MOST_ABOUT_ONE
                assert -1000 <= tie.trust <= 1000
                assert 0 <= tie.fear <= 1000
                assert -1000 <= tie.affection <= 1000


@given(st.lists(steps, max_size=50))
@settings(deadline=None)
def test_every_question_ends_once_and_every_word_is_answered_or_kept_from(wishes: Steps) -> None:
    town = live(wishes)
    asked = {event.data.request_id for event in town.log if isinstance(event.data, InferenceRequested)}
    ended = [it.request_id for it in town.said(said.NpcSpoke, said.NpcKeptSilent) if it.request_id]
    open_ones = {name for state in known(town) for name in state.questions}

    assert len(ended) == len(set(ended))
    assert set(ended) | open_ones == asked
    assert not set(ended) & open_ones
    heard = [event for event in town.log if isinstance(event.data, PlayerSpoke) and event.data.npc in TABLES.npcs]
    at_once = [it for it in town.said(said.NpcSpoke, said.NpcKeptSilent) if not it.request_id]
    assert len(heard) == len(asked) + len(at_once)


@given(st.lists(steps, max_size=50))
@settings(deadline=None)
def test_nobody_does_what_they_may_not_and_every_choice_is_explained(wishes: Steps) -> None:
    for event in live(wishes).log:
        if isinstance(event.data, said.NpcActed):
            it, persona = event.data, TABLES.npcs[event.entity]
            assert it.action in persona.may
            assert it.place in persona.haunts
            kind = {"pulse": "life", "attacked": "reaction", "dialogue": "spoken"}[it.cause]
            assert TABLES.actions[it.action].kind == kind
            if it.cause != "dialogue":
                assert it.action == it.considered[0].action
                assert it.considered[0].score == max(option.score for option in it.considered)
                assert all(option.score == sum(part.points for part in option.parts) for option in it.considered)
        if isinstance(event.data, said.NpcSpoke):
            assert 0 < len(event.data.text) <= MAX_SAY
            assert event.data.text.isprintable()
            assert event.data.emotion in TABLES.emotions


@given(st.lists(steps, max_size=50))
@settings(deadline=None)
def test_recorded_changes_add_up_to_recorded_feelings(wishes: Steps) -> None:
    for event in live(wishes).log:
        if isinstance(event.data, said.RelationshipChanged):
            it = event.data
            assert (it.trust_change, it.fear_change, it.affection_change, it.debt_change_minor) != (0, 0, 0, 0)
            assert abs(it.trust - it.trust_change) <= 1000
            assert 0 <= it.fear - it.fear_change <= 1000
            assert abs(it.affection - it.affection_change) <= 1000


@given(st.lists(steps, max_size=30))
@settings(deadline=None)
def test_memories_are_numbered_without_gaps_and_forgotten_once(wishes: Steps) -> None:
    town = live(wishes)
    for name in TABLES.npcs:
        made = [it.number for it in town.said(said.NpcRemembered, said.NpcMemoriesMerged, entity=name)]
        gone = [number for it in town.said(said.NpcRemembered, entity=name) for number in it.crowded_out]
        gone += [number for it in town.said(said.NpcForgot, entity=name) for number in it.numbers]

        assert made == list(range(1, len(made) + 1))
        assert len(gone) == len(set(gone))
        assert set(gone) <= set(made)


@given(st.lists(steps, max_size=40))
@settings(deadline=None)
def test_every_question_keeps_the_rules_of_requests_and_its_own_lines_fit_its_shape(wishes: Steps) -> None:
    for it in live(wishes).said(InferenceRequested):
        assert problem_of(it, 0, LADDERS) is None
        assert all(fits(line, it.json_schema, ()) for line in it.fallback.lines)
        assert [part.role for part in it.prompt][:3] == ["system"] * 3
        assert "system" not in [part.role for part in it.prompt][3:]


@given(st.lists(steps, max_size=25))
@settings(deadline=None)
def test_the_same_inputs_give_the_same_log(wishes: Steps) -> None:
    assert [event.raw for event in live(wishes).log] == [event.raw for event in live(wishes).log]


@given(st.text(max_size=300) | answers, st.integers(-1000, 1000), st.integers(0, 1000), st.integers(-1000, 1000))
@settings(deadline=None)
def test_no_answer_of_a_model_gets_past_the_list_of_deeds(text: str, trust: int, fear: int, affection: int) -> None:
    tie, persona = Tie(trust=trust, fear=fear, affection=affection), TABLES.npcs["doctor-vane"]
    turn = checked(TABLES, persona, tie, read(text))

    assert turn.problem is not None or not turn.action or turn.action in deeds(TABLES, persona, tie)
    assert turn.emotion in TABLES.emotions
    assert turn.say or turn.problem


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**10))
def test_fading_only_ever_brings_nearer_to_nothing(value: int, sooner: int, later: int, half: int) -> None:
    first, second = sorted((sooner, later))
    one, other = faded(value, first, half), faded(value, second, half)

    assert 0 <= abs(other) <= abs(one) <= abs(value)
    assert one * value >= 0
    assert faded(value, 0, half) == faded(value, -sooner, half) == value
    assert abs(faded(value, half, half)) == abs(value) // 2
