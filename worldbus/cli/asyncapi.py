"""`worldbus asyncapi`: the events of this release as a document."""

from __future__ import annotations

from pathlib import Path

import click

from worldbus.cli.app import No, app
from worldbus.cli.options import game_option
from worldbus.cli.output import remark, say


@app.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of stdout.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if --output differs from what would be written.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
@game_option
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks of errors.")
def asyncapi(output: Path | None, check: bool, as_json: bool, verbose: bool) -> None:
    """Describe every event, who says it and who listens, as an AsyncAPI 3 document."""
    from schemas.asyncapi import document, to_json, to_yaml
    from worldbus import __version__
    from worldbus.games import current

    found = document(current().handlers, version=__version__)
    text = to_json(found) if as_json else to_yaml(found)
    if output is None:
        say(text.rstrip("\n"))
    elif check:
        if not output.exists() or output.read_text(encoding="utf-8") != text:
            raise No(f"{output} is not what this release says: write it with `worldbus asyncapi --output {output}`")
    else:
        output.write_text(text, encoding="utf-8")
        remark(f"wrote {output}")
