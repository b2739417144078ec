"""The servers that a verb needs, and nothing else: what it costs to ask them something is mostly what is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from worldbus.embedded import embedded

if TYPE_CHECKING:
    from worldbus.embedded import Servers
    from worldbus.settings import Settings


@asynccontextmanager
async def open_servers(
    settings: Settings, *, own: bool = False, nats: bool = True, postgres: bool = True, create: bool = False
) -> AsyncIterator[Servers]:
    """The servers that are needed: given ones, those of whoever owns the data folder, or our own. A given server starts no embedded one.

    Only who wants to `create` or to `own` makes a world where there is none; the others raise `NoWorld`. Raises as
    `worldbus.embedded.embedded`; with `own`, `FolderInUse` when somebody else owns the folder.
    """
    if not (nats and settings.embedded_nats) and not (postgres and settings.embedded_postgres):
        settings = replace(settings, nats_url=settings.nats_url or "", postgres_dsn=settings.postgres_dsn or "")
    async with embedded(settings, own=own, create=own or create) as servers:
        yield servers
