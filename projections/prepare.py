"""Bringing a database up to date before it is worked on."""

from __future__ import annotations

import asyncio

import asyncpg

from bus.errors import BadSettings, StoreRefused, StoreUnavailable
from migrations import TABLE, migrate, missing
from projections.store import Meaning, connected, in_our_words, meaning_of


async def prepare(dsn: str) -> list[str]:
    """Apply every pending migration; the names of those that were applied.

    The database is asked first, so that one that takes no changes at the moment serves where none are to be made. Raises `StoreUnavailable`
    for what may pass, `StoreRefused` for what the server refuses, and `BadSettings`.
    """
    if not await lacking(dsn):
        return []
    try:
        return await asyncio.to_thread(migrate, dsn)
    except BadSettings as error:
        match meaning_of(str(error.facts.get("sqlstate") or "")):
            case Meaning.STATE:
                raise StoreUnavailable(str(error)) from error
            case Meaning.REFUSED:
                raise StoreRefused(str(error)) from error
        raise


async def lacking(dsn: str) -> list[str]:
    """The migrations that this database does not have. Raises as `prepare`."""
    async with connected(dsn) as connection:
        with in_our_words("its migrations were looked up", connection):
            try:
                return missing(row[0] for row in await connection.fetch(f"SELECT version FROM public.{TABLE}"))  # noqa: S608 - a constant
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                return missing(())
