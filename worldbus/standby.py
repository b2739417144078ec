"""One projector works, the others stand by: whoever holds an advisory lock of the database projects.

The lock only keeps projectors from taking turns at failing. Safety is the checkpoint's compare-and-set: should two work at once, one
of them ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from bus.errors import CheckpointMoved, LogDamaged, StoreUnavailable
from bus.presence import Part
from projections.archive import check_log
from projections.projector import Projector
from projections.store import connected, is_lost

if TYPE_CHECKING:
    from bus.log import Log
    from projections.projection import Projection

STANDBY_S = 0.5  # between two tries to get the lock
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('worldbus projector', 0))"

log_ = structlog.get_logger(__name__)


async def project(dsn: str, projections: Sequence[Projection], log: Log, part: Part | None = None) -> None:
    """Project whenever it is our turn, until cancelled; `part` is told how it stands. Raises `LogDamaged` when the log is not the one that
    was archived."""
    part = part or Part("projector")
    while True:
        try:
            await _lead(dsn, projections, log, part)
        except CheckpointMoved as error:
            part.stands("stands by", str(error))
            log_.warning("projector_stands_by", reason=str(error))
        except StoreUnavailable as error:
            part.stands("waits", str(error))
            log_.warning("projector_waits", reason=str(error))
        await asyncio.sleep(STANDBY_S)


async def _lead(dsn: str, projections: Sequence[Projection], log: Log, part: Part) -> None:
    async with connected(dsn) as connection:
        try:
            waited = False
            while not await connection.fetchval(_LOCK):
                part.stands("stands by", "another one projects")
                if not waited:
                    log_.info("projector_stands_by", reason="another one projects")
                waited = True
                await asyncio.sleep(STANDBY_S)
            report = await check_log(connection, log)
        except Exception as error:
            if is_lost(error, connection):
                raise StoreUnavailable(f"Postgres went away: {error!r}") from error
            raise
        if not report.ok:
            raise LogDamaged(f"{report.problem}: look with `worldbus check --full`, restore with `worldbus log repair --from-archive`")
        log_.info("projector_works", position=report.archive)
        await Projector(dsn, projections, part=part).run(log)
