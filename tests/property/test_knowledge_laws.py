"""Who knows what, and from when on: whatever was written, whatever happened and whoever asks, the tables say what the log says.

The model below reads the log from the beginning for every question, with none of the projection's code: what the documents say at a
position, what has happened until then, and which tokens the asker has. A passage that the tables show and the model does not is a leak; the
reverse is a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.event import Event
from handlers.time_manager.calendar import load
from migrations import migrate
from projections.knowledge.knowledge import knowledge
from projections.projector import Projector
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneFirstDiscovered
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryArcBegan
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStarted, DayBegan
from schemas.gen.worldbus.time.v1.types_pb2 import WorldTime
from tests.duskmarket import FOLDER
from tests.laws import examples
from tests.projected import event
from worldbus.edges.lore.document import document
from worldbus.edges.lore.revision import Known, removed, revised
from worldbus.embedded import PostgresServer
from worldbus.testing.projection_laws import Batches

CALENDAR = load(FOLDER / "calendar.toml")
WORLD = "duskmarket"
TOKENS = ("public", "npc:pell", "npc:hask", "faction:wardens", "progress:ferryman", "progress:ferryman=told", "storyteller")
CONDITIONS = (
    *("", "event:StoryArcBegan", "event:StoryArcBegan:tally", "event:SceneFirstDiscovered:cellar", "quest:ferryman=told", "quest:ferryman"),
    *("date:2", "date:1-spring-3", "event:NoSuchEvent", "event:StoryArcBegan:other"),
)
HAPPENINGS: Sequence[tuple[str, str, Message]] = (
    ("storyteller", "tally", StoryArcBegan()),
    ("game", "tally", StoryArcBegan()),  # not the storyteller's word
    ("narrative", "cellar", SceneFirstDiscovered()),
    ("quest", "mira", QuestCompleted(quest="ferryman", run=1, ending="told")),
    ("quest", "otto", QuestCompleted(quest="ferryman", run=1, ending="silenced")),
    ("operator", "mira", QuestCompleted(quest="ferryman", run=1, ending="told")),  # nor is this quest's
    ("time", "clock", ClockStarted(now=WorldTime(day=1))),
    ("time", "clock", DayBegan(now=WorldTime(day=2))),
    ("time", "clock", DayBegan(now=WorldTime(day=3))),
    ("game", "clock", DayBegan(now=WorldTime(day=3))),
)


class Passage(NamedTuple):
    """A section as its writer meant it."""

    words: str
    audience: frozenset[str]
    since: str


@dataclass(frozen=True, slots=True)
class Written:
    """A document as a writer left it, None if it was deleted."""

    slug: str
    passages: tuple[Passage, ...] | None


_PASSAGE = st.builds(
    Passage,
    words=st.sampled_from(["Stones.", "Wet.", "Green.", "Fog."]),
    audience=st.frozensets(st.sampled_from(TOKENS), min_size=1, max_size=3),
    since=st.sampled_from(CONDITIONS),
)
_STEP = st.one_of(
    st.builds(Written, slug=st.sampled_from(["quay", "moor"]), passages=st.none() | st.lists(_PASSAGE, min_size=1, max_size=4).map(tuple)),
    st.sampled_from(HAPPENINGS),
)


def _markdown(passages: Sequence[Passage]) -> str:
    sections = [
        f"# Part {number}\n\n<!-- audience: {', '.join(sorted(one.audience))}; since: {one.since} -->\n\n{one.words}\n"
        for number, one in enumerate(passages)
    ]
    return "\n".join(sections)


class Told(NamedTuple):
    """The log of a history, and for the model: from which position on each document was what."""

    log: list[Event]
    documents: list[tuple[int, Written]]
    happened: list[tuple[int, str, str, Message]]


def tell(steps: Sequence[Written | tuple[str, str, Message]]) -> Told:
    """The log that these steps leave."""
    told = Told([], [], [])
    known: dict[str, Known] = {}
    for step in steps:
        if isinstance(step, Written):
            before = known.get(step.slug, Known(slug=step.slug))
            if step.passages is None:
                revision = removed(before) if before.there else None
            else:
                revision = revised(before, document(f"{step.slug}.md", _markdown(step.passages).encode(), CALENDAR), "lore")
            for message in revision.messages if revision else ():
                told.log.append(event(len(told.log) + 1, message, entity=step.slug, subsystem="lore"))
            if revision:
                known[step.slug] = Known.of(told.log[-1])
                told.documents.append((len(told.log), step))
        else:
            sayer, entity, message = step
            told.log.append(event(len(told.log) + 1, message, entity=entity, subsystem=sayer))
            told.happened.append((len(told.log), sayer, entity, message))
    return told


def true_at(told: Told, since: str, position: int) -> bool:
    """Whether the condition had come true, read from the happenings one by one."""
    kind, _, rest = since.partition(":")
    for at, sayer, entity, it in told.happened:
        if at > position:
            break
        name = it.DESCRIPTOR.name
        if sayer != {"StoryArcBegan": "storyteller", "SceneFirstDiscovered": "narrative", "QuestCompleted": "quest"}.get(name, "time"):
            continue
        if kind == "event" and rest in (name, f"{name}:{entity}"):
            return True
        if kind == "quest" and isinstance(it, QuestCompleted) and rest in (it.quest, f"{it.quest}={it.ending}"):
            return True
        if kind == "date" and isinstance(it, (DayBegan, ClockStarted)) and rest in (f"{it.now.day}", f"1-spring-{it.now.day}"):
            return True
    return not since


def may_know(told: Told, tokens: frozenset[str], position: int) -> list[tuple[str, str]]:
    """What these tokens may know as of a position."""
    documents = {step.slug: step for at, step in told.documents if at <= position}
    return sorted(
        (step.slug, passage.words)
        for step in documents.values()
        for passage in step.passages or ()
        if tokens & (passage.audience | {"storyteller"}) and true_at(told, passage.since, position)
    )


@pytest.fixture(scope="module")
def knowledge_database(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all examples; each begins by emptying it."""
    admin = postgres_server.address(database="postgres")

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(admin)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run("CREATE DATABASE knowing OWNER worldbus_owner"))
    address = postgres_server.address("worldbus_owner", "knowing")
    migrate(address)
    asyncio.run(Projector(address, [knowledge]).run(Batches([])))
    yield address
    asyncio.run(run("DROP DATABASE knowing WITH (FORCE)"))


