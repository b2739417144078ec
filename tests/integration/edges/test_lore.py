"""Lore in a real log: what is said when documents change, by one who ingests and by several at once; and what the tables make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from bus.connection import connect
from bus.errors import BadSettings
from bus.event import Event
from bus.log import Log, open_log
from bus.publisher import Publisher, open_publisher
from bus.subjects import stored_filter
from handlers.time_manager.calendar import load
from projections.knowledge.knowledge import knowledge
from projections.projector import Projector
from projections.reader import Listed
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreDocumentIngested
from tests.duskmarket import FOLDER
from worldbus.edges.lore import Document, Done, Ingest, document
from worldbus.edges.lore.ingest import GROUP
from worldbus.embedded import NatsServer
from worldbus.testing.projection_laws import Batches

CALENDAR = load(FOLDER / "calendar.toml")
HEAD = "---\naudience: public\n---\n\n"
QUAY = HEAD + "# Quay\n\nStones.\n\n## Steps\n\nWet.\n\n## Weed\n\nGreen.\n"
MOOR = HEAD + "# Moor\n\nFog.\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A world of this test's own in a log that others use too."""

    log: Log
    publisher: Publisher
    world: str

    def edge(self, **more: Any) -> Ingest:
        return Ingest(self.log, self.publisher, self.world, **more)

    async def ingest(self, *, whole: bool = True, collection: str = "lore", **texts: str) -> Done:
        return await self.edge().run(read(**texts), collection=collection, whole=whole)

    async def events(self) -> list[Event]:
        """The events about it, at positions as in a log of its own."""
        found = [event async for batch in self.log.read(filters=[stored_filter(world=self.world)]) for event in batch]
        return [Event(raw=one.raw, subject=one.subject, partition=one.partition, position=at) for at, one in enumerate(found, start=1)]

    async def said(self) -> list[str]:
        return [event.name.removeprefix("Lore") for event in await self.events()]


def read(**texts: str) -> list[Document]:
    return [document(f"{name}.md", text.encode(), CALENDAR) for name, text in sorted(texts.items())]


@pytest_asyncio.fixture
async def place(nats_server: NatsServer, unique: Callable[[str], str]) -> AsyncIterator[Place]:
    async with connect(nats_server.url, name="lore") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            yield Place(log, publisher, unique("lore"))
        await log.aclose()


VISIBLE = """
    SELECT document, body FROM world.passages
     WHERE world = $1 AND added <= $2 AND (ended IS NULL OR ended > $2) AND since = '' AND audience && '{public}' ORDER BY document, number
"""


async def visible(dsn: str, world: str, events: Iterable[Event], *, at: int | None = None, batch: int = 2000) -> list[tuple[str, str]]:
    """The view of a reader once these events are in the tables, or saw `at` a position."""
    events = list(events)
    await Projector(dsn, [knowledge], max_batch=batch).run(Listed(events), follow=False)
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(VISIBLE, world, len(events) if at is None else at)]
    finally:
        await connection.close()


async def test_a_second_time_nothing_is_said(place: Place) -> None:
    first = await place.ingest(quay=QUAY, moor=MOOR)
    again = await place.ingest(quay=QUAY, moor=MOOR)

    assert (first.changed, first.added, first.events) == (("moor", "quay"), 4, 6)
    assert (again.changed, again.removed, again.events, again.position) == ((), (), 0, 0)
    assert await place.said() == ["ChunkAdded", "DocumentIngested", *["ChunkAdded"] * 3, "DocumentIngested"]


async def test_one_edited_heading_changes_its_passage_and_no_other(place: Place) -> None:
    await place.ingest(quay=QUAY, moor=MOOR)
    done = await place.ingest(quay=QUAY.replace("Wet.", "Wet and cold."), moor=MOOR)
    last = (await place.events())[-1].data

    assert (done.changed, done.added, done.retired) == (("quay",), 1, 1)
    assert (await place.said())[6:] == ["ChunkAdded", "ChunkRetired", "DocumentIngested"]
    assert isinstance(last, LoreDocumentIngested)
    assert [one.added_revision for one in last.places] == [1, 2, 1]


