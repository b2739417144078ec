"""Lines of events as a terminal shows them: cut or folded to its width, in colours. Elsewhere they stay as they are."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata

import click

from worldbus.cli.output import harmless

INDENT = " " * 9  # under the clock of an event, behind its position
_PARTS = re.compile(r"^( *\d+ \S+)(  \S* \S+  )(\w+)(.*)$", re.DOTALL)


def show_line(text: str, *, whole: bool = False) -> None:
    """Print one line about an event; on a terminal cut to its width, or with `whole` folded."""
    text = harmless(text)
    if not sys.stdout.isatty():
        click.echo(text)
        return
    width = shutil.get_terminal_size().columns
    first, *more = folded(text, width) if whole else [cut(text, width)]
    click.echo(coloured(first) if "NO_COLOR" not in os.environ else first)
    for line in more:
        click.echo(line)


def cut(text: str, width: int) -> str:
    """The text, ending in `…` if it is wider than that.

    >>> cut("a long line", 8), cut("short", 8)
    ('a long …', 'short')
    """
    return text if columns(text) <= width else _head(text, width - 1) + "…"


def folded(text: str, width: int) -> list[str]:
    """The text in lines of that width; those behind the first are indented."""
    lines = []
    room, indent = width, ""
    while columns(text) > room > 0:
        head = _head(text, room)
        at = head.rfind(" ") + 1 if head.rfind(" ") > room // 2 else len(head)
        lines.append(indent + text[:at].rstrip())
        text, indent, room = text[at:], INDENT, max(8, width - len(INDENT))
    return [*lines, indent + text]


def coloured(text: str) -> str:
    """Position and clock dimmed, the event's name in bold.

    >>> coloured("4711 12:00:00.000  main player:mira  PlayerArrived {}")
    '\\x1b[2m4711 12:00:00.000\\x1b[0m  main player:mira  \\x1b[1mPlayerArrived\\x1b[0m {}'
    """
    found = _PARTS.match(text)
    if found is None:
        return text
    when, who, name, rest = found.groups()
    return f"{click.style(when, dim=True)}{who}{click.style(name, bold=True)}{rest}"


def columns(text: str) -> int:
    """The width of a text on a terminal."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _head(text: str, width: int) -> str:
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:index]
    return text
