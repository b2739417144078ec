"""The limit of aiohttp: read the body, answer with a few bytes of JSON. No token, no parsing, no log.
`python -m bench.peers.http_echo` prints its port.
"""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    """An answer about as long as the gateway's."""
    body = await request.read()
    return web.json_response(
        {"id": "x" * 26, "position": len(body), "subject": "evt.bench.game.p1.PlayerMoved", "replayed": False}, status=201
    )


async def serve() -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_post("/v1/events", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
