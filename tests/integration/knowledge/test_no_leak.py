"""Nobody ever finds a passage outside of what they may know, or from their future: whole histories against a filter in plain Python."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.knowledge import tuning, vectors
from projections.knowledge.embedders import open_embedder
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcForgot, NpcForgotPlayer, NpcRemembered
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestCompleted
from tests.integration.knowledge.lore import Library, Told
from tests.laws import examples

TOKENS = ["public", "storyteller", "npc:mira", "npc:pell", "faction:wardens", "progress:bell", "progress:bell=tolled"]
CONDITIONS = ["", "", "quest:bell", "quest:bell=tolled", "event:QuestCompleted", "event:QuestCompleted:tam", "date:9"]
DOCUMENTS, PEOPLE, PLAYERS = ["places", "secrets"], ["mira", "pell"], ["tam", "ysa"]
ALL_OF_THEM = 100

audiences = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3, unique=True).map(sorted).map(tuple)
passages = st.builds(
    lambda number, audience, since: Told(f"The lantern number {number} burns.", audience=audience, since=since),
    *(st.integers(0, 12), audiences, st.sampled_from(CONDITIONS)),
)
deeds = st.one_of(
    st.tuples(st.just("tell"), st.sampled_from(DOCUMENTS), st.lists(passages, min_size=1, max_size=5, unique=True)),
    st.tuples(st.just("burn"), st.sampled_from(DOCUMENTS)),
    st.tuples(st.just("quest"), st.sampled_from(PLAYERS), st.sampled_from(["bell", "ferry"]), st.sampled_from(["tolled", "silent"])),
    st.tuples(st.just("remember"), st.sampled_from(PEOPLE), st.sampled_from(["", *PLAYERS]), st.integers(1, 6)),
    st.tuples(st.just("forget"), st.sampled_from(PEOPLE), st.integers(1, 6)),
    st.tuples(st.just("forget-player"), st.sampled_from(PEOPLE), st.sampled_from(PLAYERS)),
)


@dataclass
class Row:
    """A passage as the plain filter knows it."""

    id: str
    text: str
    audience: tuple[str, ...]
    since: str
    added: int
    ended: int | None = None
    owner: str = ""
    player: str = ""

    def visible(self, tokens: set[str], position: int, truths: dict[str, int], strangers: list[tuple[str, str, int]]) -> bool:
        forgotten = any(
            (owner, player) == (self.owner, self.player) and self.added < since <= position for owner, player, since in strangers
        )
        return (
            self.added <= position
            and (self.ended is None or self.ended > position)
            and bool(tokens & set(self.audience))
            and (not self.since or truths.get(self.since, position + 1) <= position)
            and not (self.player and forgotten)
        )


@dataclass
class Town:
    """One world: what is said goes into the log and, in plain words, into lists."""

    library: Library
    rows: list[Row] = field(default_factory=list)
    truths: dict[str, int] = field(default_factory=dict)
    strangers: list[tuple[str, str, int]] = field(default_factory=list)
    told: dict[str, list[tuple[Told, Row, int]]] = field(default_factory=dict)
    revision: dict[str, int] = field(default_factory=dict)

    def do(self, deed: Any) -> None:
        kind, *what = deed
        getattr(self, kind.replace("-", "_"))(*what)

    def tell(self, document: str, new: list[Told]) -> None:
        if document in self.told:  # a document is told once, and again only after it was burnt: edits are the ingest's own tests
            return
        position = self.library.tell(document, *new)
        rows = [Row(told.id(document), told.text, told.audience, told.since, position) for told in new]
        self.rows += rows
        self.told[document] = list(zip(new, rows, [0] * len(new), strict=True))

    def burn(self, document: str) -> None:
        if document not in self.told:
            return
        there = self.told.pop(document)
        position = self.library.burn(document, *(told for told, _, _ in there))
        for _, row, _ in there:
            row.ended = position

    def quest(self, player: str, quest: str, ending: str) -> None:
        position = self.library.say(QuestCompleted(quest=quest, ending=ending), player, "quest")
        for truth in (f"quest:{quest}", f"quest:{quest}={ending}", "event:QuestCompleted", f"event:QuestCompleted:{player}"):
            self.truths.setdefault(truth, position)

    def remember(self, owner: str, player: str, number: int) -> None:
        id_ = f"memory:{owner}:{number}"
        if any(row.id == id_ for row in self.rows):
            return
        text = f"A lantern, my memory {number}."
        position = self.library.say(NpcRemembered(number=number, memory=text, player=player), owner, "npc")
        self.rows.append(Row(id_, text, (f"npc:{owner}",), "", position, owner=owner, player=player))

    def forget(self, owner: str, number: int) -> None:
        row = next((row for row in self.rows if row.id == f"memory:{owner}:{number}" and row.ended is None), None)
        if row is not None:
            row.ended = self.library.say(NpcForgot(numbers=[number]), owner, "npc")

    def forget_player(self, owner: str, player: str) -> None:
        self.strangers.append((owner, player, self.library.say(NpcForgotPlayer(player=player), owner, "npc")))

    def visible(self, tokens: set[str], position: int) -> list[str]:
        return sorted(row.id for row in self.rows if row.visible(tokens, position, self.truths, self.strangers))


class Stage:
    """One database for all examples; every example is a world of its own, further on in one log."""

    def __init__(self, dsn: str, loop: asyncio.Runner) -> None:
        self.dsn = dsn
        self.loop = loop
        self.log = Library()
        self.worlds = 0
        self.loop.run(self._open())

    async def _open(self) -> None:
        self.connection = await asyncpg.connect(self.dsn)
        self.embedder = await open_embedder("hashing")
        await vectors.register(self.connection, self.embedder, "hashing", state="serving")

    def town(self) -> Town:
        self.worlds += 1
        self.log.world = f"town{self.worlds}"
        self.log._revision = {}
        return Town(self.log)

    async def show(self) -> None:
        await self.log.shelve(self.dsn)
        await vectors.fill(self.connection, self.embedder)
        await tuning.index(self.connection, self.embedder.model)

    async def ask(self, town: Town, mode: str, tokens: list[str], position: int, vector: list[float]) -> list[str]:
        rows = await self.connection.fetch(
            "SELECT passage_id FROM world.kb_search($1, 'a lantern', $2, $3, mode => $4, as_of => $5, vector => $6, model => $7)",
            *(town.library.world, tokens, ALL_OF_THEM, mode, position, vector, self.embedder.model),
        )
        return sorted(row["passage_id"] for row in rows)

    async def by_index(self, town: Town, tokens: list[str], position: int, vector: list[float]) -> set[str]:
        rows = await self.connection.fetch(
            "SELECT id FROM worldbus.kb_near($1, $2, $3, NULL, NULL, NULL, $4, $5, 100, 100)",
            *(town.library.world, position, tokens, self.embedder.model, vector),
        )
        return {row["id"] for row in rows}


@pytest.fixture
def stage(fresh_database: str) -> Iterator[Stage]:
    with asyncio.Runner() as loop:
        made = Stage(fresh_database, loop)
        yield made
        loop.run(made.connection.close())


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    history=st.lists(deeds, min_size=1, max_size=14),
    askers=st.lists(
        st.tuples(st.lists(st.sampled_from([*TOKENS, "npc:nobody", ""]), max_size=4, unique=True), st.integers(0, 60)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_search_finds_what_may_be_known_and_nothing_else(stage: Stage, history: list[Any], askers: list[tuple[list[str], int]]) -> None:
    town, began = stage.town(), stage.log.head
    for deed in history:
        town.do(deed)
    stage.loop.run(stage.show())
    (vector,) = stage.loop.run(stage.embedder.embed(["a lantern"], "query")).tolist()
    for tokens, later in askers:
        position = min(began + later, stage.log.head)

        expected = town.visible(set(tokens), position)

        for mode in ("text", "vector", "hybrid"):
            assert stage.loop.run(stage.ask(town, mode, tokens, position, vector)) == expected, (mode, tokens, position - began, history)
        assert stage.loop.run(stage.by_index(town, tokens, position, vector)) <= set(expected)
