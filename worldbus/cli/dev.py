"""`worldbus dev`: everything up, and each change of the game played at once, with what it would have decided differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from worldbus.cli.app import app
from worldbus.cli.options import PLACE, settings_options
from worldbus.cli.output import remark, say

if TYPE_CHECKING:
    from worldbus.settings import Settings

_FIELDS: Final = (*PLACE, "world", "durability", "inference", "metrics", "websocket")


@app.command()
@click.option("--last", "inputs", type=click.IntRange(0), metavar="N", default=2000, show_default=True,
              help="Recorded inputs that are decided again after a change of rules; 0: none.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(0.001, 3600), default=60.0, show_default=True,
              help="World seconds per real second, for a world whose clock has not started yet.")  # fmt: skip
@settings_options(*_FIELDS)
def dev(inputs: int, speed: float, settings: Settings) -> None:
    """Run the servers and the game, and play each change of its code, tables, SQL and schemas as soon as it is saved.

    Shows what changed rules would decide otherwise on the last recorded inputs, as `verify` does for the whole log. What cannot be loaded
    is named with file and line, and what ran before runs on. A projection whose SQL or functions changed is built anew, whatever its
    version says.
    """
    from worldbus.cli.serve import until_stopped

    until_stopped(_dev(settings, inputs, round(speed * 1000)))


async def _dev(settings: Settings, inputs: int, scale: int) -> None:
    import asyncio
    import os

    from worldbus.cli.serve import welcome
    from worldbus.dev.interpreter import Interpreter
    from worldbus.dev.session import Session
    from worldbus.games import reference
    from worldbus.servers import open_servers
    from worldbus.settings import GAME

    game, by = reference()
    if by == "--game":
        os.environ[GAME] = game  # for the processes that load it, which this one does not
    given = {name: str(getattr(settings, name)) for name in _FIELDS if name in settings.given and getattr(settings, name) is not None}
    given["data"] = str(settings.data.absolute())

    async with (
        open_servers(settings, own=settings.embedded_nats or settings.embedded_postgres) as servers,
        Interpreter() as interpreter,
        asyncio.TaskGroup() as group,
    ):
        keeping = group.create_task(servers.keep_alive(), name="keep-alive")

        def greet() -> None:
            for line in welcome(settings, servers):
                remark(line)

        try:
            await Session(interpreter, settings, given, inputs=inputs, scale=scale, say=say).run(greet)
        finally:
            keeping.cancel()
