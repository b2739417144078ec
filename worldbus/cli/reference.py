"""docs/reference/cli.md, made from the commands themselves: `python -m worldbus.cli.reference > docs/reference/cli.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import click

from worldbus.cli.app import Exit, app

HEAD = """# The command line

`worldbus VERB [OPTIONS]`. This page is made from the commands themselves; `worldbus VERB --help` says the same.

Results go to stdout, progress and remarks to stderr. `--json` prints one JSON object, or one per line where a verb says several things;
errors are then JSON on stderr too. `-v` adds the log and tracebacks. What stands in brackets as WORLDBUS_... is the variable for an option.

Without `--nats` and `--postgres`, a verb uses the servers of the `up` or `demo` that runs on the data folder; if none does, it starts the
servers for as long as it runs.
"""


def page() -> str:
    """The whole page."""
    sections = [HEAD, _exit_codes()]
    context = click.Context(app, info_name="worldbus")
    sections += [section for name in app.list_commands(context) for section in _command(app, name, "worldbus")]
    return "\n".join(sections)


def _exit_codes() -> str:
    words = inspect.getdoc(Exit) or ""
    rows = " ".join(words.partition("\n\n")[2].split()).split(" · ")
    lines = [f"| {row.partition(' ')[0]} | {row.partition(' ')[2]} |" for row in rows]
    return "\n".join(["## Exit codes", "", "| code | means |", "|---|---|", *lines, ""])


def _command(group: click.Group, name: str, path: str) -> Iterator[str]:
    context = click.Context(group, info_name=path)
    command = group.get_command(context, name)
    assert command is not None
    whole = f"{path} {name}"
    yield "\n".join(_section(command, whole))
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _command(command, inner, whole)


def _section(command: click.Command, path: str) -> list[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"## {path}", "", f"`{usage}`", "", _help(command), ""]
    options = [record for one in command.params if (record := _record(one, context)) is not None]
    if options:
        lines += ["| option | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in options), ""]
    return lines


def _record(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    found: Any = parameter.get_help_record(context)
    if found is None:
        return None
    return found[0].replace("|", "\\|"), " ".join(found[1].split()).replace("|", "\\|")


def _help(command: click.Command) -> str:
    text = inspect.cleandoc(command.help or "")
    if "\b" not in text:
        return text
    before, _, block = text.partition("\b\n")
    return f"{before.rstrip()}\n\n```\n{block.rstrip()}\n```"


if __name__ == "__main__":
    sys.stdout.write(page())
