"""The command `worldbus` itself: which verbs there are, and how every one of them ends.

Verbs import what they need when they are called, so that `worldbus --help` and shell completion stay quick.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from importlib import import_module
from typing import Any, NoReturn

import click

from bus.errors import BadSettings, Conflict, IdReused, Misuse, Rejected, Transient, WorldbusError
from worldbus import __version__

GROUPS = (
    "demo",
    "serve",
    "publish",
    "read",
    "sql",
    "why",
    "verify",
    "rebuild",
    "parked",
    "kb",
    "kb_search",
    "kb_eval",
    "lag",
    "care",
    "gateway",
    "bench",
    "asyncapi",
    "completion",
)
EPILOG = """Exit codes: 0 ok; 1 the answer is no, or differences were found; 2 wrong use or a bad event; 3 a server cannot be reached,
refuses or lost data; 70 a bug. Without --nats and --postgres, verbs use the servers of a running `up` or `demo`, or start their own
on the data folder."""


class Exit(IntEnum):
    """Exit codes.

    0 done, and all is well · 1 the answer is no: differences, faults, a conflict, nothing found · 2 wrong use: options, settings, an
    event that breaks a rule · 3 the environment: a server cannot be reached, refuses, is in use or lost data · 70 a bug of worldbus ·
    130 interrupted
    """

    OK = 0
    NO = 1
    USAGE = 2
    ENVIRONMENT = 3
    BUG = 70
    INTERRUPTED = 130


class No(WorldbusError):
    """The command worked and the answer is no; what was found has been printed."""

    code = "NO"


def exit_code(error: BaseException) -> Exit:
    """What an error means for whoever called."""
    match error:
        case No() | Conflict() | IdReused():
            return Exit.NO
        case Rejected() | BadSettings():
            return Exit.USAGE
        case Transient() | Misuse():
            return Exit.ENVIRONMENT
        case WorldbusError():
            return Exit.NO
        case KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED
        case _:
            return Exit.BUG


class App(click.Group):
    """A group whose verbs are found in the modules of GROUPS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        _load()
        return sorted(self.commands, key=lambda name: GROUPS.index(self.commands[name].callback.__module__.rpartition(".")[2]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        _load()
        return super().get_command(ctx, cmd_name)


def _load() -> None:
    for name in GROUPS:
        import_module(f"worldbus.cli.{name}")


@click.group(
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EPILOG,
)
@click.version_option(__version__, "-V", "--version", prog_name="worldbus", message="%(prog)s %(version)s")
def app() -> None:
    """The event-sourced backbone of a living game world: publish events, run handlers, query projections, replay the log."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script. Never shows a traceback unless -v was given or worldbus itself is at fault."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app.main(words, prog_name="worldbus", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else Exit.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`). Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(_explain(_single(error), words, error))


def _single(error: BaseException) -> BaseException:
    """The error that began it: the first one of a group, for the others came with it; and the one of ours behind an error that is nobody's,
    which happened while we cleaned up after it."""
    while True:
        before = None if error.__suppress_context__ or error.__cause__ else error.__context__
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif not isinstance(error, WorldbusError) and isinstance(before, (WorldbusError, ExceptionGroup)):
            error = before
        else:
            return error


def _explain(error: BaseException, words: Sequence[str], whole: BaseException) -> Exit:
    code = exit_code(error)
    verbose = _has(words, "-v", "--verbose")
    if code is Exit.INTERRUPTED:
        click.echo("interrupted", err=True)
    elif _has(words, "--json") and isinstance(error, WorldbusError):
        facts = {"error": error.code, "message": str(error), "facts": {key: _plain(value) for key, value in error.facts.items()}}
        click.echo(json.dumps(facts, ensure_ascii=False), err=True)
    elif not (isinstance(error, No) and not str(error)):
        click.echo(f"error: {error if isinstance(error, WorldbusError) else repr(error)}", err=True)
    if verbose:
        click.echo("".join(traceback.format_exception(whole)), err=True, nl=False)
    elif code is Exit.BUG:
        click.echo("This is a bug of worldbus: please report it with what `-v` shows.", err=True)
    return code


def _has(words: Sequence[str], *flags: str) -> bool:
    return any(word in flags for word in words)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
