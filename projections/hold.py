"""Locks by which one of several processes does a piece of work, while the others wait or leave it alone.

A lock belongs to an open transaction rather than to a session: a pooler in transaction mode takes the session away between two statements,
and would leave its locks on a connection that it gives to somebody else. The transaction has neither snapshot nor number, so it holds back
no vacuum. A lock whose connection broke is free again, without a word to whoever held it: what is done under it must be safe without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from projections.store import TROUBLE, connected, in_our_words

if TYPE_CHECKING:
    from asyncpg import Connection

PROJECTOR: Final = "worldbus projector"
EVERY_S: Final = 0.5  # between two tries to get a lock
_TRY: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
# transaction_timeout came with Postgres 17.
_PATIENT: Final = """
    SELECT set_config(name, '0', true) FROM pg_settings
     WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')
"""


@asynccontextmanager
async def holding(dsn: str, name: str, *, waiting: Callable[[], None] | None = None) -> AsyncIterator[bool]:
    """Hold the lock `name` of this database for the block; False if another process holds it.

    With `waiting`, which is called once if that is so, the block begins when the lock is free. Raises as `connect`.
    """
    async with connected(dsn) as connection:
        with in_our_words(f"the lock {name!r} was asked for", connection):
            mine = await _take(connection, name)
            if not mine and waiting is not None:
                waiting()
                while not mine:
                    await asyncio.sleep(EVERY_S)
                    mine = await _take(connection, name)
        yield mine
        if mine:
            with suppress(*TROUBLE):  # the connection ends here anyway, and the lock with it
                await connection.execute("ROLLBACK")


async def _take(connection: Connection, name: str) -> bool:
    await connection.execute("BEGIN")
    await connection.execute(_PATIENT)
    if await connection.fetchval(_TRY, name):
        return True
    await connection.execute("ROLLBACK")
    return False
