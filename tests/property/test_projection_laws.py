"""Every projection that ships keeps the laws of projections (`worldbus.testing.assert_projection_laws`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import strategies as st

from bus.event import Event
from migrations import migrate
from projections.knowledge.knowledge import knowledge
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerSessionSummarised
from schemas.gen.worldbus.state.v1.state_pb2 import SlotDeleted
from tests.duskmarket import PROJECTIONS
from tests.laws import examples
from tests.projected import event, places
from worldbus.embedded import PostgresServer
from worldbus.testing import assert_projection_laws
from worldbus.testing.servers import fresh_database

LORE = {message: "lore" for message in knowledge.on if message.DESCRIPTOR.name.startswith("Lore")}
_ZONES = st.sampled_from(["harbour", "market", "z" * 700, "\0", ""])
_SMALL = st.one_of(
    st.builds(PlayerEnteredZone, zone=_ZONES, x=st.sampled_from([0.0, 1.5, float("nan"), float("inf")]), previous=_ZONES),
    st.builds(PlayerSessionSummarised, duration_ms=st.integers(-(2**40), 2**40)),
    st.builds(SlotDeleted),
)


@pytest.fixture(scope="module")
def law_database(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all examples; each begins by emptying it."""
    with fresh_database(postgres_server) as dsn:
        migrate(dsn)
        yield dsn


@st.composite
def small_history(draw: st.DrawFn) -> list[Event]:
    """Few players and zones, so that changes meet in the same rows: sums, first values, drops, values that no column takes."""
    said = draw(st.lists(st.tuples(_SMALL, st.sampled_from(["a", "b"])), min_size=1, max_size=25))
    return [event(position, message, entity=entity) for position, (message, entity) in enumerate(said, start=1)]


@pytest.mark.hypothesis
def test_any_cut_and_repetition_gives_the_same_tables(law_database: str) -> None:
    assert_projection_laws(law_database, *PROJECTIONS, places(), histories=small_history(), examples=examples(25))


@pytest.mark.hypothesis
def test_no_event_stops_the_projections_and_any_cut_gives_the_same(law_database: str) -> None:
    assert_projection_laws(law_database, *PROJECTIONS, places(), said_by=LORE, examples=examples(25))
