"""The laws of projections: the tables are a function of the log, and of nothing else.

Any cut into batches, any repetition of deliveries and any restart give the same rows, the same archive and the same skips; a rebuild gives
the rows that serve; and no event whatever stops a projection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bus.errors import Misuse
from bus.event import Draft, Event
from bus.testing import WORLD
from projections.checkpoints import read as checkpoint_of
from projections.dump import dump
from projections.projector import Projector
from projections.rebuild import rebuild
from schemas.registry import subsystem
from worldbus.testing.drawing import messages

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from hypothesis.strategies import SearchStrategy

    from projections.projection import Projection

NOON_NS: Final = 1_767_268_800_000_000_000  # 2026-01-01T12:00:00Z
PARTITIONS: Final = 8
ENTITIES: Final = 3
MOST: Final = 12  # events of one example
ALL_AT_ONCE: Final = 2000


def assert_projection_laws(
    database: str,
    *projections: Projection,
    histories: SearchStrategy[list[Event]] | None = None,
    said_by: Mapping[type[Message], str] | None = None,
    examples: int = 10,
) -> None:
    """Raise `AssertionError` where one of the projections breaks one of the laws above in any of `examples` histories.

    `database` is the owner's address of a migrated database without a history, such as the fixture `worldbus_database`; it is emptied
    before each example and at the end, and is refused (`Misuse`) where it holds a history. `histories` draws lists of events at positions
    1, 2, 3; left out, they hold whatever the projections listen to, said by the subsystem whose word counts, now and then by another one,
    and now and then bytes that are no event. `said_by` names who says a type that is not said by the subsystem whose package declares it.

    Not for use inside a running event loop.
    """
    _refuse_a_running_loop()
    asyncio.run(_begin(database, projections))
    drawn = any_history(projections, said_by or {}) if histories is None else histories
    phases = [one for one in settings().phases if one is not Phase.explain]  # which tries a hundred examples more, each of some 50 ms

    @settings(max_examples=examples, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))
    @given(drawn, st.data())
    def any_history_gives_one_result(history: list[Event], data: st.DataObject) -> None:
        runs = data.draw(deliveries(history), label="deliveries")
        most = data.draw(st.integers(1, 7), label="events in a batch")
        asyncio.run(_hold(database, projections, history, runs, most, data.draw(st.sampled_from(projections), label="rebuilt")))

    try:
        any_history_gives_one_result()
    finally:
        asyncio.run(_end(database))


async def _hold(
    database: str,
    projections: tuple[Projection, ...],
    history: list[Event],
    runs: list[list[list[Event]]],
    most: int,
    rebuilt: Projection,
) -> None:
    cut = await result(database, projections, runs, most=most)
    one_by_one = await result(database, projections, [[[one] for one in history]], most=1)
    whole = await result(database, projections, [[history]])
    assert one_by_one == whole, "events one by one give other tables than all of them at once"
    assert cut == whole, "this cut into batches gives other tables than all events at once"
    assert [row[1] for row in whole["events"]] == [one.raw for one in history], "the archive is not the log"
    difference = await rebuild(rebuilt, database, switch=False)
    assert difference.empty, f"a rebuild of {rebuilt.name} gives other rows: {difference.tables}"


async def result(
    database: str, projections: Sequence[Projection], runs: list[list[list[Event]]], *, most: int = ALL_AT_ONCE
) -> dict[str, Any]:
    """The content of the emptied database after these runs of a projector, each a list of deliveries, by what it is.

    The projector takes what has come together, at most `most` events at a time.
    """
    connection = await asyncpg.connect(database)
    try:
        await _empty(connection)
        for batches in runs:
            await Projector(database, projections, max_batch=most).run(Batches(batches))
        found: dict[str, Any] = {one.name: await dump(connection, one) for one in projections}
        return found | {
            "checkpoint": await _rows(connection, "SELECT position, chain FROM worldbus.checkpoint"),
            "events": await _rows(connection, "SELECT position, raw, event_id, type FROM worldbus.events ORDER BY 1"),
            "skipped": await _rows(connection, "SELECT position, projection, code FROM worldbus.skipped ORDER BY 1, 2"),
        }
    finally:
        await connection.close()


class Batches:
    """A reader that yields exactly these batches, whatever it is asked for: deliveries repeated included."""

    def __init__(self, batches: Iterable[Sequence[Event]]) -> None:
        self._batches = list(batches)

    async def read(self, *, after: int, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        """Each batch, in order."""
        for batch in self._batches:
            yield batch


# -- what is drawn ------------------------------------------------------------------------------------------------------------------


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


def any_history(projections: Sequence[Projection], said_by: Mapping[type[Message], str]) -> SearchStrategy[list[Event]]:
    """Draw a history: events that the projections listen to, with any values in their fields, and now and then bytes that are no event."""
    speakers = {kind: one.said_by or said_by.get(kind) or subsystem(kind) or "game" for one in projections for kind in one.on}
    kinds = sorted(speakers, key=lambda kind: kind.DESCRIPTOR.full_name)
    said = st.sampled_from(kinds).flatmap(
        lambda kind: st.tuples(messages(kind), st.sampled_from((speakers[kind], speakers[kind], speakers[kind], "game")))
    )
    junk = st.tuples(st.binary(max_size=8), st.sampled_from(kinds))
    return st.lists(st.one_of(said, said, said, junk), min_size=1, max_size=MOST).map(
        lambda drawn: [_junk(at, *one) if isinstance(one[0], bytes) else _event(at, *one) for at, one in enumerate(drawn, start=1)]
    )


def _event(position: int, message: Message, speaker: str) -> Event:
    draft = Draft(
        data=message,
        world=WORLD,
        entity=f"e{position % ENTITIES}",
        subsystem=speaker,
        id=f"test-{position}",
        time_ns=NOON_NS + position * 1_000_000,
    )
    return Event(
        raw=draft.encode(), subject=draft.subject, partition=position % PARTITIONS, position=position, recorded_ns=draft.time_ns + 1000
    )


def _junk(position: int, raw: bytes, kind: type[Message]) -> Event:
    return Event.stored(raw, f"evt.{position % PARTITIONS}.{WORLD}.game.e1.{kind.DESCRIPTOR.name}", position, NOON_NS)


# -- the database -------------------------------------------------------------------------------------------------------------------


def _refuse_a_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise Misuse("assert_projection_laws runs event loops of its own, found one that runs: call it from a test that is no coroutine")


async def _begin(database: str, projections: tuple[Projection, ...]) -> None:
    """Refuse a database with a history, and make the projections' tables."""
    connection = await asyncpg.connect(database)
    try:
        found = await checkpoint_of(connection)
    finally:
        await connection.close()
    if found.position:
        raise Misuse(
            f"wanted a database without a history, which this empties, found one at position {found.position}: use worldbus_database",
            position=found.position,
        )
    await Projector(database, projections).run(Batches([]))


async def _end(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await _empty(connection)
    finally:
        await connection.close()


async def _empty(connection: asyncpg.Connection) -> None:
    """Every table of the projections and the archive; the checkpoint is before the first event."""
    tables = await _rows(
        connection,
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname LIKE 'p\\_%' OR (schemaname = 'worldbus' AND tablename IN ('events', 'skipped'))",
    )
    await connection.execute(f"TRUNCATE {', '.join(name for (name,) in tables)}")
    await connection.execute("UPDATE worldbus.checkpoint SET position = 0, chain = decode(repeat('00', 32), 'hex')")


async def _rows(connection: asyncpg.Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query)]
