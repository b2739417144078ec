"""One projector works, the others stand by: whoever holds a lock of the database projects.

The lock only keeps projectors from taking turns at failing. Safety is the checkpoint's compare-and-set: should two work at once, one
of them ends.

Once it has worked, no state of Postgres ends it: it waits, says why, and tries again. The log and the handlers need no Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from bus.errors import CheckpointMoved, LogDamaged, StoreRefused, Transient, WorldbusError
from bus.presence import Part
from projections.archive import check_log
from projections.hold import PROJECTOR, holding
from projections.prepare import prepare
from projections.projector import Projector
from projections.store import TROUBLE, connected, in_our_words

if TYPE_CHECKING:
    from bus.log import Log
    from projections.projection import Projection

FIRST_PAUSE_S: Final = 0.5
LAST_PAUSE_S: Final = 5.0

log_ = structlog.get_logger(__name__)


async def project(dsn: str, projections: Sequence[Projection], log: Log, part: Part | None = None, *, by_digest: bool = False) -> None:
    """Project whenever it is our turn, until cancelled; `part` is told how it stands. `by_digest`: see `Projector`.

    Raises `LogDamaged` when the log is not the one that was archived. What Postgres refuses is raised until something was projected.
    """
    part = part or Part("projector")
    pause = FIRST_PAUSE_S
    while True:
        try:
            await _lead(dsn, projections, log, part, by_digest)
        except CheckpointMoved as error:
            log_.warning("projector_stands_by", reason=str(error))
            part.stands("stands by", str(error))
            pause = FIRST_PAUSE_S
        except LogDamaged:
            raise
        except (*TROUBLE, WorldbusError) as error:
            if not part.ran and not isinstance(error, Transient):
                raise
            pause = FIRST_PAUSE_S if part.state == "works" else min(2 * pause, LAST_PAUSE_S)
            part.stands("waits", str(error) or repr(error))
            say = log_.warning if isinstance(error, (Transient, StoreRefused)) else log_.error  # the latter needs somebody to look
            say("projector_waits", reason=str(error) or repr(error), again_s=pause)
        await asyncio.sleep(pause)


async def _lead(dsn: str, projections: Sequence[Projection], log: Log, part: Part, by_digest: bool) -> None:
    def waiting() -> None:
        log_.info("projector_stands_by", reason="another one projects")
        part.stands("stands by", "another one projects")

    await prepare(dsn)
    async with holding(dsn, PROJECTOR, waiting=waiting):
        async with connected(dsn) as connection:
            with in_our_words("the log was held against the archive", connection):
                report = await check_log(connection, log)
        if not report.ok:
            raise LogDamaged(f"{report.problem}: look with `worldbus check --full`, restore with `worldbus log repair --from-archive`")
        log_.info("projector_works", position=report.archive)
        await Projector(dsn, projections, part=part, by_digest=by_digest).run(log)