async def test_lines_that_move_are_one_event_and_right_afterwards(place: Place, fresh_database: str) -> None:
    await place.ingest(quay=QUAY)
    done = await place.ingest(quay=QUAY.replace("# Quay", "\n\n# Quay", 1))
    await visible(fresh_database, place.world, await place.events())
    connection = await asyncpg.connect(fresh_database)
    lines = await connection.fetch("SELECT line_from, revision, added FROM world.passages ORDER BY number")
    await connection.close()

    assert (done.added, done.retired, done.events) == (0, 0, 1)
    assert [tuple(row) for row in lines] == [(9, 1, 4), (13, 1, 4), (17, 1, 4)]


async def test_another_audience_is_another_passage(place: Place, fresh_database: str) -> None:
    await place.ingest(quay=QUAY)
    await place.ingest(quay=QUAY.replace("audience: public", "audience: npc:pell"))
    events = await place.events()

    assert await visible(fresh_database, place.world, events) == []
    assert len(await visible(fresh_database, place.world, events, at=4)) == 3


async def test_a_file_that_is_gone_is_removed_and_may_come_back(place: Place, fresh_database: str) -> None:
    await place.ingest(quay=QUAY, moor=MOOR)
    gone = await place.ingest(moor=MOOR)
    back = await place.ingest(quay=QUAY, moor=MOOR)
    events = await place.events()

    assert (gone.removed, gone.retired) == (("quay",), 3)
    assert (back.changed, back.added) == (("quay",), 3)
    everything = [("moor", "Fog."), ("quay", "Stones."), ("quay", "Wet."), ("quay", "Green.")]
    assert await visible(fresh_database, place.world, events) == everything
    assert await visible(fresh_database, place.world, events, at=6) == everything
    assert await visible(fresh_database, place.world, events, at=10) == [("moor", "Fog.")]


async def test_one_file_alone_removes_nothing(place: Place) -> None:
    await place.ingest(quay=QUAY, moor=MOOR)
    done = await place.ingest(whole=False, quay=QUAY)

    assert (done.changed, done.removed) == ((), ())


async def test_another_folder_does_not_remove_a_collection(place: Place) -> None:
    await place.ingest(quay=QUAY)
    with pytest.raises(BadSettings, match="name this folder's own collection"):
        await place.ingest(moor=MOOR)
    beside = await place.ingest(collection="moors", moor=MOOR)

    assert (beside.changed, beside.removed) == (("moor",), ())
    assert (await place.ingest(quay=QUAY)).events == 0


async def test_a_document_follows_its_file_into_another_collection(place: Place) -> None:
    await place.ingest(quay=QUAY, moor=MOOR)
    moved = await place.ingest(collection="town", quay=QUAY)
    left = await place.ingest(moor=MOOR)

    assert (moved.changed, moved.added) == (("quay",), 0)
    assert "was of the collection lore, is now of town" in moved.warnings[0]
    assert (left.changed, left.removed) == ((), ())


async def test_documents_of_one_title_are_noted(place: Place) -> None:
    done = await place.ingest(one="---\ntitle: T\naudience: public\n---\nA.", other="---\ntitle: T\naudience: public\n---\nB.")

    assert done.warnings == ("other.md: has the title of one.md",)


async def test_a_plan_says_nothing(place: Place) -> None:
    plan = await place.edge().plan(read(quay=QUAY), collection="lore", whole=True)

    assert (plan.added, plan.retired, [one.slug for one, _ in plan.changed]) == (3, 0, ["quay"])
    assert await place.said() == []


async def test_what_passages_need_is_ready_before_they_are_said(place: Place) -> None:
    order: list[str] = []

    async def prepare(chunks: Any) -> None:
        order.extend([chunk.text for chunk in chunks])
        assert await place.said() == []

    await place.edge(prepare=prepare).run(read(quay=QUAY), collection="lore", whole=True)

    assert order == ["Stones.", "Wet.", "Green."]


