"""The log held against its archive, before anybody may write: R1 storage does not notice a flipped bit, a second copy does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from bus.errors import BadSettings, LogDamaged, StoreUnavailable
from projections import checkpoints
from projections.archive import check_log
from projections.store import connected

if TYPE_CHECKING:
    from bus.log import Log

THOROUGH = 50_000  # events that are all compared at the start of an owner; of a longer log its length and last event

log_ = structlog.get_logger(__name__)


async def held_against_archive(log: Log, dsn: str, *, thorough: bool) -> None:
    """Raise `LogDamaged` unless the log holds what was archived; `thorough` compares every event of a log that is not long.

    Without a database, or before its first migration, there is nothing to compare with.
    """
    if not dsn:
        return
    try:
        async with connected(dsn) as connection:
            if await connection.fetchval("SELECT to_regclass('worldbus.checkpoint') IS NULL"):
                return  # nothing was ever archived
            archived = (await checkpoints.read(connection)).position
            report = await check_log(connection, log, full=thorough and archived <= THOROUGH)
    except (StoreUnavailable, BadSettings) as error:
        log_.warning("log_not_compared", reason=str(error))
        return
    if not report.ok:
        raise LogDamaged(f"{report.problem}: look with `worldbus check --full`, restore with `worldbus log repair --from-archive`")
