"""`worldbus new`: a repository for a game of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from worldbus.cli.app import app
from worldbus.cli.output import remark, say


@app.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def new(name: str, folder: Path | None) -> None:
    """Make the repository of a game of your own, which runs and is tested in two commands.

    NAME becomes its package, and the first part of its event packages: 1-40 of a-z 0-9 _. FOLDER, by default called like it, must be new or
    empty. The game that is made has an event package, a handler, a projection, three people, their weather and their lore, and tests.
    """
    from worldbus.new import new as make

    root = folder or Path(name)
    for path in make(name, root):
        say(str(path))
    remark(f"Made the game {name!r}. Try next, in {root}:")
    remark("  make demo      # it lives for some seconds, and shows what happened")
    remark("  make test      # its rules, and the laws that hold for every game")
