"""The rules of stories, one by one, under a table small enough to know by heart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus.testing import Case, given
from handlers.storyteller import storyteller_of
from handlers.storyteller.decide import PATIENCE_MS
from handlers.storyteller.state import Arc
from handlers.storyteller.tables import load, parse
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain
from schemas.gen.worldbus.inference.v1.inference_pb2 import (
    InferenceCancelled,
    InferenceCompleted,
    InferenceDegraded,
    InferenceExpired,
    InferenceRejected,
    InferenceRequested,
)
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChanged, SceneChangeRequested, SceneDiscovered
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted, QuestFailed
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import (
    StoryArcBegan,
    StoryArcEnded,
    StoryArcStartRequested,
    StoryBeatBegan,
    StoryChoiceMade,
    StoryChoiceOpened,
    StoryChoiceRequested,
    StoryConsequence,
    StoryFactEstablished,
    StoryFactRefused,
    StoryNarrated,
    StoryRequestRefused,
    StoryTensionChanged,
)
from schemas.gen.worldbus.storyteller.v1.types_pb2 import StoryCandidate, StoryPath
from schemas.gen.worldbus.time.v1.time_pb2 import DayBegan, SeasonChanged, WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged
from tests.duskmarket import FOLDER

HOUR = 3_600_000
TABLE: dict[str, Any] = {
    "arcs": {
        "tally": {
            "title": "Tally",
            "premise": "Somebody counts.",
            "starts": ["scene:chalk"],
            "pulse_minutes": 60,
            "calm": 10,
            "choice_minutes": 120,
            "curve": [200, 600, 100],
            "facts": {"who": ["pell", "vane"], "ferryman": ["sold", "drowned"]},
            "stirs": [
                {"key": "chalk", "on": "scene", "value": "chalk", "tension": 50},
                {"key": "hounds", "on": "slain", "value": "hound", "tension": -20},
            ],
            "beats": [
                {"name": "calm-one", "title": "C", "text": "All quiet.", "tension": 100, "narrates": ["who"]},
                {
                    "name": "loud-one",
                    "title": "L",
                    "text": "A scream.",
                    "tension": 700,
                    "needs": ["beat:calm-one"],
                    "consequences": [{"kind": "heat", "target": "quay", "amount": 5, "text": "Lamps."}],
                    "changes": [{"scene": "chalk", "object": "squares", "condition": "washed"}],
                    "choices": [
                        {"name": "sell", "text": "Sell.", "establishes": {"ferryman": "sold"}},
                        {"name": "mourn", "text": "Mourn.", "establishes": {"ferryman": "drowned"}},
                    ],
                },
                {
                    "name": "drowned-end",
                    "title": "D",
                    "text": "Bells.",
                    "tension": 100,
                    "ends": True,
                    "establishes": {"ferryman": "drowned"},
                    "needs": ["beat:loud-one"],
                },
                {
                    "name": "sold-end",
                    "title": "S",
                    "text": "Coins.",
                    "tension": 300,
                    "ends": True,
                    "establishes": {"ferryman": "sold"},
                    "needs": ["beat:loud-one"],
                },
            ],
        }
    }
}
storyteller = storyteller_of(parse(TABLE, "test"))
FOUND = SceneDiscovered(scene="chalk", place="quay")
PULSE = WakeRequested(name="pulse", in_world_ms=HOUR)


def begun() -> Case[Arc]:
    return given(storyteller, entity="tally").when(StoryArcStartRequested(), entity="tally")


def woken(case: Case[Arc], name: str) -> Case[Arc]:
    return case.when(WakeFired(subsystem="storyteller", entity="tally", name=name), entity="clock", subsystem="time")


def one(case: Case[Arc], kind: type[Any]) -> Any:
    (it,) = [message for message in case.said if isinstance(message, kind)]
    return it


def answered(case: Case[Arc], text: str, rung: str = "full", engine: str = "openai") -> Case[Arc]:
    to = {
        "request_id": case.state.request,
        "requester_subsystem": "storyteller",
        "requester_entity": "tally",
        "measured": Measured(engine=engine),
    }
    answer: Any = InferenceCompleted if rung == "full" else InferenceDegraded
    return case.when(answer(text=text, rung=rung, **to), entity="tally", subsystem="inference")


def telling() -> Case[Arc]:
    """The first beat has begun and waits for its narration."""
    return woken(begun(), "pulse")


def choosing() -> Case[Arc]:
    """The second beat has been told and players have to choose."""
    return answered(woken(answered(telling(), "Quiet."), "pulse"), "A scream, then.")


def test_an_arc_begins_when_it_is_asked_to_and_once() -> None:
    case = begun().then(StoryArcBegan(title="Tally", premise="Somebody counts."), PULSE)

    refused = one(case.when(StoryArcStartRequested(), entity="tally"), StoryRequestRefused)

    assert refused.code == "ALREADY_BEGUN"


def test_an_arc_begins_with_what_its_table_says() -> None:
    case = given(storyteller, entity="tally")
    case.when(CreatureSlain(creature="hound"), entity="mira").then_nothing()

    case.when(FOUND, entity="mira", subsystem="narrative").then(
        StoryArcBegan(title="Tally", premise="Somebody counts."),
        PULSE,
        StoryTensionChanged(previous=0, tension=50, cause="stirred", detail="chalk", player="mira"),
    )


def test_the_world_stirs_it_within_bounds_and_is_counted() -> None:
    case = begun().when(FOUND, entity="mira", subsystem="narrative")
    for _ in range(3):
        case = case.when(CreatureSlain(creature="hound"), entity="mira")

    case.then(StoryTensionChanged(previous=10, tension=0, cause="stirred", detail="hounds", player="mira"))
    assert case.state.count("hounds") == 3


@pytest.mark.parametrize(
    ("on", "value", "message", "entity", "by"),
    [
        ("quest", "rounds", QuestCompleted(quest="rounds", ending="x"), "mira", "quest"),
        ("quest", "rounds=x", QuestCompleted(quest="rounds", ending="x"), "mira", "quest"),
        ("quest_failed", "rounds", QuestFailed(quest="rounds"), "mira", "quest"),
        ("scene", "chalk", FOUND, "mira", "narrative"),
        ("change", "chalk", SceneChanged(object="squares"), "chalk", "narrative"),
        ("bargain", "moth-lung", BargainStruck(kind="moth-lung"), "mira", "broker"),
        ("bargain", "any", BargainStruck(kind="moth-lung"), "mira", "broker"),
        ("raid", "any", RaidSuffered(), "mira", "broker"),
        ("slain", "hound", CreatureSlain(creature="hound"), "mira", "game"),
        ("slain", "hound", CreatureSlain(creature="hound"), "mira", "game-eu-1"),  # a game server by another name, as quests believe it
        ("weather", "storm", WeatherChanged(sky="storm"), "quay", "weather"),
        ("season", "winter", SeasonChanged(now=WorldTime(season="winter")), "clock", "time"),
        ("day", "any", DayBegan(now=WorldTime(day=2)), "clock", "time"),
    ],
)
def test_every_cause_has_its_event_and_only_from_who_owns_it(on: str, value: str, message: Any, entity: str, by: str) -> None:
    arc = {**TABLE["arcs"]["tally"], "stirs": [{"key": "it", "on": on, "value": value, "tension": 7}], "starts": []}
    case = given(storyteller_of(parse({"arcs": {"tally": arc}}, "test")), entity="tally").when(StoryArcStartRequested(), entity="tally")

    case.when(message, entity=entity, subsystem=by).then_types(StoryTensionChanged)
    case.when(message, entity=entity, subsystem="client").then_nothing()


def test_a_partys_quest_counts_in_its_members_words_only() -> None:
    arc = {**TABLE["arcs"]["tally"], "stirs": [{"key": "it", "on": "quest", "value": "hunt", "tension": 7}], "starts": []}
    case = given(storyteller_of(parse({"arcs": {"tally": arc}}, "test")), entity="tally").when(StoryArcStartRequested(), entity="tally")

    case.when(QuestCompleted(quest="hunt", members=["mira"]), entity="pack", subsystem="quest").then_nothing()
    case.when(QuestCompleted(quest="hunt", party="pack"), entity="mira", subsystem="quest").then_types(StoryTensionChanged)


def test_a_pulse_brings_the_beat_nearest_to_the_curve_and_says_why() -> None:
    case = telling()

    case.then_types(StoryBeatBegan, StoryTensionChanged, InferenceRequested, WakeRequested, WakeRequested)
    began = one(case, StoryBeatBegan)
    assert (began.number, began.beat, began.wanted, began.aimed) == (1, "calm-one", 200, 300)
    assert list(began.considered) == [
        StoryCandidate(beat="calm-one", distance=200),
        StoryCandidate(beat="loud-one", distance=400, barred_by="beat:calm-one"),
        StoryCandidate(beat="drowned-end", distance=200, barred_by="beat:loud-one"),
        StoryCandidate(beat="sold-end", distance=0, barred_by="beat:loud-one"),
    ]
    assert one(case, StoryTensionChanged) == StoryTensionChanged(previous=0, tension=50, cause="beat", detail="calm-one")


def test_the_request_shows_the_model_what_is_known_and_leaves_room_only_where_the_beat_does() -> None:
    request = one(telling(), InferenceRequested)

    assert (request.tier, request.kind) == ("silver", "story_beat")
    assert [(part.role, part.name) for part in request.prompt] == [
        ("system", "rules"),
        ("system", "premise"),
        ("system", "continuity"),
        ("system", "before"),
        ("user", "situation"),
    ]
    assert json.loads(request.json_schema)["properties"]["facts"]["properties"] == {"who": {"type": "string", "enum": ["pell", "vane"]}}
    assert json.loads(request.fallback.lines[0]) == {"text": "All quiet.", "facts": {}}
    assert one(telling(), InferenceRequested) == request


def test_the_request_looks_up_what_everybody_may_know_and_no_secret() -> None:
    request = one(telling(), InferenceRequested)

    assert request.knowledge.query == "C. All quiet."
    assert list(request.knowledge.audience) == ["public"], "everybody hears a beat"
    assert (request.knowledge.owner, request.knowledge.most, request.knowledge.token_budget) == ("", 4, 500)


def test_a_beat_without_room_asks_for_plain_text_and_knows_the_facts() -> None:
    case = woken(answered(telling(), json.dumps({"text": "Quiet.", "facts": {"who": "vane"}})), "pulse")
    request = one(case, InferenceRequested)

    assert request.json_schema == ""
    assert list(request.fallback.lines) == ["A scream."]
    assert "who: vane" in request.prompt[2].text


def test_the_answer_tells_the_beat_and_may_establish_what_it_was_given_room_for() -> None:
    case = answered(telling(), json.dumps({"text": "Pell it is.", "facts": {"who": "pell"}}))

    case.then(
        StoryNarrated(number=1, beat="calm-one", text="Pell it is.", rung="full", request_id=telling().state.request),
        StoryFactEstablished(fact="who", value="pell", number=1, source="narration"),
        WakeCancelRequested(name="told-1"),
    )


@pytest.mark.parametrize(
    ("claims", "refused"), [({"who": "nobody"}, "who"), ({"ferryman": "sold"}, "ferryman"), ({"moon": "green"}, "moon")]
)
def test_an_answer_cannot_establish_anything_else(claims: dict[str, str], refused: str) -> None:
    case = answered(telling(), json.dumps({"text": "Oh.", "facts": claims}))

    assert one(case, StoryFactRefused).fact == refused
    assert case.state.facts == ()


@pytest.mark.parametrize(
    "text", ["", "  ", "{", '{"text": 7}', '{"facts": {}}', '{"text": " ", "facts": {}}', '{"text": "\\ud800", "facts": {}}', "{" * 100_000]
)
def test_an_answer_that_cannot_be_used_is_told_in_the_authors_words(text: str) -> None:
    case = answered(telling(), text)

    assert (one(case, StoryNarrated).text, one(case, StoryNarrated).rung) == ("All quiet.", "authored")


def test_a_shorter_answer_of_a_model_keeps_its_rung() -> None:
    assert one(answered(telling(), "Plain words.", "shorter"), StoryNarrated).rung == "shorter"


@pytest.mark.parametrize(("rung", "engine"), [("grammar", "grammar"), ("authored", "authored"), ("full", "timed"), ("full", "grammar")])
def test_told_without_a_model_the_words_are_the_authors_and_no_fact_comes_of_them(rung: str, engine: str) -> None:
    case = answered(telling(), '{"text": "It was Pell.", "facts": {"who": "pell"}}', rung, engine)

    case.then_types(StoryNarrated, WakeCancelRequested)
    assert (one(case, StoryNarrated).text, one(case, StoryNarrated).rung) == ("All quiet.", "authored")
    assert case.state.facts == ()


def test_what_players_did_is_true_whoever_tells_the_story() -> None:
    stirs = [{"key": "told", "on": "quest", "value": "ferryman=told", "tension": 5, "establishes": {"ferryman": "sold"}}]
    arc = {**TABLE["arcs"]["tally"], "stirs": stirs}
    case = given(storyteller_of(parse({"arcs": {"tally": arc}}, "test")), entity="tally").when(StoryArcStartRequested(), entity="tally")

    case = case.when(QuestCompleted(quest="ferryman", ending="told"), entity="mira", subsystem="quest")
    case.then_types(StoryTensionChanged, StoryFactEstablished)
    assert one(case, StoryFactEstablished) == StoryFactEstablished(fact="ferryman", value="sold", source="deed")

    again = case.when(QuestCompleted(quest="ferryman", ending="told"), entity="tam", subsystem="quest")
    again.then_types(StoryTensionChanged)


@pytest.mark.parametrize("end", [InferenceExpired, InferenceCancelled, InferenceRejected])
def test_no_answer_is_told_in_the_authors_words(end: Any) -> None:
    case = telling()
    to = {"request_id": case.state.request, "requester_subsystem": "storyteller", "requester_entity": "tally"}

    assert one(case.when(end(**to), entity="tally", subsystem="inference"), StoryNarrated).rung == "authored"


def test_silence_is_told_in_the_authors_words_and_a_late_answer_changes_nothing() -> None:
    case = telling()
    assert WakeRequested(name="told-1", in_real_ms=PATIENCE_MS) in case.said
    request = case.state.request
    case = woken(case, "told-1")
    assert one(case, StoryNarrated).rung == "authored"

    late = InferenceCompleted(request_id=request, requester_subsystem="storyteller", requester_entity="tally", text="Late.", rung="full")

    case.when(late, entity="tally", subsystem="inference").then_nothing()


def test_only_inference_answers_and_only_what_was_asked() -> None:
    case = telling()
    forged = InferenceCompleted(request_id=case.state.request, requester_subsystem="storyteller", requester_entity="tally", text="Ha.")
    case.when(forged, entity="tally", subsystem="game").then_nothing()
    other = InferenceCompleted(request_id="another", requester_subsystem="storyteller", requester_entity="tally", text="Ha.")

    case.when(other, entity="tally", subsystem="inference").then_nothing()


def test_a_beat_has_consequences() -> None:
    case = woken(answered(telling(), "Quiet."), "pulse")

    assert one(case, StoryConsequence) == StoryConsequence(number=2, kind="heat", target="quay", amount=5, text="Lamps.")
    assert one(case, SceneChangeRequested) == SceneChangeRequested(scene="chalk", object="squares", condition="washed", reason="loud-one")


def test_the_first_player_to_choose_decides() -> None:
    case = choosing()
    opened = one(case, StoryChoiceOpened)
    assert list(opened.choices) == [StoryPath(name="sell", text="Sell."), StoryPath(name="mourn", text="Mourn.")]
    assert WakeRequested(name="choice-2", in_world_ms=2 * HOUR) in case.said
    wrong = one(case.when(StoryChoiceRequested(player="mira", choice="flee"), entity="tally"), StoryRequestRefused)
    assert wrong.code == "UNKNOWN_CHOICE"
    nobody = one(case.when(StoryChoiceRequested(choice="mourn"), entity="tally"), StoryRequestRefused)
    assert nobody.code == "NO_PLAYER"

    case = case.when(StoryChoiceRequested(player="mira", choice="mourn"), entity="tally")

    case.then(
        StoryChoiceMade(number=2, choice="mourn", player="mira"),
        WakeCancelRequested(name="choice-2"),
        StoryFactEstablished(fact="ferryman", value="drowned", number=2, source="choice"),
    )
    second = one(case.when(StoryChoiceRequested(player="ben", choice="sell"), entity="tally"), StoryRequestRefused)
    assert second.code == "NO_CHOICE"


def test_time_takes_the_first_way() -> None:
    woken(choosing(), "choice-2").then(
        StoryChoiceMade(number=2, choice="sell"), StoryFactEstablished(fact="ferryman", value="sold", number=2, source="choice")
    )


def test_no_beat_begins_while_players_choose_but_tension_eases() -> None:
    case = choosing()
    before = case.state.tension

    woken(case, "pulse").then(StoryTensionChanged(previous=before, tension=before - 10, cause="eased"), PULSE)


def test_a_beat_that_would_contradict_what_is_known_never_comes() -> None:
    """The curve wants 100, and `drowned-end` would be nearest: but he was sold."""
    case = woken(woken(choosing(), "choice-2"), "pulse")
    began = one(case, StoryBeatBegan)

    assert began.beat == "sold-end"
    assert [each.barred_by for each in began.considered] == ["fact:ferryman=sold", ""]


def test_an_arc_ends_with_the_beat_that_ends_it() -> None:
    case = answered(woken(woken(choosing(), "choice-2"), "pulse"), "Coins.")
    case.then_types(StoryNarrated, WakeCancelRequested, StoryArcEnded, WakeCancelRequested)
    assert one(case, StoryArcEnded) == StoryArcEnded(beat="sold-end", beats=3)

    woken(case, "pulse").then_nothing()
    case.when(FOUND, entity="mira", subsystem="narrative").then_nothing()


def test_an_arc_of_which_nothing_can_come_any_more_ends() -> None:
    beats = [{"name": "only", "title": "O", "text": "Once.", "tension": 0}]
    arc = {**TABLE["arcs"]["tally"], "beats": beats, "stirs": [], "starts": []}
    case = given(storyteller_of(parse({"arcs": {"tally": arc}}, "test")), entity="tally").when(StoryArcStartRequested(), entity="tally")
    case = woken(answered(woken(case, "pulse"), "Once."), "pulse")

    case.then(StoryArcEnded(beat="only", beats=1))


# -- the sample world without any model ----------------------------------------------------------------------------------------------------

DUSKMARKET = storyteller_of(load(FOLDER / "story.toml"))
TOLD = QuestCompleted(quest="missing-ferryman", ending="told")
SILENCED = QuestCompleted(quest="missing-ferryman", ending="silenced")
BELL = QuestCompleted(quest="bell-for-the-drowned", ending="tolled")


def the_tally(*deeds: QuestCompleted) -> list[Any]:
    """Everything that the arc publishes over five weeks without a model, players having done these deeds on its first day."""
    case = given(DUSKMARKET, entity="the-tally").when(SceneDiscovered(scene="chalk-on-the-quay"), entity="mira", subsystem="narrative")
    log = list(case.said)
    wakes = [it.name for it in log if isinstance(it, WakeRequested)]
    for pulse in range(35 * 48):
        if pulse % 48 == 47:
            case = case.when(DayBegan(), entity="clock", subsystem="time", id=f"day-{pulse}")
            log += case.said
        for deed in deeds if pulse == 10 else ():
            case = case.when(deed, entity="mira", subsystem="quest", id=f"deed-{deed.quest}")
            log += case.said
        for name in ("pulse", *(name for name in wakes if name.startswith("told"))):
            case = case.when(
                WakeFired(subsystem="storyteller", entity="the-tally", name=name), entity="clock", subsystem="time", id=f"{name}-{pulse}"
            )
            log += case.said
            wakes += [it.name for it in case.said if isinstance(it, WakeRequested)]
        if case.state.phase == "choosing":
            case = case.when(StoryChoiceRequested(player="mira", choice=case.state.open[0]), entity="the-tally", id=f"choice-{pulse}")
            log += case.said
    return log


@pytest.mark.parametrize(
    ("deeds", "end"),
    [((), "the-reckoning"), ((TOLD,), "the-reckoning"), ((TOLD, BELL), "the-drowned-are-named"), ((SILENCED,), "he-comes-ashore")],
)
def test_every_end_of_the_tally_can_be_reached_without_a_model_by_what_players_did(deeds: tuple[QuestCompleted, ...], end: str) -> None:
    log = the_tally(*deeds)

    beats = [it.beat for it in log if isinstance(it, StoryBeatBegan)]
    assert end in beats
    assert not {"the-reckoning", "the-drowned-are-named", "he-comes-ashore"} - {end} & set(beats)
    assert isinstance([it for it in log if isinstance(it, (StoryNarrated, StoryArcEnded))][-1], StoryArcEnded)
    assert {it.source for it in log if isinstance(it, StoryFactEstablished)} <= {"beat", "choice", "deed"}
    known = {it.fact: it.value for it in log if isinstance(it, StoryFactEstablished)}
    if TOLD in deeds:
        assert known["ferryman"] == "sold"
