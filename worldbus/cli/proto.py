"""`worldbus proto`: the events of a game's own, from their sources to code, recorded examples and promises."""

from __future__ import annotations

from pathlib import Path

import click

from worldbus.cli.app import No, app
from worldbus.cli.output import say


@app.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 where something is not in step.")
@click.option("--before-first-release", is_flag=True, help="Take changes that break recorded events; no log exists yet that holds them.")
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks of errors.")
def proto(check: bool, before_first_release: bool, verbose: bool) -> None:
    """Generate Python code from a game's .proto files, record an example of what is new, and promise to keep it.

    The folders stand in the nearest pyproject.toml: [tool.worldbus] proto = "proto", gen = "spaceport/gen". Recorded events and promises
    lie beside the sources (corpus/, released.txt); commit them with the code. A change that would make recorded events unreadable is
    refused before anything is written. Sources may import worldbus/<subsystem>/v<n>/*.proto.
    """
    from bus.errors import BadSettings, Misuse
    from schemas.compat import compare
    from schemas.errors import SchemaError, ToolMissing
    from schemas.generate import generate
    from schemas.record import record
    from worldbus.extras import require
    from worldbus.project import nearest

    require("the code of events", "proto")
    if check and before_first_release:
        raise click.UsageError("--check changes nothing: give it alone")
    project = nearest(Path.cwd(), "proto")
    if project is None:
        raise BadSettings(
            f"wanted the folders of a game's events in a pyproject.toml in or above {Path.cwd()}, found none: write "
            '[tool.worldbus] with proto = "proto" and gen = "<package>/gen"'
        )
    layout = project.layout()
    try:
        kept = compare(layout, before_first_release=before_first_release)
        say(generate(layout, check=check))
        say(record(layout, check=check, before_first_release=before_first_release))
        say(kept if check else compare(layout, accept=True, before_first_release=before_first_release))
    except ToolMissing as error:
        raise Misuse(str(error)) from error
    except SchemaError as error:
        raise No(str(error)) from error
