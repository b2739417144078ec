"""Waiting until a world has nothing left to do: every handler at the end of the log, and the tables with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bus.errors import WorldbusError
from projections.store import connected
from worldbus.games import current
from worldbus.lag import consumers

if TYPE_CHECKING:
    from asyncpg import Connection

    from worldbus.opening import World

QUIET_S = 60.0  # without any progress of handlers and projector
_SERVING = "SELECT projection, version FROM worldbus.generations WHERE live AND stopped_at IS NULL"


class NotQuiet(WorldbusError):
    """Handlers or projector did not come to the end of the log."""

    code = "NOT_QUIET"


async def until_quiet(world: World) -> int:
    """Return the log's last position once every handler has settled everything up to it and the tables of every projection hold it, also
    of one that is built from the log beside the others. For use where all of the game's handlers and projections run.

    Raises `NotQuiet` when nothing moves for `QUIET_S` seconds.
    """
    clock = asyncio.get_running_loop().time
    async with connected(world.servers.postgres_dsn) as connection:
        before: tuple[int, ...] = ()
        until = clock() + QUIET_S
        while True:
            last = (await world.log.state()).last
            behind = [one for one in await consumers(world.log, current().handlers) if not one.done]
            projected = await connection.fetchval("SELECT position FROM worldbus.checkpoint")
            building = await _building(connection)
            if not behind and not building and projected == last and (await world.log.state()).last == last:
                return last
            now = (last, projected, len(building), len(behind), sum(one.behind for one in behind))
            if now != before:
                before, until = now, clock() + QUIET_S
            elif clock() > until:
                late = ", ".join([*(f"{one.name} by {one.behind}" for one in behind), *(f"the tables of {name}" for name in building)])
                raise NotQuiet(
                    f"wanted all {last} events handled and projected, found nothing moving for {QUIET_S:.0f} s with the tables at "
                    f"{projected} and behind: {late or 'nobody'}; look with `worldbus lag`"
                )
            await asyncio.sleep(0.05)


async def _building(connection: Connection) -> list[str]:
    """The projections whose present version readers do not see yet."""
    serving = {(row["projection"], row["version"]) for row in await connection.fetch(_SERVING)}
    return [one.name for one in current().projections if (one.name, one.version) not in serving]
