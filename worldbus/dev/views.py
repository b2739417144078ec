"""The projections of a game that changes: whether Postgres takes their SQL, and when one that is built anew is what readers see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import asyncpg

from bus.errors import WorldbusError
from projections import generations
from projections.prepare import prepare
from projections.store import TROUBLE, connected
from worldbus.dev.told import told, told_sql
from worldbus.servers import open_servers

if TYPE_CHECKING:
    from projections.projection import Projection
    from worldbus.settings import Settings

LOOK_S: Final = 0.1
_TRIAL: Final = "worldbus_dev_trial"  # a schema that no transaction ever commits


async def refused(settings: Settings, projections: Sequence[Projection]) -> list[str]:
    """The objections of Postgres to these projections, each built in a transaction that is rolled back."""
    async with open_servers(settings, nats=False) as servers:
        await prepare(servers.postgres_dsn)
        async with connected(servers.postgres_dsn) as connection:
            return [problem for one in projections if (problem := await _problem(connection, one))]


async def _problem(connection: asyncpg.Connection, projection: Projection) -> str:
    trial = connection.transaction()
    await trial.start()
    try:
        await generations.build(connection, projection, _TRIAL)
    except (asyncpg.PostgresError, WorldbusError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, asyncpg.PostgresError) else error
        return told_sql(projection, cause) if isinstance(cause, asyncpg.PostgresError) else told(cause)
    finally:
        await trial.rollback()
    return ""


async def outdated(dsn: str, views: Mapping[str, str]) -> dict[str, str]:
    """Of these projections, by name with their digests, those of which readers see what another digest made."""
    with suppress(*TROUBLE, WorldbusError):
        await prepare(dsn)
        async with connected(dsn) as connection:
            seen = await _seen(connection)
        return {name: digest for name, digest in views.items() if seen.get(name, digest) != digest}
    return {}


async def until_built(dsn: str, views: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Tell of each of these projections once readers see what its digest made. Without a word if Postgres goes away meanwhile."""
    waiting = dict(views)
    with suppress(*TROUBLE, WorldbusError):
        async with connected(dsn) as connection:
            while waiting:
                seen = await _seen(connection)
                for name in [name for name, digest in waiting.items() if seen.get(name) == digest]:
                    del waiting[name]
                    tell(name)
                await asyncio.sleep(LOOK_S if waiting else 0)


async def _seen(connection: asyncpg.Connection) -> dict[str, str]:
    return {one.projection: one.made_by for one in await generations.load(connection) if one.live}