async def test_two_at_once_do_not_mix(nats_server: NatsServer, place: Place, fresh_database: str) -> None:
    """Several processes bring versions of one document: every revision is one piece, and the tables have one of the versions."""
    versions = [QUAY.replace("Wet.", f"Wet {number}.") for number in range(6)]
    async with connect(nats_server.url, name="lore-too") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            edges = [place.edge(), Ingest(log, publisher, place.world)]
            await asyncio.gather(
                *(edges[number % 2].run(read(quay=text), collection="lore", whole=True) for number, text in enumerate(versions))
            )
        await log.aclose()
    events = await place.events()
    ends = [(at, event.data) for at, event in enumerate(events) if isinstance(event.data, LoreDocumentIngested)]

    assert [end.revision for _, end in ends] == list(range(1, len(ends) + 1))
    for (before, _), (at, end) in pairwise([(-1, LoreDocumentIngested()), *ends]):
        assert {event.data.revision for event in events[before + 1 : at]} <= {end.revision}  # type: ignore[attr-defined]
    assert [body for _, body in await visible(fresh_database, place.world, events)] in [
        ["Stones.", f"Wet {number}.", "Green."] for number in range(6)
    ]


async def test_a_document_longer_than_a_batch_is_true_with_its_last_event(place: Place, fresh_database: str) -> None:
    long = HEAD + "".join(f"# {number}\n\nStone {number}.\n\n" for number in range(2 * GROUP + 100))
    await place.ingest(moor=MOOR)
    done = await place.ingest(moor=MOOR, quay=long)
    events = await place.events()

    assert done.added == 2 * GROUP + 100
    assert len(events) == done.added + 1 + 2
    assert await visible(fresh_database, place.world, events[: GROUP + 500]) == [("moor", "Fog.")]
    assert len(await visible(fresh_database, place.world, events)) == done.added + 1
    assert (await place.ingest(moor=MOOR, quay=long)).events == 0


async def test_what_was_cut_off_is_said_again(place: Place, fresh_database: str) -> None:
    """A long document whose first batch alone came into the log (its writer was killed) is as if nothing had been said."""
    long = HEAD + "".join(f"# {number}\n\nStone {number}.\n\n" for number in range(GROUP + 100))

    class Killed(Exception):
        pass

    class Half:
        """A publisher that is killed between two batches."""

        connection = place.publisher.connection

        def __init__(self) -> None:
            self.groups = 0

        async def publish_group(self, drafts: Any, *, expected: Any = None) -> list[int]:
            self.groups += 1
            if self.groups == 2:
                raise Killed
            return await place.publisher.publish_group(drafts, expected=expected)

    with pytest.raises(Killed):
        await Ingest(place.log, Half(), place.world).run(read(quay=long), collection="lore", whole=True)  # type: ignore[arg-type]
    half = await place.events()
    assert (len(half), await visible(fresh_database, place.world, half)) == (GROUP, [])

    shorter = HEAD + "".join(f"# {number}\n\nStone {number}.\n\n" for number in range(50, 60))
    await place.ingest(quay=shorter)

    assert [body for _, body in await visible(fresh_database, place.world, await place.events())] == [f"Stone {n}." for n in range(50, 60)]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_a_document_flips_at_once_however_batches_are_cut(place: Place, fresh_database: str, size: int) -> None:
    """After every commit of the projector, readers see each document before or after a revision."""
    versions = [QUAY, QUAY.replace("Wet.", "Dry.").replace("Green.", "Brown."), HEAD + "# Quay\n\nStones.\n"]
    for text in versions:
        await place.ingest(quay=text)
    await place.ingest(moor=MOOR, whole=False)
    await place.ingest(moor=MOOR)
    events = await place.events()
    whole = [["Stones.", "Wet.", "Green."], ["Stones.", "Dry.", "Brown."], ["Stones."], []]
    seen: list[list[str]] = []
    connection = await asyncpg.connect(fresh_database)
    for end in range(size, len(events) + size, size):
        await Projector(fresh_database, [knowledge]).run(Batches([events[:end]]))
        rows = [await connection.fetch(VISIBLE, place.world, at) for at in range(1, end + 1)]  # and "as of" every position so far
        seen += [[row["body"] for row in found if row["document"] == "quay"] for found in rows]
    await connection.close()

    assert [one for one in seen if one not in whole] == []
    assert [one for one in whole if one not in seen] == []
