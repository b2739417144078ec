"""Proofs about a world that has settled: today's rules say the same, money adds up, tables are what the log makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from bus.verify import Verifier
from projections.payments import payments
from projections.rebuild import rebuild
from projections.store import connected
from worldbus.games import current

if TYPE_CHECKING:
    from worldbus.opening import Bus

_SUMS = "SELECT world, currency, sum_minor FROM world.ledger_check ORDER BY world, currency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The findings. In a good world `different` and `open` are 0, every sum is 0, and `rebuilds_differing` is empty.

    log_sha256  over position, subject and bytes of every event: equal for two logs exactly if they are the same
    decisions   that were made again with the handlers as they are
    """

    log_sha256: str
    decisions: int
    identical_percent: float
    different: int
    open: int
    ledger_sums: dict[str, int]
    rebuilds: int
    rebuilds_differing: list[str]

    @property
    def good(self) -> bool:
        """True if nothing was found."""
        return not (self.different or self.open or any(self.ledger_sums.values()) or self.rebuilds_differing)


async def prove(bus: Bus, tell: Callable[[str, float], None]) -> Proof:
    """Look at a world that has settled. The log is only read, the tables are only compared."""
    found = sha256()
    game = current()
    verifier = Verifier(game.handlers, partitions=bus.log.partitions)
    last = (await bus.log.state()).last
    async for events in bus.log.read(until=last):
        for event in events:
            found.update(f"{event.position} {event.subject} {len(event.raw)}\n".encode() + event.raw)
            await _recall(bus, verifier, verifier.missing(event))
            verifier.take(event)
            while stalled := verifier.stalled():
                await _recall(bus, verifier, stalled)
                verifier.resume()
        tell(f"decided again up to position {events[-1].position} of {last}", events[-1].position / max(1, last))
    report = verifier.finish(lambda handler, partition: last)
    dsn = bus.servers.postgres_dsn
    async with connected(dsn) as connection:
        rows = await connection.fetch(_SUMS) if payments.name in {one.name for one in game.projections} else ()
        sums = {f"{row['world']}/{row['currency']}": row["sum_minor"] for row in rows}
    differing = []
    for number, projection in enumerate(game.projections):
        tell(f"building {projection.name} again", number / len(game.projections))
        if not (await rebuild(projection, dsn, switch=False)).empty:
            differing.append(projection.name)
    return Proof(
        log_sha256=found.hexdigest(),
        decisions=report.decisions,
        identical_percent=report.percent,
        different=report.different,
        open=report.open,
        ledger_sums=sums,
        rebuilds=len(game.projections),
        rebuilds_differing=differing,
    )


async def _recall(bus: Bus, verifier: Verifier, positions: list[int]) -> None:
    for position in positions:
        verifier.recall(await bus.log.get(position))
