"""Characters and languages as tables, filled by the handlers' own words about one day."""

from __future__ import annotations

import json

import asyncpg

from bus.testing import Rehearsal
from projections import Listed, Projector
from projections.languages import languages
from projections.npcs import npcs
from projections.query import query
from schemas.gen.worldbus.game.v1.game_pb2 import NpcAttacked, PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven
from schemas.gen.worldbus.language.v1.language_pb2 import LanguageStudied, UtteranceRequested
from schemas.gen.worldbus.language.v1.types_pb2 import Meaning, Thing
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.weather.v1.weather_pb2 import ZoneDeclared
from tests.duskmarket import language, npc, time, weather
from tests.integration.projections.test_documented_queries import queries


def a_day() -> Rehearsal:
    """Mira talks, gives and attacks; the night comes, and with it the bone tongue."""
    town = Rehearsal(time, weather, npc, language, world="duskmarket")
    town.say(ClockStartRequested(scale=3_600_000), entity="clock")
    town.say(ZoneDeclared(climate="harbour", seed=3), entity="quay")
    _hours(town, 1)
    _talk(town, "widow-hask", "Was he seen?", "No.", "nod")
    _talk(town, "widow-hask", "Sell me the ferry.", "Never.", "fight-back")
    _talk(town, "mother-sedge", "Which way?", "Wrong question, Mira. Ask the water.", "laugh")
    town.say(ItemGiven(to="widow-hask", sku="lantern", value_minor=300), entity="tam", subsystem="inventory")
    town.say(NpcAttacked(npc="pockets", place="quay"), entity="mira")
    town.say(QuestCompleted(quest="missing-ferryman", ending="told"), entity="tam", subsystem="quest")
    town.say(LanguageStudied(language="ossic", words=1200, source="primer"), entity="mira")
    meaning = Meaning(subject=Thing(noun="i"), verb="buy", object=Thing(noun="bone", plural=True))
    town.say(UtteranceRequested(request_id="u1", language="ossic", meaning=meaning), entity="mira")
    town.say(PlayerSpoke(npc="widow-hask", place="old-moor", text="Hello?"), entity="mira")
    _hours(town, 14)
    _talk(town, "doctor-vane", "Fresh?", "The dead are never fresh. They are recent.", "examine")
    return town


def _hours(town: Rehearsal, hours: int) -> None:
    for _ in range(hours * 2):
        town.say(RealTimePassed(real_ms=500), entity="clock")


def _talk(town: Rehearsal, who: str, words: str, answer: str, action: str) -> None:
    town.say(PlayerSpoke(npc=who, text=words), entity="mira")
    request = town.said(InferenceRequested, entity=who)[-1]
    text = json.dumps({"say": answer, "emotion": "wary", "action": action})
    to = {"request_id": request.request_id, "requester_subsystem": "npc", "requester_entity": who, "measured": Measured(engine="vllm")}
    ended = InferenceCompleted(**to, text=text, rung="full")
    town.say(ended, entity=who, subsystem="inference")


async def test_the_tables_hold_what_was_said(database: str, connection: asyncpg.Connection) -> None:
    town = a_day()
    await Projector(database, [npcs, languages]).run(Listed(town.log))

    now = {row["npc"]: row for row in await connection.fetch("SELECT npc, place, action, lines, deeds FROM world.npcs")}
    assert now.keys() == {event.entity for event in town.log if event.name == "NpcAppeared"}
    for who, row in now.items():
        state = town.state(npc, who)
        assert (row["place"], row["action"]) == (state.place, state.action)
        assert row["lines"] == len(town.said(said.NpcSpoke, entity=who))
        assert row["deeds"] == len(town.said(said.NpcActed, entity=who))
    ties = await connection.fetch("SELECT npc, player, trust, fear, affection, debt_minor FROM world.relationships")
    assert {("widow-hask", "tam"), ("widow-hask", "mira"), ("pockets", "mira")} <= {(row["npc"], row["player"]) for row in ties}
    for row in ties:
        tie = town.state(npc, row["npc"]).tie(row["player"])
        assert tuple(row)[2:] == (tie.trust, tie.fear, tie.affection, tie.debt_minor)


async def test_memories_are_those_that_are_not_forgotten(database: str, connection: asyncpg.Connection) -> None:
    town = a_day()
    await Projector(database, [npcs, languages]).run(Listed(town.log))

    kept = await connection.fetch("SELECT npc, player, number, memory FROM world.npc_memories")
    remembered = set()
    for name in {event.entity for event in town.log if event.name == "NpcAppeared"}:
        state = town.state(npc, name)
        remembered |= {(name, "", memory.number, memory.text) for memory in state.memories}
        for page in state.ties:
            remembered |= {(name, who, memory.number, memory.text) for who, tie in page.items() for memory in tie.memories}
    assert {tuple(row) for row in kept} == remembered
    assert remembered


async def test_every_score_is_the_sum_of_its_parts(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, [npcs, languages]).run(Listed(a_day().log))

    wrong = "SELECT npc, position, option, score, sum(points) FROM world.npc_reasons GROUP BY 1, 2, 3, 4 HAVING sum(points) <> score"
    assert await connection.fetch(wrong) == []
    assert await connection.fetchval("SELECT count(*) FROM world.npc_reasons") > 100


async def test_a_forgotten_player_leaves_no_row(database: str, connection: asyncpg.Connection) -> None:
    town = Rehearsal(npc, world="duskmarket")
    for number in range(2000):
        town.say(ItemGiven(to="widow-hask", sku="lantern"), entity=f"p{number}", subsystem="inventory")
    await Projector(database, [npcs]).run(Listed(town.log))
    forgotten = {it.player for it in town.said(said.NpcForgotPlayer)}

    assert forgotten
    for table in ("relationships", "npc_memories"):
        rows = {row["player"] for row in await connection.fetch(f"SELECT DISTINCT player FROM world.{table}")}
        assert len(rows) <= 1024
        assert not rows & forgotten


async def test_what_was_heard_was_understood_by_degrees(database: str, connection: asyncpg.Connection) -> None:
    town = a_day()
    await Projector(database, [npcs, languages]).run(Listed(town.log))

    heard = {row["language"]: row for row in await connection.fetch("SELECT language, npc, spoken, understood, share FROM world.speeches")}
    assert {name: row["npc"] for name, row in heard.items()} == {"sedge": "mother-sedge", "ossic": "doctor-vane"}
    assert heard["sedge"]["spoken"] == heard["sedge"]["understood"]
    assert heard["ossic"]["share"] > 0
    levels = await connection.fetch("SELECT language, exposure, level, stage, words_heard FROM world.comprehension ORDER BY language")
    assert [tuple(row) for row in levels] == [("ossic", 1200, 500, "haggler", 7), ("sedge", 0, 0, None, 4)]


async def test_every_documented_query_is_answered(database: str, reader: str) -> None:
    await Projector(database, [npcs, languages]).run(Listed(a_day().log))

    for page in ("npc", "language"):
        found = queries(page)
        assert len(found) >= 3, f"{page}.md shows too few queries"
        for statement in found:
            assert (await query(reader, statement)).rows, f"{page}.md: no row for {statement}"
