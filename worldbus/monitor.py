"""nats-server's monitor: figures over HTTP, for whoever does not need a connection to NATS."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

ANSWER_S = 1.0
ANSWER_LIMIT = 4 << 20  # bytes


async def monitor(url: str, path: str) -> dict[str, Any]:
    """A page of the monitor; empty where it does not answer: what it would say is missing then, and nothing is wrong."""
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(ANSWER_S):
            port = parts.port or (443 if secure else 80)
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure, limit=ANSWER_LIMIT)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        found = json.loads(body) if b" 200 " in head.split(b"\r\n")[0] else {}
    except (OSError, ValueError, TimeoutError):
        return {}
    return found if isinstance(found, dict) else {}
