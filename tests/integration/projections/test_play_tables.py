"""Quests, scenes and stories as tables, filled by the handlers' own words about one eventful week."""

from __future__ import annotations

import asyncpg

from bus.testing import Rehearsal
from projections import Listed, Projector
from projections.query import query
from projections.quests import quests
from projections.scenes import scenes
from projections.stories import stories
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, ItemCollected, ObjectExamined, PartyFormed, PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAbandonRequested,
    QuestAcceptRequested,
    QuestChoiceRequested,
    QuestCompleted,
    QuestRewarded,
    QuestWorkRequested,
)
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryFactEstablished
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import narrative, quest, storyteller, time
from tests.integration.projections.test_documented_queries import queries

CLAIM = '{"text": "He was seen, and then he was sold.", "facts": {"ferryman": "sold", "keeper": "hask"}}'


def a_week() -> Rehearsal:
    """Mira tells the widow, Ben and Cara hunt together, and the tally begins."""
    town = Rehearsal(time, quest, narrative, storyteller, world="duskmarket")
    town.say(ClockStartRequested(scale=3_600_000), entity="clock")
    _mira(town)
    _hunt(town)
    for _ in range(100):
        town.say(RealTimePassed(real_ms=1_000), entity="clock")
        _answer(town)
    return town


def _mira(town: Rehearsal) -> None:
    town.say(QuestAcceptRequested(quest="missing-ferryman"), entity="mira")
    town.say(PlayerSpoke(npc="widow-hask"), entity="mira")
    town.say(ObjectExamined(object="hull", scene="drowned-skiff"), entity="tam")
    for thing in ("hull", "purse"):
        town.say(ObjectExamined(object=thing, scene="drowned-skiff", place="reed-path"), entity="mira")
    town.say(PlayerEnteredZone(zone="reed-path"), entity="mira", subsystem="player")
    town.say(QuestChoiceRequested(quest="missing-ferryman", choice="tell-the-widow"), entity="mira")
    town.say(PlayerSpoke(npc="widow-hask"), entity="mira")
    town.say(QuestAcceptRequested(quest="bell-for-the-drowned"), entity="mira")
    town.say(QuestWorkRequested(npc="doctor-vane"), entity="mira")
    town.say(ItemCollected(item="grave-salt"), entity="mira")


def _hunt(town: Rehearsal) -> None:
    town.say(PartyFormed(party="pack", members=["ben", "cara"]), entity="ben")
    town.say(QuestAcceptRequested(quest="hounds-of-the-moor", party="pack"), entity="cara")
    town.say(CreatureSlain(creature="moor-hound", place="old-moor", quantity=12), entity="ben")
    town.say(PlayerSpoke(npc="warden-pell"), entity="cara")
    town.say(QuestAcceptRequested(quest="hounds-of-the-moor", party="pack"), entity="ben")
    town.say(QuestAbandonRequested(quest="hounds-of-the-moor", party="pack"), entity="ben")


def _answer(town: Rehearsal) -> None:
    """Answer the newest request, as a model would that claims more than it may."""
    request = town.said(InferenceRequested)[-1:]
    arc = [event.entity for event in town.log if isinstance(event.data, InferenceRequested)][-1:]
    if request and request[0].json_schema:
        to = {"request_id": request[0].request_id, "requester_subsystem": "storyteller", "requester_entity": arc[0]}
        town.say(
            InferenceCompleted(text=CLAIM, rung="full", measured=Measured(engine="openai"), **to), entity=arc[0], subsystem="inference"
        )


async def test_the_tables_hold_what_was_said(database: str, connection: asyncpg.Connection) -> None:
    town = a_week()
    await Projector(database, [quests, scenes, stories]).run(Listed(town.log))

    rewards = await connection.fetch("SELECT player, quest, amount_minor, items FROM world.quest_rewards ORDER BY player")
    assert [(row["player"], row["quest"], row["amount_minor"]) for row in rewards] == [
        ("ben", "hounds-of-the-moor", 900),
        ("cara", "hounds-of-the-moor", 900),
        ("mira", "missing-ferryman", 1200),
    ]
    assert len(rewards) == len(town.said(QuestRewarded))
    figures = await connection.fetch("SELECT quest, runs, active, completed, abandoned FROM world.quest_figures ORDER BY quest")
    assert [tuple(row) for row in figures] == [
        ("bell-for-the-drowned", 1, 1, 0, 0),
        ("hounds-of-the-moor", 2, 0, 1, 1),
        ("missing-ferryman", 1, 0, 1, 0),
    ]
    assert {it.party for it in town.said(QuestCompleted)} == {"", "pack"}
    found = await connection.fetchrow("SELECT player, scene, amount_minor FROM world.discoveries")
    assert tuple(found) == ("mira", "drowned-skiff", 200)
    facts = await connection.fetch("SELECT arc, fact, value FROM world.story_facts ORDER BY position")
    assert [row["value"] for row in facts] == [it.value for it in town.said(StoryFactEstablished)]
    assert ("the-tally", "ferryman", "sold") in [tuple(row) for row in facts]
    refused = await connection.fetch("SELECT fact, value FROM world.story_refusals")
    assert ("keeper", "hask") in [tuple(row) for row in refused]


async def test_every_documented_query_is_answered(database: str, reader: str) -> None:
    await Projector(database, [quests, scenes, stories]).run(Listed(a_week().log))

    for page in ("quest", "narrative", "storyteller"):
        found = queries(page)
        assert len(found) >= 3, f"{page}.md shows too few queries"
        for statement in found:
            assert (await query(reader, statement)).rows, f"{page}.md: no row for {statement}"
