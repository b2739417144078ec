"""The chain behind an event, from the archive: what led to it, what the model was shown, what it took and cost."""

from __future__ import annotations

import asyncpg
import pytest
from google.protobuf.message import Message

from bus.event import Draft, Event
from projections import Listed, Projector
from projections.knowledge.knowledge import knowledge
from projections.knowledge.memories import memory_id
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Knowledge, Measured, PromptPart
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcRemembered, NpcSpoke
from worldbus.cli.why import as_dict, lines
from worldbus.why import NothingFound, why

TOLD = "mira said: My sister's name is Orla"
WORDS = PromptPart(role="user", name="words", text="What is my sister called?", position=2)
ASKED = InferenceRequested(request_id="r1", prompt=[WORDS], knowledge=Knowledge(query=WORDS.text, audience=["public", "npc:hask"]))
TOOK = Measured(
    model="qwen", engine="vllm", worker="w1", queue_us=12_000, first_chunk_us=80_000, total_us=210_000, prompt_tokens=400,
    cached_tokens=300,
    completion_tokens=9, cost_nano_usd=1500, prompt_hash="0" * 32, knowledge="given", retrieval_us=7_000,
)  # fmt: skip
CITED = Citation(passage_id=memory_id("hask", 1), kind="memory", document="hask", position=1)
ANSWER = InferenceCompleted(request_id="r1", text="Orla.", rung="full", measured=TOOK, citations=[CITED])


def event(position: int, subsystem: str, entity: str, message: Message, cause: str = "") -> Event:
    draft = Draft(
        data=message, world="duskmarket", entity=entity, subsystem=subsystem, id=f"e{position}", time_ns=position * 10**9, cause=cause
    )
    return Event(raw=draft.encode(), subject=draft.subject, partition=1, position=position, recorded_ns=position * 10**9)


LOG = [
    event(1, "npc", "hask", NpcRemembered(number=1, player="mira", kind="talk", memory=TOLD, salience=130), "long ago"),
    event(2, "game", "mira", PlayerSpoke(npc="hask", text=WORDS.text)),
    event(3, "npc", "hask", ASKED, "e2"),
    event(4, "inference", "hask", ANSWER, "e3"),
    event(5, "npc", "hask", NpcSpoke(player="mira", text="Orla."), "e4"),
    event(6, "npc", "hask", NpcRemembered(number=2, player="mira", kind="talk", memory="mira asked", salience=99), "e2"),
]


@pytest.fixture
async def archive(database: str, connection: asyncpg.Connection) -> asyncpg.Connection:
    """The events of LOG, taken in."""
    await Projector(database, [knowledge]).run(Listed(LOG))
    await connection.execute("SET search_path = world")
    return connection


async def test_a_line_is_followed_back_to_the_words_that_were_said(archive: asyncpg.Connection) -> None:
    chain = await why(archive, "5")

    assert [link.event.name for link in chain.links] == ["PlayerSpoke", "InferenceRequested", "InferenceCompleted", "NpcSpoke"]
    assert (chain.took_ms, chain.cost_nano_usd, chain.effects) == (3000.0, 1500, [])
    (shown,) = chain.links[2].passages
    assert (shown.text, shown.citation) == (TOLD, CITED)


async def test_it_is_told_with_prompt_passages_times_and_cost(archive: asyncpg.Connection) -> None:
    text = "\n".join(lines(await why(archive, "e5")))

    for expected in (
        '2 00:00:02  game:mira  PlayerSpoke {"npc": "hask", "text": "What is my sister called?"}',
        "  └ 3 00:00:03  npc:hask  InferenceRequested",
        "user words (from position 2): What is my sister called?",
        "looked up for public, npc:hask: What is my sister called?",
        f"shown 1: hask's memory of position 1: {TOLD}",
        "knowledge base: given, 7.0 ms",
        "by qwen on w1: asked after 12.0 ms, first words 80.0 ms later, all after 210.0 ms",
        "400 tokens read (300 cached), 9 written, $0.000001500",
        "3 hops from the first cause, 3000.0 ms, $0.000001500.",
    ):
        assert expected in text


async def test_scripts_get_whole_events_and_what_came_of_the_event(archive: asyncpg.Connection) -> None:
    found = as_dict(await why(archive, "2"))

    assert [one["position"] for one in found["chain"]] == [2]
    assert found["effects"] == [
        {"position": 3, "subsystem": "npc", "entity": "hask", "name": "InferenceRequested"},
        {"position": 6, "subsystem": "npc", "entity": "hask", "name": "NpcRemembered"},
    ]
    answered = as_dict(await why(archive, "4"))
    assert answered["chain"][-1]["passages"][0]["text"] == TOLD


async def test_a_cause_that_the_archive_does_not_have_is_where_the_chain_begins(archive: asyncpg.Connection) -> None:
    assert [link.event.position for link in (await why(archive, "e1")).links] == [1]


async def test_an_event_that_is_not_there_is_said_so(archive: asyncpg.Connection) -> None:
    for wanted in ("7", "0", "nobody", "'; DROP TABLE events; --", "9" * 30):
        with pytest.raises(NothingFound, match="positions 1 to 6"):
            await why(archive, wanted)
