"""What a character was told comes back in a later prompt; what it never perceived does not. The real model, the real tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import Message

from bus.event import Draft, Event
from bus.testing import Rehearsal
from inference import ladder
from inference.passages import fitting
from inference.request import ask_of, prompt_of
from inference.retrieval import read_reply
from projections import Listed, Projector
from projections.knowledge.embedders import Embedder
from projections.knowledge.embedders.minilm import MiniLm
from projections.knowledge.knowledge import knowledge
from projections.knowledge.recall import Found, Recall, Wanted, open_recall
from projections.knowledge.search import BadQuery
from projections.knowledge.serving import Serving
from projections.knowledge.text import content_hash, searched_text
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceRequested
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded, LoreDocumentIngested
from schemas.gen.worldbus.knowledge.v1.types_pb2 import LorePlace
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import FOLDER, npc, time
from worldbus.edges.recall import wanted as read_wish

WORLD = "duskmarket"
FACT = "My sister Ysa hid the black ledger under the third board of the bell loft"
SMALL_TALK = [
    "The herring is poor today", "A cold wind from the north again", "Have you seen my hat?", "I bought candles at the market",
    "The tide is late", "My boots are wet through", "They raised the price of salt", "Somebody painted the ferry green",
]  # fmt: skip
LORE = {
    "harbour": ("public", "The lamplighter of the quay is called Tam Wick. He counts the boats at dusk."),
    "ledger": ("storyteller", "The black ledger was forged by Warden Pell, who burned the true one."),
    "guild": ("faction:ferrymen", "Ferrymen tie a red thread around the oar when they carry the dead."),
}


class Story:
    """A town that lives in memory, and the lore that is true in it."""

    def __init__(self) -> None:
        self.town = Rehearsal(time, npc, world=WORLD)
        self.town.say(ClockStartRequested(scale=3_600_000), entity="clock")
        for document, (audience, text) in LORE.items():
            self._tell(document, audience, text)
        self.hours(1)

    def _tell(self, document: str, audience: str, text: str) -> None:
        heading = [document.title()]
        where = {"chunk_id": content_hash([], document), "number": 1, "line_from": 1, "line_to": 2}
        what = {"text": text, "content_hash": content_hash(heading, text), "audience": [audience]}
        chunk = LoreChunkAdded(document=document, revision=1, heading=heading, **where, **what)
        self.town.say(chunk, entity=document, subsystem="lore")
        done = LoreDocumentIngested(document=document, revision=1, chunks=1, added=1, places=[LorePlace(added_revision=1, **where)])
        self.town.say(done, entity=document, subsystem="lore")

    def hours(self, count: int) -> None:
        for _ in range(2 * count):
            self.town.say(RealTimePassed(real_ms=500), entity="clock")

    def talk(self, who: str, words: str, player: str = "mira") -> Event:
        """Somebody says something, and is answered; the question to the model."""
        self.town.say(PlayerSpoke(npc=who, text=words), entity=player)
        asked = next(event for event in reversed(self.town.log) if isinstance(event.data, InferenceRequested))
        text = '{"say": "Hm.", "emotion": "wary", "action": "none"}'
        done = InferenceCompleted(request_id=asked.data.request_id, requester_subsystem="npc", requester_entity=who, text=text)
        self.town.say(done, entity=who, subsystem="inference")
        return asked

    def first_session(self, rounds: int = 1) -> None:
        """Mira tells the widow something, and much else; then weeks go by."""
        self.talk("widow-hask", FACT)
        for words in SMALL_TALK * rounds:
            self.talk("widow-hask", words)
        self.talk("doctor-vane", "Do you sleep well?")
        self.hours(14 * 24)


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    """The default model."""
    opened = MiniLm()
    yield opened
    asyncio.run(opened.aclose())


async def known(database: str, log: Sequence[Event], embedder: Embedder) -> None:
    """The knowledge base of `log`, with the vectors of all its texts."""
    await Projector(database, [knowledge]).run(Listed(log))
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch("SELECT DISTINCT content_hash, heading, body FROM world.passages")
        vectors = await embedder.embed([searched_text(row["heading"], row["body"]) for row in rows], "passage")
        model = "INSERT INTO worldbus.embedding_models (model, embedder, dimension, state) VALUES ($1, 'minilm', $2, 'serving')"
        await connection.execute(f"{model} ON CONFLICT DO NOTHING", embedder.model, embedder.dimension)
        vector = "INSERT INTO worldbus.embeddings VALUES ($1, $2, $3::real[]::public.halfvec) ON CONFLICT DO NOTHING"
        hashes = [row["content_hash"] for row in rows]
        values = [(embedder.model, text, one.tolist()) for text, one in zip(hashes, vectors, strict=True)]
        await connection.executemany(vector, values)
    finally:
        await connection.close()


def wish(asked: Event) -> Wanted:
    """What the worker would ask for."""
    it = asked.data.knowledge
    return Wanted(
        world=asked.world, query=it.query, audience=tuple(it.audience), as_of=it.as_of or asked.position, owner=it.owner, player=it.player,
        most=it.most, world_ms=it.world_ms, exclude=frozenset(it.exclude),
    )  # fmt: skip


async def recalled(database: str, embedder: Embedder, *wishes: Wanted) -> list[list[Found]]:
    async with open_recall(database, Serving(embedder, "")) as recall:
        return [await recall.passages(one) for one in wishes]


def words(found: Iterable[Found]) -> str:
    return "\n".join(one.text for one in found)


@pytest.mark.parametrize("rounds", [1, 3])
async def test_what_she_was_told_in_one_session_is_in_the_prompt_of_a_later_one(database: str, embedder: Embedder, rounds: int) -> None:
    story = Story()
    story.first_session(rounds)
    assert bool(story.town.said(said.NpcMemoriesMerged)) == (rounds > 1), "told often enough, it is in a gist"
    asked = story.talk("widow-hask", "Where did my sister hide the ledger?")
    at_hand = "\n".join(part.text for part in asked.data.prompt)
    assert "third board" not in at_hand, "she does not have it at hand any more"
    await known(database, story.town.log, embedder)
    (found,) = await recalled(database, embedder, wish(asked))

    memory = next(one for one in found if "third board" in one.text)
    assert (memory.kind, memory.document) == ("memory", "widow-hask")
    ladders = ladder.load(FOLDER / "ladder.toml").of("npc_line")
    assert ladders is not None
    ask = ask_of(asked, ladders, 1, b"")
    ask.passages = fitting(as_read(found), asked.data.knowledge.most, asked.data.knowledge.token_budget)
    prompt = prompt_of(ask, 96)
    assert "hid the black ledger under the third board" in prompt.parts[3].text
    assert [part.role for part in prompt.parts[:4]] == ["system", "system", "system", "user"]


def as_read(found: Sequence[Found]) -> Any:
    """The passages as they come over NATS."""
    from dataclasses import asdict

    import msgspec

    return read_reply(msgspec.json.encode({"passages": [asdict(one) for one in found]}))


async def test_what_they_never_perceived_they_do_not_know(database: str, embedder: Embedder) -> None:
    story = Story()
    story.first_session()
    asked = [story.talk(who, "Where is the black ledger hidden, and who forged it?") for who in ("doctor-vane", "pockets", "widow-hask")]
    rope = [story.talk(who, "What do ferrymen tie around the oar?") for who in ("doctor-vane", "widow-hask")]
    await known(database, story.town.log, embedder)
    vane, pockets, hask, *threads = await recalled(database, embedder, *map(wish, [*asked, *rope]))

    for found in (vane, pockets):
        assert "third board" not in words(found), "the widow was told, nobody else"
        assert all(one.document != "widow-hask" for one in found)
    assert "third board" in words(hask)
    assert not any("forged" in words(found) for found in (vane, pockets, hask)), "only the storyteller knows"
    assert ["red thread" in words(found) for found in threads] == [False, True], "the widow is of the guild"


async def test_a_question_does_not_remind_of_itself_or_of_what_came_later(database: str, embedder: Embedder) -> None:
    story = Story()
    before = story.talk("widow-hask", "Where did my sister hide the ledger?")
    story.talk("widow-hask", FACT)
    for line in SMALL_TALK:
        story.talk("widow-hask", line)
    await known(database, story.town.log, embedder)
    (found,) = await recalled(database, embedder, wish(before))

    assert [one for one in found if one.kind == "memory"] == []


async def test_what_everybody_knows_is_found_beside_ones_own_memories(database: str, embedder: Embedder) -> None:
    story = Story()
    asked = story.talk("pockets", "Who is the lamplighter of the quay?")
    await known(database, story.town.log, embedder)
    (found,) = await recalled(database, embedder, wish(asked))

    assert [(one.kind, one.document) for one in found] == [("lore", "harbour")]
    assert (found[0].heading, found[0].line_from, found[0].line_to) == (("Harbour",), 1, 2)


async def test_who_was_forgotten_is_not_remembered_and_a_gist_stands_for_what_it_was_made_of(database: str, embedder: Embedder) -> None:
    numbered = [
        said.NpcRemembered(number=n, player="mira", kind="talk", memory=text, salience=300)
        for n, text in enumerate([FACT, *SMALL_TALK[:5]], 1)
    ]
    gist = said.NpcMemoriesMerged(number=7, player="mira", numbers=range(1, 7), memory=f"{FACT}; and small talk", salience=400, world_ms=1)
    log = _log([*numbered, gist, said.NpcForgotPlayer(player="mira")])
    await known(database, log, embedder)
    query = Wanted(world=WORLD, query="Where is the ledger?", audience=("npc:hask",), as_of=0, owner="hask", most=3)
    async with open_recall(database, Serving(embedder, "")) as recall:
        found = {at: [one.id async for one in _each(recall, query, at)] for at in (6, 7, 8)}

    assert found[6][0] == "memory:hask:1"
    assert found[7] == ["memory:hask:7"]
    assert found[8] == []


async def _each(recall: Recall, query: Wanted, at: int) -> AsyncIterator[Found]:
    from dataclasses import replace

    for one in await recall.passages(replace(query, as_of=at)):
        yield one


def _log(messages: Iterable[Message]) -> list[Event]:
    drafts = [Draft(data=it, world=WORLD, entity="hask", subsystem="npc", id=f"e{n}", time_ns=n) for n, it in enumerate(messages, 1)]
    return [Event(raw=one.encode(), subject=one.subject, partition=0, position=n, recorded_ns=n) for n, one in enumerate(drafts, 1)]


async def test_a_mind_that_is_in_memory_learns_what_comes_later(database: str, embedder: Embedder) -> None:
    first = [said.NpcRemembered(number=1, player="mira", kind="talk", memory=SMALL_TALK[0], salience=300)]
    later = [*first, said.NpcRemembered(number=2, player="mira", kind="talk", memory=FACT, salience=300), said.NpcForgot(numbers=[1])]
    query = Wanted(world=WORLD, query="herring, or the black ledger?", audience=(), as_of=100, owner="hask", most=3)
    await known(database, _log(first), embedder)
    async with open_recall(database, Serving(embedder, "")) as recall:
        before = [one.id for one in await recall.passages(query)]
        await Projector(database, [knowledge]).run(Listed(_log(later)))
        by_words = [one.id for one in await recall.passages(query)]
        await known(database, _log(later), embedder)
        after = [one.score for one in await recall.passages(query)]

    assert (before, by_words) == (["memory:hask:1"], ["memory:hask:2"]), "found by its words until it has a vector"
    assert after


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b'{"query": "", "as_of": 1}', b'{"query": "x", "as_of": -1}', b'{"query": "x", "as_of": 1, "most": 33}',
     b'{"query": "x\\u0000", "as_of": 1}', b'{"query": "x", "as_of": 1, "audience": [7]}', b'{"query": "x", "as_of": 4611686018427387904}'],
)  # fmt: skip
def test_a_wish_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(BadQuery, match="wanted"):
        read_wish("w", payload)
