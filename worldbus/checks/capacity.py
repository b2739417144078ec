"""Room: the disks under the servers of this machine, and the limits of NATS. A full one takes no event."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bus.connection import ApiError
from projections.store import TROUBLE, connected
from worldbus.checks.finding import Bounds, Finding
from worldbus.monitor import monitor

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.embedded import Servers
    from worldbus.settings import Settings

GIB = 1 << 30
LOCAL = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store that fills up. `limit` in bytes."""

    name: str
    used: int
    limit: int
    disk: bool = False

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit > 0 else 0.0

    def nearly_full(self, bounds: Bounds) -> bool:
        """Over the share that may be used; a disk with room enough is not full whatever its share."""
        return self.share >= bounds.full and not (self.disk and self.limit - self.used >= bounds.room)

    def __str__(self) -> str:
        return f"{self.name} {self.share:.0%} full, {(self.limit - self.used) / GIB:.1f} GiB left"


async def capacity(log: Log, servers: Servers, settings: Settings, bounds: Bounds) -> Finding:
    """The room left in everything that events need."""
    stores = [*disks(await _folders(servers, settings)), *await _limits(log, servers)]
    full = [one for one in stores if one.nearly_full(bounds)]
    facts = {one.name: {"used": one.used, "limit": one.limit, "share": round(one.share, 4)} for one in stores}
    if full:
        step = "free some room or raise the limit; `--max-full` sets where this begins"
        return Finding("capacity", False, f"{'; '.join(map(str, full))}: {step}", facts=facts)
    fullest = max(stores, key=lambda one: one.share, default=None)
    return Finding("capacity", True, f"fullest: {fullest}" if fullest else "servers elsewhere, with no limits that they tell", facts=facts)


def disks(folders: dict[str, Path]) -> Iterator[Store]:
    """The file system of each folder, once."""
    seen = set()
    for name, folder in folders.items():
        try:
            device, usage = folder.stat().st_dev, shutil.disk_usage(folder)
        except OSError:
            continue  # not ours to look at
        if device not in seen:
            seen.add(device)
            used = usage.total - usage.free  # what is kept for root is not ours
            yield Store(name=f"disk of {name} ({folder})", used=used, limit=usage.total, disk=True)


async def _folders(servers: Servers, settings: Settings) -> dict[str, Path]:
    """Folders on this machine that servers write to."""
    folders = {}
    if settings.embedded_nats:
        folders["the log"] = settings.data.absolute()
    if settings.embedded_postgres:
        folders["the tables"] = settings.data.absolute()
    elif _is_here(servers.postgres_dsn):
        try:
            async with connected(servers.postgres_dsn) as connection:
                folders["the tables"] = Path(await connection.fetchval("SHOW data_directory"))
        except TROUBLE:  # only some roles may know
            pass
    if not settings.embedded_nats and servers.nats_monitor_url and _is_here(servers.nats_monitor_url):
        config = (await monitor(servers.nats_monitor_url, "/jsz")).get("config", {})
        if config.get("store_dir"):
            folders["the log"] = Path(config["store_dir"])
    return folders


def _is_here(address: str) -> bool:
    parts = urlsplit(address)
    return (parts.hostname or "") in LOCAL


async def _limits(log: Log, servers: Servers) -> list[Store]:
    """The limits of NATS itself: the log's stream, the account, the server."""
    stream = await log.connection.api(f"STREAM.INFO.{log.name}")
    account = await _account(log)
    stores = [
        Store(name=f"stream {log.name} (max_bytes)", used=stream["state"]["bytes"], limit=stream["config"].get("max_bytes", -1)),
        Store(name="NATS account (max_storage)", used=account.get("storage", 0), limit=account.get("limits", {}).get("max_storage", -1)),
    ]
    if servers.nats_monitor_url:
        server = await monitor(servers.nats_monitor_url, "/jsz")
        limit = server.get("config", {}).get("max_storage", -1)
        used = max(server.get("storage", 0), server.get("reserved_storage", 0))
        stores.append(Store(name="NATS server (max_file_store)", used=used, limit=limit))
    return [one for one in stores if one.limit > 0]


async def _account(log: Log) -> dict[str, Any]:
    try:
        return await log.connection.api("INFO")
    except ApiError:
        return {}
