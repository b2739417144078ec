"""A hole that the log's own reader notices is a finding of the check, not the end of it: `log repair` has to be told what to mend.

Found by the bit flips of `bench chaos`: repair failed with the very damage it was called for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg

from bus.errors import LogDamaged
from bus.event import Event
from projections import Listed, Projector
from projections.archive import check
from tests.projected import events


@dataclass(frozen=True)
class State:
    last: int


class Holed:
    """Reads as the log does: a position that is missing raises."""

    async def read(self, *, after: int, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        yield events(200)
        raise LogDamaged("log LOG goes on at position 202, wanted 201", wanted=201, found=202)


async def test_a_hole_in_the_log_is_reported_with_its_position(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, []).run(Listed(events(300)))

    report = await check(connection, State(300), Holed(), full=True)

    assert (report.ok, report.damaged, report.position) == (False, "log", 201)
    assert report.problem == "LOG DAMAGED: log LOG goes on at position 202, wanted 201"
