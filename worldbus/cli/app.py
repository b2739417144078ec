"""The command `worldbus` itself: which verbs there are, and how every one of them ends.

Verbs import what they need when they are called, so that `worldbus --help` and shell completion stay quick.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from importlib import import_module
from typing import Any, NoReturn

import click

from bus.errors import BadSettings, Conflict, IdReused, MissingExtra, Misuse, Rejected, Transient, WorldbusError
from worldbus import __version__

SECTIONS: dict[str, tuple[str, ...]] = {
    "Run a world": ("demo", "up", "dev", "run", "gateway"),
    "Find it": ("ps", "env", "rights"),
    "Publish and read": ("publish", "tail", "replay", "sql", "why", "kb"),
    "Is all well": ("check", "lag", "parked", "skipped", "verify"),
    "Change and repair": ("rebuild", "migrate", "log", "archive"),
    "Work on it": ("new", "proto", "bench", "asyncapi", "completion"),
}
"""The verbs by what they are for, as `--help` shows them."""
WHERE: dict[str, tuple[str, ...]] = {
    **{verb: (verb,) for verbs in SECTIONS.values() for verb in verbs},
    "up": ("serve",),
    "run": ("serve",),
    "tail": ("read",),
    "replay": ("read",),
    "check": ("care",),
    "migrate": ("care",),
    "log": ("care",),
    "archive": ("care",),
    "kb": ("kb", "kb_search", "kb_eval"),
}
"""The modules of each verb: a call loads its own."""
GROUPS = tuple(dict.fromkeys(module for modules in WHERE.values() for module in modules))
EPILOG = """Exit codes: 0 ok; 1 the answer is no: something is not as it should be, or differs; 2 wrong use, no world there, or a bad event;
3 a server cannot be reached or refuses; 70 a bug; 71 it stood still and was ended. Without --nats and --postgres, verbs use the
servers of the `up` or `demo` that runs on the data folder, or start those of its world for as long as they run."""
_SENTENCE = re.compile(r".*?\.(?= )|.*", re.DOTALL)


class Exit(IntEnum):
    """Exit codes.

    0 done, and all is well · 1 the answer is no: something is not as it should be, differences, a conflict, nothing found · 2 wrong use:
    options, settings, no world in that folder, an event that breaks a rule · 3 the environment: a server cannot be reached or refuses, a
    port or folder is in use, no room, no permission, an extra that is not installed · 70 a bug of worldbus · 71 the process stood still: a
    decision did not return and could not be interrupted, or SIGTERM found nobody at home · 130 interrupted
    """

    OK = 0
    NO = 1
    USAGE = 2
    ENVIRONMENT = 3
    BUG = 70
    HUNG = 71
    INTERRUPTED = 130


NEXT_STEPS: dict[int | None, str] = {
    errno.EADDRINUSE: "another program has that port: end it, or give another address",
    errno.EADDRNOTAVAIL: "that address is not this machine's: give one that is",
    errno.EACCES: "let this user do that, or name another place",
    errno.EPERM: "let this user do that, or name another place",
    errno.EROFS: "that file system is read-only: name another place",
    errno.ENOSPC: "the disk is full: free some room",
    errno.EDQUOT: "this user's share of the disk is used up: free some room",
    errno.EMFILE: "this process may open no more files: raise `ulimit -n`",
    errno.ENFILE: "this machine has no more files to open: end something, or raise fs.file-max",
    errno.EIO: "the disk does not answer as it should: look at the kernel's log",
    errno.ENOMEM: "this machine has no memory left: end something",
}
"""Refusals of the system that are no fault of ours, and the remedy for each."""


class No(WorldbusError):
    """The command worked and the answer is no; what was found has been printed."""

    code = "NO"


def exit_code(error: BaseException) -> Exit:
    """The exit code that tells the caller what an error means."""
    match error:
        case No() | Conflict() | IdReused():
            return Exit.NO
        case MissingExtra():
            return Exit.ENVIRONMENT
        case Rejected() | BadSettings():
            return Exit.USAGE
        case Transient() | Misuse():
            return Exit.ENVIRONMENT
        case OSError() if error.errno in NEXT_STEPS:
            return Exit.ENVIRONMENT
        case WorldbusError():
            return Exit.NO
        case KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED
        case _:
            return Exit.BUG


class Verbs(click.Group):
    """A group whose help says the first sentence of each verb to its end."""

    group_class: type | None = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in self.sections(ctx):
            rows = [(name, _first_sentence(command)) for name in names if (command := self.get_command(ctx, name)) and not command.hidden]
            with formatter.section(title):
                formatter.write_dl(rows)

    def sections(self, ctx: click.Context) -> list[tuple[str, Sequence[str]]]:
        """The verbs under their titles."""
        return [("Commands", self.list_commands(ctx))]


class App(Verbs):
    """The verbs of SECTIONS, found in the modules of WHERE."""

    group_class: type | None = Verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        _load()
        return list(WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        _load(WHERE.get(cmd_name, ()))
        return super().get_command(ctx, cmd_name)

    def sections(self, ctx: click.Context) -> list[tuple[str, Sequence[str]]]:
        _load()
        return list(SECTIONS.items())


def _first_sentence(command: click.Command) -> str:
    text = " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())
    return _SENTENCE.match(text + " ")[0].strip() if text else ""  # type: ignore[index]  # it matches up to the end


def _load(modules: Sequence[str] = GROUPS) -> None:
    for name in modules:
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
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell sets it so for what a script starts with `&`. Whoever says `kill -INT` there means us.
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
        sys.exit(_explain(_wanting(single(error), words), words, error))


def _wanting(error: BaseException, words: Sequence[str]) -> BaseException:
    """An import that failed for want of an extra, as the error that says which; any other error as it is."""
    if not isinstance(error, ModuleNotFoundError):
        return error
    from worldbus.extras import behind

    verb = next((word for word in words if word in WHERE), "")
    return behind(error, f"`worldbus {verb}`" if verb else "worldbus") or error


def single(error: BaseException) -> BaseException:
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
        click.echo(f"error: {_words(error)}", err=True)
    if verbose:
        click.echo("".join(traceback.format_exception(whole)), err=True, nl=False)
    elif code is Exit.BUG:
        click.echo("This is a bug of worldbus: please report it with what `-v` shows.", err=True)
    return code


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in NEXT_STEPS:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}: {NEXT_STEPS[error.errno]}"
    return str(error) if isinstance(error, WorldbusError) else repr(error)


def _has(words: Sequence[str], *flags: str) -> bool:
    return any(word in flags for word in words)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
