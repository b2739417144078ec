"""Laws of projections: the tables are a function of the log, and of nothing else.

Any cut into batches, any repetition of deliveries and any restart give the same rows, the same archive and the same skips; and no event
whatever stops a projection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bus.event import Event
from migrations import migrate
from projections.catalogue import PROJECTIONS
from projections.dump import dump
from projections.knowledge.knowledge import knowledge
from projections.projection import Projection
from projections.projector import Projector
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerSessionSummarised
from schemas.gen.worldbus.state.v1.state_pb2 import SlotDeleted
from schemas.registry import subsystem
from tests.laws import examples
from tests.projected import Batches, event, places, rows, unreadable
from tests.strategies import messages
from worldbus.embedded import PostgresServer

SAID_BY = (
    {message: subsystem(message) for one in PROJECTIONS for message in one.on if not one.said_by}
    | {message: one.said_by for one in PROJECTIONS for message in one.on if one.said_by}
    | {message: "lore" for message in knowledge.on if message.DESCRIPTOR.name.startswith("Lore")}
)
HEARD = sorted(SAID_BY, key=lambda message: message.DESCRIPTOR.full_name)


@pytest.fixture(scope="module")
def law_database(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all examples; each begins by emptying it."""
    admin = postgres_server.address(database="postgres")

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(admin)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run("CREATE DATABASE laws OWNER worldbus_owner"))
    address = postgres_server.address("worldbus_owner", "laws")
    migrate(address)
    yield address
    asyncio.run(run("DROP DATABASE laws WITH (FORCE)"))


async def _emptied(connection: asyncpg.Connection) -> None:
    tables = await rows(
        connection,
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname LIKE 'p\\_%' OR tablename IN ('events', 'skipped')",
    )
    await connection.execute(f"TRUNCATE {', '.join(str(name) for (name,) in tables)}")
    await connection.execute("UPDATE worldbus.checkpoint SET position = 0, chain = decode(repeat('00', 32), 'hex')")


async def _result(address: str, projections: tuple[Projection, ...], runs: list[list[list[Event]]], *, most: int = 2000) -> list[object]:
    """Everything the database holds after these runs of a projector, each a list of deliveries. It takes what has come together, at most
    `most` events at a time.
    """
    connection = await asyncpg.connect(address)
    try:
        await _emptied(connection)
        for deliveries in runs:
            await Projector(address, projections, max_batch=most).run(Batches(deliveries))
        return [
            *[await dump(connection, one) for one in projections],
            await rows(connection, "SELECT position, chain FROM worldbus.checkpoint"),
            await rows(connection, "SELECT position, event_id, type, raw FROM worldbus.events ORDER BY 1"),
            await rows(connection, "SELECT position, projection, code FROM worldbus.skipped ORDER BY 1, 2"),
        ]
    finally:
        await connection.close()


def _heard() -> SearchStrategy[tuple[Message, str]]:
    return st.sampled_from(HEARD).flatmap(lambda kind: st.tuples(messages(kind), st.just(SAID_BY[kind])))


@st.composite
def any_history(draw: st.DrawFn) -> list[Event]:
    """Whatever the projections listen to, with whatever their fields may hold, and now and then bytes that are no event at all."""
    said = draw(st.lists(st.one_of(_heard(), st.binary(max_size=8)), min_size=1, max_size=12))
    return [
        unreadable(position, one, name="WeatherChanged")
        if isinstance(one, bytes)
        else event(position, one[0], entity=f"e{position % 3}", subsystem=one[1])
        for position, one in enumerate(said, start=1)
    ]


_ZONES = st.sampled_from(["harbour", "market", "z" * 700, "\0", ""])
_SMALL = st.one_of(
    st.builds(PlayerEnteredZone, zone=_ZONES, x=st.sampled_from([0.0, 1.5, float("nan"), float("inf")]), previous=_ZONES),
    st.builds(PlayerSessionSummarised, duration_ms=st.integers(-(2**40), 2**40)),
    st.builds(SlotDeleted),
)


@st.composite
def small_history(draw: st.DrawFn) -> list[Event]:
    """Few players and zones, so that changes meet in the same rows: sums, first values, drops, values that no column takes."""
    said = draw(st.lists(st.tuples(_SMALL, st.sampled_from(["a", "b"])), min_size=1, max_size=25))
    return [event(position, message, entity=entity) for position, (message, entity) in enumerate(said, start=1)]


@st.composite
def deliveries(draw: st.DrawFn, history: list[Event]) -> list[list[list[Event]]]:
    """`history` delivered in batches, from some point again and again, by a projector that is restarted now and then."""
    runs: list[list[list[Event]]] = [[]]
    reached = 0
    while reached < len(history):
        start = draw(st.integers(0, reached))
        end = draw(st.integers(reached + 1, len(history)))
        runs[-1].append(history[start:end])
        reached = end
        if draw(st.booleans()):
            runs.append([])
    return runs


@pytest.fixture(scope="module", autouse=True)
def _generations(law_database: str) -> None:
    """The schemas are made once, at position 0."""
    asyncio.run(Projector(law_database, (*PROJECTIONS, places())).run(Batches([])))


_FEW = settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))


@_FEW
@given(st.data())
def test_any_cut_and_repetition_gives_the_same_tables(law_database: str, data: st.DataObject) -> None:
    history = data.draw(small_history())
    runs = data.draw(deliveries(history))
    projections = (*PROJECTIONS, places())

    whole = asyncio.run(_result(law_database, projections, [[history]]))
    one_by_one = asyncio.run(_result(law_database, projections, [[[one] for one in history]], most=1))
    cut = asyncio.run(_result(law_database, projections, runs, most=data.draw(st.integers(1, 7), label="events in a batch")))

    assert whole == one_by_one
    assert whole == cut


@_FEW
@given(any_history(), st.data())
def test_no_event_stops_the_projections_and_any_cut_gives_the_same(law_database: str, history: list[Event], data: st.DataObject) -> None:
    projections = (*PROJECTIONS, places())
    runs = data.draw(deliveries(history))

    whole = asyncio.run(_result(law_database, projections, [[history]]))
    cut = asyncio.run(_result(law_database, projections, runs, most=data.draw(st.integers(1, 5), label="events in a batch")))

    assert whole == cut
    assert whole[-3] != [(0, bytes(32))]
    assert [row[3] for row in whole[-2]] == [one.raw for one in history]  # type: ignore[attr-defined]
