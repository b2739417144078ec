"""The rules of characters: time, needs, deeds and their scores, feelings, perception, goals, memories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest

from bus.testing import Case, Rehearsal, given
from handlers.npc_behavior import npc_behavior
from handlers.npc_behavior.gist import MERGED_AT, MOST_GISTS, gist
from handlers.npc_behavior.memory import recall
from handlers.npc_behavior.mind import faded, needs_now, salience_now, tie_now
from handlers.npc_behavior.read import load
from handlers.npc_behavior.state import MOST_ABOUT_ONE, MOST_MEMORIES, MOST_PER_PAGE, PAGES, PULSE, Memory, Npc, Tie
from handlers.npc_behavior.tables import HOUR_MS
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck, RaidSuffered
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneChanged, SceneDiscovered
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.npc.v1.types_pb2 import NpcNeed
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAccepted, QuestCompleted, QuestFailed
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryBeatBegan, StoryConsequence
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, ClockStartRequested, DayBegan, RealTimePassed, WakeFired, WakeRequested
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from schemas.gen.worldbus.weather.v1.weather_pb2 import WeatherChanged, WeatherOverrideRequested, ZoneDeclared
from tests.duskmarket import FOLDER, npc, time, weather

TABLES = load(FOLDER / "npcs.toml")
HASK, VANE, PELL = (TABLES.npcs[name] for name in ("widow-hask", "doctor-vane", "warden-pell"))
NOON = WorldTime(world_ms=4 * HOUR_MS, hour=12, season="spring", time_of_day="day")
INVENTORY = "inventory"


def at(place: str = "quay", *history: Any, entity: str = "widow-hask") -> Case[Npc]:
    """A character who has appeared at a place, after it said `history`."""
    return given(npc, said.NpcAppeared(place=place), *history, entity=entity)


def woken(case: Case[Npc], now: WorldTime = NOON, name: str = PULSE) -> Case[Npc]:
    return case.when(WakeFired(subsystem="npc", entity=case.entity, name=name, now=now), entity="clock", subsystem="time")


def one(case: Case[Npc], cls: Any) -> Any:
    """The only message of this type that was said."""
    (found,) = (message for message in case.said if isinstance(message, cls))
    return found


def town(*, hours: int = 0, scale: int = 3_600_000) -> Rehearsal:
    street = Rehearsal(time, weather, npc)
    street.say(ClockStartRequested(scale=scale), entity="clock")
    for place in TABLES.at:
        street.say(ZoneDeclared(climate="harbour", seed=5), entity=place)
    pass_time(street, hours)
    return street


def pass_time(street: Rehearsal, hours: int) -> None:
    for _ in range(hours * 2):
        street.say(RealTimePassed(real_ms=500), entity="clock")  # half a world hour


# ---- time -----------------------------------------------------------------------------------------------------------------------------


def test_every_character_appears_when_the_clock_starts() -> None:
    street = Rehearsal(time, npc)
    street.say(ClockStartRequested(), entity="clock")

    assert [(event.entity, event.data.place) for event in street.log if event.name == "NpcAppeared"] == [
        (name, persona.home) for name, persona in TABLES.npcs.items()
    ]


def test_who_appeared_before_the_clock_was_started_gets_its_pulse_then() -> None:
    case = given(npc, entity="widow-hask").when(PlayerSpoke(npc="widow-hask", text="Hello"), entity="mira")
    assert case.said[:2] == (said.NpcAppeared(name="Widow Hask", place="quay"), WakeRequested(name=PULSE))

    case.when(ClockStarted(), entity="clock", subsystem="time").then(WakeRequested(name=PULSE))


def test_a_day_begins_without_a_word_unless_a_pulse_was_lost() -> None:
    case = woken(at(), NOON)
    midnight = DayBegan(now=WorldTime(world_ms=NOON.world_ms + TABLES.pulse_ms))
    case.when(midnight, entity="clock", subsystem="time").then_nothing()
    later = DayBegan(now=WorldTime(world_ms=NOON.world_ms + 24 * HOUR_MS))

    case.when(later, entity="clock", subsystem="time").then(WakeRequested(name=PULSE))


def test_a_pulse_asks_for_the_next_and_notices_time_and_season() -> None:
    case = woken(at())

    assert case.said[:3] == (
        WakeRequested(name=PULSE, at_world_ms=NOON.world_ms + TABLES.pulse_ms),
        said.NpcNoticed(kind="season", value="spring", world_ms=NOON.world_ms),
        said.NpcNoticed(kind="time_of_day", value="day", world_ms=NOON.world_ms),
    )
    case.then_state(world_ms=NOON.world_ms, season="spring", time_of_day="day")


def test_wakes_of_others_old_pulses_and_other_names_are_passed_over() -> None:
    case = woken(at())
    woken(case).then_nothing()
    woken(at(), name="lunch").then_nothing()
    other = WakeFired(subsystem="weather", entity="widow-hask", name=PULSE, now=NOON)
    at().when(other, entity="clock", subsystem="time").then_nothing()
    at().when(WakeFired(subsystem="npc", entity="widow-hask", name=PULSE, now=NOON), entity="clock", subsystem="game").then_nothing()


# ---- deeds ----------------------------------------------------------------------------------------------------------------------------


def test_a_deed_is_recorded_with_everything_that_was_weighed() -> None:
    acted = one(woken(at()), said.NpcActed)

    assert (acted.action, acted.place, acted.cause) == ("eat", "quay", "pulse")
    assert acted.considered[0].action == acted.action
    assert {option.action for option in acted.considered} == {name for name in HASK.may if TABLES.actions[name].kind == "life"}
    assert [option.score for option in acted.considered] == sorted((option.score for option in acted.considered), reverse=True)
    for option in acted.considered:
        assert option.score == sum(part.points for part in option.parts)
        assert all(part.points for part in option.parts)
    assert {part.part: part.points for part in acted.considered[0].parts}["schedule"] == 540, "450, and a fifth more for the conscientious"


def test_going_on_with_the_same_deed_says_nothing() -> None:
    case = woken(at())
    later = WorldTime(world_ms=NOON.world_ms + TABLES.pulse_ms, hour=12, minute=30, season="spring", time_of_day="day")

    woken(case, later).then_types(WakeRequested)


def test_the_same_deed_at_another_place_is_a_way_to_go() -> None:
    elsewhere = at("reed-path", said.NpcActed(action="eat", place="reed-path", cause="pulse"))
    acted = one(woken(elsewhere), said.NpcActed)

    assert (acted.action, acted.previous_place, acted.place) == ("eat", "reed-path", "quay")


def test_the_schedule_leads_through_the_day_and_from_place_to_place() -> None:
    street = town(hours=24)
    seen = {(event.data.action, event.data.place) for event in street.log if event.name == "NpcActed" and event.entity == "widow-hask"}

    assert {("work", "quay"), ("mourn", "reed-path"), ("sleep", "quay"), ("eat", "quay")} <= seen


def test_a_pressing_need_beats_the_schedule() -> None:
    hungry = said.NpcActed(action="work", place="quay", cause="pulse", needs=[NpcNeed(need="food", level=1000)], world_ms=NOON.world_ms)
    afternoon = WorldTime(world_ms=NOON.world_ms, hour=15, season="spring", time_of_day="day")

    assert one(woken(at("quay", hungry), afternoon), said.NpcActed).action == "eat"


def test_a_dark_mood_makes_one_mourn_and_night_makes_one_sleep() -> None:
    def points(case: Case[Npc], action: str) -> dict[str, int]:
        considered = one(woken(case), said.NpcActed).considered
        return {part.part: part.points for option in considered if option.action == action for part in option.parts}

    assert points(at("quay", said.NpcMoodChanged(mood=-1000, world_ms=NOON.world_ms)), "mourn")["mood"] == 150
    assert "mood" not in points(at(), "mourn")
    night = WorldTime(world_ms=NOON.world_ms, hour=23, season="spring", time_of_day="night")
    option = next(each for each in one(woken(at(), night), said.NpcActed).considered if each.action == "sleep")
    assert {part.part: part.points for part in option.parts}["time"] == 120
    resting = at("quay", said.NpcActed(action="mourn", place="quay", cause="pulse"))
    assert points(resting, "mourn")["habit"] == TABLES.habit


def test_who_is_fond_of_the_attacker_pleads() -> None:
    def plea(affection: int) -> int:
        case = at("quay", said.RelationshipChanged(player="mira", affection=affection))
        acted = one(case.when(NpcAttacked(npc="widow-hask", place="quay"), entity="mira"), said.NpcActed)
        option = next(each for each in acted.considered if each.action == "plead")
        return {part.part: part.points for part in option.parts}.get("affection", 0)

    assert plea(1000) > 0 > plea(0)


def test_a_storm_sends_who_would_walk_to_shelter() -> None:
    afternoon = WorldTime(world_ms=NOON.world_ms, hour=15, season="spring", time_of_day="day")
    walking = woken(at("old-moor", entity="doctor-vane"), afternoon)
    assert one(walking, said.NpcActed).action == "walk"
    stormy = at("old-moor", said.NpcNoticed(kind="weather", place="old-moor", value="storm"), entity="doctor-vane")
    acted = one(woken(stormy, afternoon), said.NpcActed)

    assert acted.action == "shelter"
    assert {part.part: part.points for part in acted.considered[0].parts}["weather"] == 700


def test_weather_reaches_everybody_who_may_be_there() -> None:
    street = town(hours=1)
    street.say(WeatherOverrideRequested(sky="storm", intensity=1, for_world_ms=HOUR_MS), entity="reed-path")
    noticed = {event.entity for event in street.log if event.name == "NpcNoticed" and event.data.value == "storm"}

    assert noticed == {"widow-hask", "mother-sedge"}
    at().when(WeatherChanged(sky="storm"), entity="quay", subsystem="game").then_nothing()


def test_needs_grow_with_time_and_the_deed_that_goes_on_relieves_them() -> None:
    working = at("quay", said.NpcActed(action="sleep", place="quay", cause="pulse", needs=[NpcNeed(need="rest", level=500)])).state
    after = needs_now(TABLES, HASK, working, 2 * HOUR_MS)

    assert after["rest"] == 500 - 2 * (160 - 45)
    assert after["food"] == 2 * (55 - 40)
    assert after["company"] == 2 * 25, "a quiet person needs it more slowly: 30, less 15 %"


def test_asked_twice_the_same_is_chosen() -> None:
    assert woken(at()).said == woken(at()).said


# ---- feelings -------------------------------------------------------------------------------------------------------------------------


def test_a_gift_is_liked_owed_and_remembered() -> None:
    case = at().when(ItemGiven(to="widow-hask", sku="grave-salt", value_minor=100), entity="mira", subsystem=INVENTORY)
    felt, memory = one(case, said.RelationshipChanged), one(case, said.NpcRemembered)

    assert (felt.trust, felt.affection, felt.debt_minor, felt.cause) == (51, 102, 100, "gift")
    assert (memory.memory, memory.player, memory.kind, memory.salience) == ("mira gave me grave-salt.", "mira", "gift", 300)
    assert memory.about_position == case.position - len(case.said)


def test_a_character_that_parts_with_something_where_no_deed_hands_over_goes_on() -> None:
    talkers = npc_behavior(replace(TABLES, actions={name: action for name, action in TABLES.actions.items() if not action.hands_over}))
    case = given(talkers, said.NpcAppeared(place="quay"), entity="widow-hask")

    case.when(ItemGiven(to="doctor-vane", sku="lantern"), entity="widow-hask", subsystem=INVENTORY).then_nothing()


def test_what_she_likes_counts_more_and_what_she_does_not_turns_round() -> None:
    def affection(item: str) -> int:
        return int(
            one(
                at().when(ItemGiven(to="widow-hask", sku=item, value_minor=100), entity="mira", subsystem=INVENTORY),
                said.RelationshipChanged,
            ).affection
        )

    assert affection("chapel-candle") > affection("grave-salt") > 0 > affection("leech-jar")
    unwanted = at().when(ItemGiven(to="widow-hask", sku="leech-jar", value_minor=100), entity="mira", subsystem=INVENTORY)
    assert one(unwanted, said.RelationshipChanged).debt_minor == 0, "nobody owes for what they did not want"


def test_an_attack_frightens_and_is_answered_by_what_she_is_like() -> None:
    case = at().when(NpcAttacked(npc="widow-hask", place="quay"), entity="mira")
    felt, acted = one(case, said.RelationshipChanged), one(case, said.NpcActed)

    assert (felt.trust, felt.fear, felt.affection) == (-337, 480, -262)
    assert (acted.action, acted.target, acted.cause) == ("flee", "mira", "attacked")
    assert one(case, said.NpcMoodChanged).mood == -400
    assert case.state.needs["safety"] == 700
    vane = at("quay", entity="doctor-vane").when(NpcAttacked(npc="doctor-vane", place="quay"), entity="mira")
    assert one(vane, said.NpcActed).considered[0].score > next(
        option.score for option in one(vane, said.NpcActed).considered if option.action == "flee"
    ), "the doctor does not run first"


def test_witnesses_take_it_by_their_bond_with_the_victim() -> None:
    def trust(victim: str, place: str = "quay") -> int:
        case = at(place, entity="warden-pell").when(NpcAttacked(npc=victim, place="quay"), entity="mira")
        return int(one(case, said.RelationshipChanged).trust) if case.said else 0

    assert trust("widow-hask") < trust("mother-sedge") < trust("doctor-vane") < 0, "a friend, a stranger, an enemy"
    assert trust("widow-hask", "north-pass") == 0, "elsewhere nothing is seen"


def test_who_is_not_there_sees_no_creature_die() -> None:
    slain = CreatureSlain(creature="moor-hound", place="old-moor", quantity=2)
    case = at("old-moor", entity="mother-sedge").when(slain, entity="mira")

    assert one(case, said.NpcRemembered).memory == "mira killed 2 moor-hound at old-moor, within my sight."
    at("quay", entity="mother-sedge").when(slain, entity="mira").then_nothing()


def test_gifts_are_taken_by_temper_and_old_feelings_count_as_they_are_now() -> None:
    later = WakeFired(subsystem="npc", entity="widow-hask", name=PULSE, now=WorldTime(world_ms=TABLES.halves.trust, hour=12))
    case = at("quay", said.RelationshipChanged(player="mira", trust=400)).when(later, entity="clock", subsystem="time")
    felt = one(
        case.when(ItemGiven(to="widow-hask", sku="grave-salt", value_minor=100), entity="mira", subsystem=INVENTORY),
        said.RelationshipChanged,
    )

    assert (felt.trust, felt.trust_change) == (251, 51), "half of 400 is left"


def test_feelings_fade_and_debts_do_not() -> None:
    tie = Tie(trust=400, fear=400, affection=-400, debt_minor=7)
    after = tie_now(TABLES, HASK, tie, TABLES.halves.trust)

    assert (after.trust, after.affection, after.debt_minor) == (200, -200, 7)
    assert after.fear == faded(400, TABLES.halves.trust, TABLES.halves.fear * 1550 // 1000), "fear passes sooner, later for the nervous"


def test_nobody_is_known_without_end() -> None:
    case = at()
    page = crc32(b"p0") % PAGES
    strangers = [name for name in (f"p{number}" for number in range(9000)) if crc32(name.encode()) % PAGES == page][: MOST_PER_PAGE + 1]
    for player in strangers:
        case = case.when(
            ItemGiven(to="widow-hask", sku="grave-salt", value_minor=10**6 if player == "p0" else 1), entity=player, subsystem="inventory"
        )
    assert one(case, said.NpcForgotPlayer).player == min(strangers[1:-1]), "of those who mean least, by name"
    assert len(case.state.page("p0")) == MOST_PER_PAGE

    assert "p0" in case.state.page("p0")
    assert strangers[-1] in case.state.page("p0")
    again = case.when(ItemGiven(to="widow-hask", sku="grave-salt", value_minor=1), entity="p0", subsystem=INVENTORY)
    assert not [message for message in again.said if isinstance(message, said.NpcForgotPlayer)], "who is known needs no room"


# ---- what others say ------------------------------------------------------------------------------------------------------------------


def test_a_quest_taken_from_her_is_remembered() -> None:
    case = at().when(QuestAccepted(quest="missing-ferryman", giver="widow-hask", title="The Ferryman"), entity="mira", subsystem="quest")

    assert one(case, said.NpcRemembered).memory == "mira took on what I asked for: The Ferryman."


def test_the_table_says_what_a_quest_means_to_whom() -> None:
    told = QuestCompleted(quest="missing-ferryman", ending="told")
    case = at().when(told, entity="mira", subsystem="quest")
    felt = one(case, said.RelationshipChanged)

    assert (felt.trust, felt.cause) == (500, "quest:missing-ferryman=told")
    assert one(case, said.NpcGoalChanged) == said.NpcGoalChanged(goal="find-him", reached=True, cause="quest:missing-ferryman=told")
    assert one(case, said.NpcMoodChanged).mood == -300
    at("fishmarket", entity="doctor-vane").when(told, entity="mira", subsystem="quest").then_nothing()
    at().when(told, entity="mira", subsystem="game").then_nothing()


def test_a_goal_that_is_reached_does_not_come_back() -> None:
    case = at().when(QuestCompleted(quest="missing-ferryman", ending="told"), entity="mira", subsystem="quest")
    case = case.when(QuestFailed(quest="missing-ferryman"), entity="tam", subsystem="quest")

    assert not [message for message in case.said if isinstance(message, said.NpcGoalChanged)]
    assert "what became of her husband" not in next(
        part.text
        for part in case.when(PlayerSpoke(npc="widow-hask"), entity="mira").said[-1].prompt  # type: ignore[attr-defined]
        if part.name == "persona"
    )


def test_a_failed_quest_disappoints_and_makes_the_goal_more_urgent() -> None:
    case = at().when(QuestFailed(quest="missing-ferryman"), entity="mira", subsystem="quest")

    assert one(case, said.RelationshipChanged).trust < 0
    assert one(case, said.NpcGoalChanged).urgency == 900


def test_scenes_and_beats_mean_something_to_those_who_wait_for_them() -> None:
    found = at("fishmarket", entity="doctor-vane").when(SceneDiscovered(scene="cold-room"), entity="mira", subsystem="narrative")
    assert one(found, said.RelationshipChanged).fear > 0
    changed = at("fishmarket", entity="doctor-vane").when(SceneChanged(), entity="chalk-on-the-quay", subsystem="narrative")
    assert one(changed, said.NpcRemembered).player == ""
    assert one(changed, said.NpcGoalChanged).goal == "whose-hand"
    beat = at(entity="pockets").when(StoryBeatBegan(beat="the-eighth-square"), entity="the-tally", subsystem="storyteller")
    assert one(beat, said.NpcMoodChanged).mood == -300


def test_a_bargain_pleases_the_buyer_and_a_raid_the_warden_not() -> None:
    struck = BargainStruck(player="mira", buyer="doctor-vane", kind="glass-eye", price_minor=90)
    sold = at("quay", entity="doctor-vane").when(struck, subsystem="broker")
    assert one(sold, said.RelationshipChanged).trust > 0
    assert one(sold, said.NpcRemembered).memory == "mira sold me glass-eye, and I paid."
    at("quay", entity="doctor-vane").when(struck, subsystem="game").then_nothing()
    raided = at("quay", entity="warden-pell").when(RaidSuffered(), entity="mira", subsystem="broker")
    assert one(raided, said.RelationshipChanged).cause == "raid:any"


def test_rumours_reach_who_is_there_and_moods_whom_they_name() -> None:
    rumour = StoryConsequence(kind="rumour", target="quay", text="He walks.")
    heard = at().when(rumour, entity="the-tally", subsystem="storyteller")
    assert one(heard, said.NpcRemembered).memory == "They say: He walks."
    at("reed-path").when(rumour, entity="the-tally", subsystem="storyteller").then_nothing()
    mood = StoryConsequence(kind="mood", target="widow-hask", amount=-20, text="A broker stood in the square.")
    assert one(at().when(mood, entity="the-tally", subsystem="storyteller"), said.NpcMoodChanged).mood == -200
    at().when(StoryConsequence(kind="heat", target="widow-hask"), entity="the-tally", subsystem="storyteller").then_nothing()


# ---- memories -------------------------------------------------------------------------------------------------------------------------


def test_what_mattered_more_is_remembered_longer_and_the_rest_is_forgotten() -> None:
    faint = said.NpcRemembered(number=1, kind="story", memory="a thing", salience=60)
    strong = said.NpcRemembered(number=2, kind="story", memory="another", salience=900)
    case = woken(at("quay", faint, strong), WorldTime(world_ms=96 * HOUR_MS, hour=8, season="spring", time_of_day="day"))

    assert one(case, said.NpcForgot).numbers == [1]
    assert [memory.number for memory in case.state.memories] == [2]
    half = TABLES.halves.memory * (1000 + 3 * 900) // 1000
    assert salience_now(TABLES, case.state.memories[0], half) == 450, "3.7 times as long as what hardly mattered"


def test_memories_have_their_bounds_and_the_faintest_makes_room() -> None:
    case = at()
    for number in range(MOST_MEMORIES + 3):
        rumour = StoryConsequence(kind="rumour", target="quay", text=f"rumour {number}")
        case = case.when(rumour, entity="the-tally", subsystem="storyteller")
    assert len(case.state.memories) == MOST_MEMORIES
    assert one(case, said.NpcRemembered).crowded_out == [3], "of equals the oldest"
    for _ in range(MOST_ABOUT_ONE + 2):
        case = case.when(ItemGiven(to="widow-hask", sku="lantern"), entity="mira", subsystem=INVENTORY)

    assert len(case.state.tie("mira").memories) == MOST_ABOUT_ONE


def test_what_faded_about_a_player_goes_with_the_next_memory() -> None:
    faint = said.NpcRemembered(number=1, player="mira", kind="talk", memory="mira said: hm", salience=60)
    later = WorldTime(world_ms=96 * HOUR_MS, hour=12, season="spring", time_of_day="day")
    case = woken(at("quay", faint), later).when(ItemGiven(to="widow-hask", sku="lantern"), entity="mira", subsystem=INVENTORY)

    assert one(case, said.NpcRemembered).crowded_out == [1]
    assert [memory.number for memory in case.state.tie("mira").memories] == [2]


def test_what_matters_too_little_is_neither_kept_nor_recalled() -> None:
    slight = replace(TABLES.effects["gift"], salience=TABLES.forget_below - 1)
    easy = npc_behavior(replace(TABLES, effects={**TABLES.effects, "gift": slight}))
    case = given(easy, said.NpcAppeared(place="quay"), entity="widow-hask").when(
        ItemGiven(to="widow-hask", sku="x"), entity="mira", subsystem="inventory"
    )
    assert not [message for message in case.said if isinstance(message, said.NpcRemembered)]
    faint = said.NpcRemembered(number=1, player="mira", kind="talk", memory="mira said: hm", salience=TABLES.forget_below - 1)

    assert recall(TABLES, at("quay", faint).state, "mira", "hm", 6) == []


def test_what_is_recalled_is_what_matters_what_is_theirs_and_what_was_mentioned() -> None:
    memories = [
        said.NpcRemembered(number=1, kind="story", memory="the bell rang twice", salience=200),
        said.NpcRemembered(number=2, kind="story", memory="salt is dear", salience=300),
        said.NpcRemembered(number=3, kind="talk", player="mira", memory="mira said: hello", salience=130),
    ]
    state = at("quay", *memories).state

    assert [memory.number for memory in recall(TABLES, state, "mira", "", 2)] == [2, 3]
    assert [memory.number for memory in recall(TABLES, state, "tam", "Who rang the bell?", 1)] == [1]
    assert salience_now(TABLES, state.memories[0], 0) == 200


def test_what_was_told_often_is_merged_into_its_own_words_and_the_oldest_gist_goes() -> None:
    case, gists = at(), list[said.NpcMemoriesMerged]()
    for number in range(MOST_ABOUT_ONE + MERGED_AT * (MOST_GISTS + 1)):
        case = case.when(PlayerSpoke(npc="widow-hask", text=f"My sister number {number} is called Orla"), entity="mira")
        gists += [message for message in case.said if isinstance(message, said.NpcMemoriesMerged)]

    first = gists[0]
    assert list(first.numbers) == [1, 2, 3, 4, 5, 6], "the faintest, of equals the oldest"
    assert first.memory == "; ".join(f"mira said: My sister number {number} is called Orla" for number in range(6))
    assert (first.number, first.player, first.salience) == (12, "mira", 130 + 5 * 130 // 8)
    assert [list(it.forgotten) for it in gists] == [[]] * MOST_GISTS + [[first.number]]
    tie = case.state.tie("mira")
    assert tie.gists == tuple(it.number for it in gists[1:])
    assert (len(tie.memories), tie.shelf) == (MOST_ABOUT_ONE, ())


def test_a_gist_holds_what_mattered_and_says_once_what_was_alike() -> None:
    hello = [Memory(number, "talk", "mira said: hello.", 130, 0, number) for number in (1, 3)]
    told = Memory(2, "talk", "mira said: " + "the ledger lies under the third board of the bell loft, " * 3, 400, 0, 2)

    assert gist([*hello, told]) == (
        "mira said: hello (2 times); mira said: the ledger lies under the third board of the bell loft, the ledger…"
    )
    many = [Memory(number, "talk", f"thing {number}", 900 - number, 0, number) for number in range(9)]
    assert gist(many) == "; ".join(f"thing {number}" for number in range(6)), "what mattered least is left out"


def test_a_question_that_nobody_answers_is_answered_by_a_line_of_her_own() -> None:
    street = town(hours=1)
    street.say(PlayerSpoke(npc="widow-hask", text="Was he seen?"), entity="mira")
    assert len(street.said(InferenceRequested)) == 1
    street.say(RealTimePassed(real_ms=500), entity="clock")  # the first pulse: perhaps it only takes long
    assert street.said(said.NpcSpoke) == ()
    street.say(RealTimePassed(real_ms=500), entity="clock")
    (spoke,) = street.said(said.NpcSpoke)

    assert (spoke.player, spoke.rung, spoke.request_id) == ("mira", "authored", street.said(InferenceRequested)[0].request_id)
    assert spoke.text in HASK.lines["neutral"]


@pytest.mark.parametrize("message", [PlayerSpoke(npc="nobody"), NpcAttacked(npc="nobody", place="quay")])
def test_who_is_not_in_the_table_is_refused_about_the_player(message: Any) -> None:
    case = given(npc, entity="mira").when(message, entity="mira").then_types(RequestRefused)

    assert one(case, RequestRefused).code == "UNKNOWN_NPC"
