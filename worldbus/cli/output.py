"""The output of verbs: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

import click

if TYPE_CHECKING:
    from worldbus.embedded import Servers

PLAIN_EVERY_S = 5.0
LIVE_EVERY_S = 0.1
BAR = 24  # characters
_COMMANDS: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def say(text: str = "") -> None:
    """A line of the result."""
    click.echo(harmless(text))


def remark(text: str) -> None:
    """A line for people only. Where nobody can read it any more (a closed terminal, a full disk), it is lost and nothing else."""
    with suppress(OSError):
        click.echo(harmless(text), err=True)


def remark_made(servers: Servers) -> None:
    """Say that this verb made a world, if it did: in a folder that was not meant, nobody would ever look for it."""
    if servers.made is None:
        return
    from worldbus.embedded.registry import running

    others = [one.folder for one in running() if one.folder != str(servers.made)]
    remark(f"made a new world: there was none in {servers.made}" + (f"; worlds that run: {', '.join(others)}" if others else ""))


def harmless(text: str) -> str:
    """The text with whatever a terminal would obey instead of showing it spelt out: documents and players' words are not ours.

    >>> print(harmless("quiet" + chr(27) + "[2J"))
    quiet\\x1b[2J
    """
    return text if text.isprintable() else _COMMANDS.sub(lambda found: ascii(found.group())[1:-1], text)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """One JSON value; without `indent` on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent, default=str))


def table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """Rows in columns; numbers to the right.

    >>> print(table([("quay", 3), ("moor", 12)], ("zone", "players")))
    zone  players
    quay        3
    moor       12
    """
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(_numeric(row[index]) for row in cells) for index in range(len(header))]
    widths = [max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(header)]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width) for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [list(header), *cells]
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else repr(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(value))


def _numeric(text: str) -> bool:
    return text == "" or text.replace("-", "", 1).replace(".", "", 1).replace(",", "").isdigit()


class Progress:
    """One line on stderr that says how far long work is: redrawn on a terminal, written now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._started = self._shown = time.monotonic()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def __call__(self, text: str, share: float | None = None) -> None:
        """Show `text`, and a bar if the share that is done (0 to 1) is known. Cheap to call often."""
        now = time.monotonic()
        if now - self._shown < (LIVE_EVERY_S if self._live else PLAIN_EVERY_S) and self._width:
            return
        if not self._live and not self._width and now - self._started < PLAIN_EVERY_S:
            return
        self._shown = now
        done = "" if share is None else f"[{'#' * int(BAR * share):<{BAR}}] "
        line = f"{done}{text}"
        self._stream.write(f"\r{line:<{self._width}}" if self._live else f"{line}\n")
        self._stream.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Leave the line empty for what comes next."""
        if self._live and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
        self._width = 0
