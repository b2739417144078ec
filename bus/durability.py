"""The worth of an acknowledgement, proven at the start and not believed.

nats-server acknowledges before the event is on the disk unless it runs with `sync_interval: always`; its default loses up to two minutes of
acknowledged events in a power cut (a killed process loses nothing). `strict` therefore asks each server's monitoring port and refuses to
publish without the proof; `relaxed` is for those who accept that loss.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog

from bus.errors import BadSettings, NotDurable
from bus.log import Log

Durability = Literal["strict", "relaxed"]
RELAXED_LOSS = "a power cut can lose the acknowledged events of the last two minutes; a killed process loses none"
_ANSWER_LIMIT = 4 << 20  # bytes
_TIMEOUT = 20.0  # seconds; a refused connection is known at once, a slow machine is not

logger = structlog.get_logger(__name__)


async def prove(log: Log, durability: Durability, monitors: Sequence[str] = ()) -> None:
    """Return when the server's settings keep the promise of `durability`.

    `monitors` are the monitoring addresses of the servers that hold the log, e.g. `http://127.0.0.1:8222`: the one we are connected to, and
    in a cluster as many as the log has replicas. Raises `NotDurable` with what is missing.
    """
    if durability == "relaxed":
        logger.warning("relaxed_durability", loss=RELAXED_LOSS)
        return
    if not monitors:
        raise NotDurable(
            "strict durability needs a proof and no monitoring address was given: start nats-server with `http: 127.0.0.1:8222` "
            f"and give that address, or choose relaxed ({RELAXED_LOSS})"
        )
    await _prove_stream(log)
    proven = {await _prove_server(address) for address in monitors}
    if log.config.replicas == 1 and log.connection.server_id not in proven:
        raise NotDurable(
            f"monitoring address {', '.join(monitors)} belongs to another nats-server than the connection: give that of the one we use"
        )
    if len(proven) < log.config.replicas:
        raise NotDurable(
            f"log {log.name} has {log.config.replicas} replicas and {len(proven)} servers were proven: give the monitoring address of each",
            wanted=log.config.replicas,
            found=len(proven),
        )
    logger.info("strict_durability", servers=len(proven), replicas=log.config.replicas)


async def _prove_stream(log: Log) -> None:
    info = await log.connection.make(f"STREAM.INFO.{log.name}")
    mode = info["config"].get("persist_mode") or "default"
    if mode != "default":
        raise NotDurable(
            f"log {log.name} has persist_mode {mode!r}, which acknowledges before the disk: wanted the default; make the stream anew"
        )


async def _prove_server(address: str) -> str:
    """The identity of a server that syncs before it acknowledges."""
    answer = await _get(address, "/jsz")
    config = answer.get("config")
    if not isinstance(config, dict) or config.get("sync_always") is not True:
        interval = config.get("sync_interval", 0) / 1e9 if isinstance(config, dict) else 0
        raise NotDurable(
            f"nats-server at {address} syncs every {interval:g} s and acknowledges before: set `jetstream {{ sync_interval: always }}`, "
            f"or choose relaxed ({RELAXED_LOSS})",
            address=address,
        )
    return str(answer.get("server_id", ""))


async def _get(address: str, path: str) -> dict[str, Any]:
    """A small JSON document over plain HTTP."""
    parts = urlsplit(address if "//" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        raise BadSettings(f"monitoring address must look like http://127.0.0.1:8222, found {address!r}")
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 8222)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {parts.hostname}\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                head, _, body = (await _read_all(reader)).partition(b"\r\n\r\n")
            finally:
                writer.close()
        if b" 200 " not in head[:20]:
            raise NotDurable(
                f"monitoring address {address} answers {head[:60].decode(errors='replace')!r}: is it nats-server's?", address=address
            )
        answer = json.loads(body)
    except (OSError, TimeoutError, ValueError) as error:
        raise NotDurable(
            f"monitoring address {address} gives no answer ({error or type(error).__name__}): start nats-server with "
            "its `http` port and give that address",
            address=address,
        ) from error
    if not isinstance(answer, dict):
        raise NotDurable(f"monitoring address {address} gives no JSON object: is it nats-server's?", address=address)
    return answer


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    whole = bytearray()
    while part := await reader.read(1 << 16):
        whole += part
        if len(whole) > _ANSWER_LIMIT:
            raise ValueError(f"more than {_ANSWER_LIMIT} bytes")
    return bytes(whole)
