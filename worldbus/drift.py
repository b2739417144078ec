"""The drift of the tables behind the log, for whoever just asked them. Costs next to nothing where they are in step."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bus.errors import WorldbusError
from projections.store import TROUBLE, connected
from worldbus.monitor import monitor

if TYPE_CHECKING:
    from asyncpg import Connection

    from worldbus.embedded import Servers

STREAM: Final = "LOG"
LOOKS: Final = 4
LOOK_AGAIN_S: Final = 0.05  # a projector commits within this, unless it is behind
IN_STEP_S: Final = 1.0
LEADS: Final = """
    SELECT EXISTS (
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = current_database()
           AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('worldbus projector', 0))
"""
"""True if a projector holds the lock of `worldbus.standby`: also one of an older release, which says nothing of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The state of the tables.

    position  the last event that they have
    projects  somebody projects at the moment
    behind    events that the log has and they have not; None where the log could not be asked
    behind_s  for how long the first of those has been there, seconds
    asleep    the servers run for this question alone: nothing comes that somebody would have to project
    """

    position: int
    projects: bool
    behind: int | None = None
    behind_s: float = 0.0
    asleep: bool = False

    def __str__(self) -> str:
        """Words for a reader; empty if all is well."""
        late = f"the tables are {self.behind} events and {self.behind_s:.1f} s behind the log" if self._late else ""
        if self.projects or (self.asleep and self.behind == 0):
            return late
        still = "no projector runs: `worldbus up` or `worldbus run --only projector` starts one"
        return f"{late}, and {still}" if late else f"the tables stand at position {self.position}: {still}"

    @property
    def _late(self) -> bool:
        return bool(self.behind) and (self.behind_s >= IN_STEP_S or not self.projects)


async def drift(servers: Servers) -> Drift | None:
    """The state of the tables now; None where that cannot be said (no tables yet, or a pooler in between)."""
    try:
        async with connected(servers.reader_dsn) as connection:
            projects = bool(await connection.fetchval(LEADS))
            position = await _position(connection)
            last = await _last(servers)
            for _ in range(LOOKS):
                if last is None or position >= last:
                    break
                await asyncio.sleep(LOOK_AGAIN_S)
                position = await _position(connection)
    except (*TROUBLE, WorldbusError):
        return None
    behind = None if last is None else max(0, last - position)
    age_s = await _age_s(servers, position + 1) if behind else 0.0
    return Drift(position=position, projects=projects, behind=behind, behind_s=age_s, asleep=servers.nats is not None)


async def _position(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT position FROM world.checkpoint"))


async def _last(servers: Servers) -> int | None:
    """The log's last position, by the server's monitor, or by the server itself."""
    if servers.nats_monitor_url:
        page = await monitor(servers.nats_monitor_url, "/jsz?streams=true")
        for account in page.get("account_details") or ():
            for stream in account.get("stream_detail") or ():
                if stream.get("name") == STREAM:
                    return int(stream["state"]["last_seq"])
    if not servers.nats_url:
        return None
    from bus.connection import connect  # a quarter of a second to load, which most calls need not spend

    async with connect(servers.nats_url, name="worldbus-drift", connect_timeout=1.0) as connection:
        return int((await connection.api(f"STREAM.INFO.{STREAM}"))["state"]["last_seq"])


async def _age_s(servers: Servers, position: int) -> float:
    """For how long an event has been in the log."""
    if not servers.nats_url:
        return 0.0
    from bus.answers import parse_stamp
    from bus.connection import connect

    try:
        async with connect(servers.nats_url, name="worldbus-drift", connect_timeout=1.0) as connection:
            found = await connection.api(f"STREAM.MSG.GET.{STREAM}", {"seq": position})
    except WorldbusError:
        return 0.0
    return max(0.0, time.time() - parse_stamp(found["message"]["time"]) / 1e9)