_EMPTY = """
    SELECT format('TRUNCATE %s', string_agg(format('%I.%I', schemaname, tablename), ', '))
      FROM pg_tables WHERE schemaname LIKE 'p\\_%' OR tablename IN ('events', 'skipped')
"""


async def _shown(address: str, told: Told, cuts: Sequence[int], asked: Sequence[tuple[frozenset[str], int]]) -> list[list[tuple[str, str]]]:
    """What the tables show each of these askers, the log having come in batches that end at `cuts`."""
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(await connection.fetchval(_EMPTY))
        await connection.execute("UPDATE worldbus.checkpoint SET position = 0, chain = decode(repeat('00', 32), 'hex')")
        ends = [*sorted({cut for cut in cuts if cut < len(told.log)}), len(told.log)]
        batches = [told.log[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        await Projector(address, [knowledge]).run(Batches(batches))
        visible = await connection.fetchval("SELECT worldbus.kb_visible()")
        sql = f"SELECT p.document, p.body FROM world.passages p WHERE {visible} ORDER BY 1, 2"
        nothing: list[None] = [None, None, None]
        rows = [await connection.fetch(sql, WORLD, position, sorted(tokens), *nothing) for tokens, position in asked]
        searched = "SELECT document, body FROM world.kb_search($1, 'stones wet green fog', $2, 100, 'text', $3) ORDER BY 1, 2"
        found = [await connection.fetch(searched, WORLD, sorted(tokens), position) for tokens, position in asked]
        assert found == rows, "a search shows what is visible, all of it and nothing else"
        return [[tuple(row) for row in one] for one in rows]
    finally:
        await connection.close()


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.lists(_STEP, min_size=1, max_size=12))
def test_nobody_is_shown_what_the_log_does_not_let_them_know(
    knowledge_database: str, data: st.DataObject, steps: list[Written | tuple[str, str, Message]]
) -> None:
    told = tell(steps)
    position = st.integers(0, len(told.log))
    asked = data.draw(
        st.lists(st.tuples(st.frozensets(st.sampled_from(TOKENS), min_size=1, max_size=3), position), min_size=1, max_size=12),
        label="asked",
    )
    cuts = data.draw(st.lists(position, max_size=4), label="cuts")

    shown = asyncio.run(_shown(knowledge_database, told, cuts, asked))

    assert shown == [may_know(told, tokens, at) for tokens, at in asked]


def test_the_model_can_tell_a_leak() -> None:
    """The laws above would fail if the model let everything pass, or nothing."""
    told = tell([Written("quay", (Passage("Stones.", frozenset({"npc:pell"}), "event:StoryArcBegan"),)), HAPPENINGS[1], HAPPENINGS[0]])
    pell, hask = frozenset({"npc:pell"}), frozenset({"npc:hask", "public"})

    assert [len(may_know(told, pell, at)) for at in range(5)] == [0, 0, 0, 0, 1]
    assert [len(may_know(told, hask, at)) for at in range(5)] == [0, 0, 0, 0, 0]
    assert len(may_know(told, frozenset({"storyteller"}), 4)) == 1
