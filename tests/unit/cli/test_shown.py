"""Things as a terminal shows them: lines cut to its width, colours only there, help in whole sentences, names that the tab key knows."""

from __future__ import annotations

import inspect
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from schemas.registry import all_events
from tests.duskmarket import PROJECTIONS, by_name
from worldbus.cli import names
from worldbus.cli.app import SECTIONS, WHERE, app
from worldbus.cli.env import libpq
from worldbus.cli.layout import columns, cut, folded
from worldbus.cli.meant import meant
from worldbus.cli.ps import ranges, span
from worldbus.cli.tables import known

LINE = '4711 12:00:00.000  main npc:mira  NpcSpoke {"text": "' + "words and more words " * 20 + '"}'


@given(st.text(), st.integers(2, 200))
def test_a_line_is_cut_to_the_width_and_says_so(text: str, width: int) -> None:
    shown = cut(text, width)

    assert columns(shown) <= width
    assert shown == text or shown.endswith("…")
    assert text.startswith(shown.removesuffix("…"))


@given(st.text("abc é字🧑 ", max_size=300), st.integers(20, 200))
def test_a_folded_line_loses_nothing(text: str, width: int) -> None:
    lines = folded(text, width)

    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_line_folds_at_words() -> None:
    assert all(line.rstrip().endswith(("words", "and", "more", '"}', '"words')) for line in folded(LINE, 60)[1:-1])


PROGRAM = f"from worldbus.cli.layout import show_line; show_line({LINE!r})"


def on_a_terminal(program: str, **variables: str) -> str:
    """The output of a program on a terminal of 80 columns."""
    main, other = pty.openpty()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
        "COLUMNS": "80",
        "TERM": "xterm",
        **variables,
    }
    with subprocess.Popen([sys.executable, "-c", program], stdout=other, stderr=other, stdin=other, env=environment) as process:
        os.close(other)
        said = b""
        while process.poll() is None or select.select([main], [], [], 0)[0]:
            try:
                said += os.read(main, 65536)
            except OSError:
                break
    os.close(main)
    return said.decode()


def test_colours_and_cuts_are_for_terminals() -> None:
    shown = on_a_terminal(PROGRAM)
    plain = on_a_terminal(PROGRAM, NO_COLOR="1")
    piped = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout

    assert "\x1b[1mNpcSpoke\x1b[0m" in shown
    assert shown.replace("\x1b[2m", "").replace("\x1b[0m", "").replace("\x1b[1m", "") == plain
    assert (len(plain.strip()), plain.strip()[-1]) == (80, "…")
    assert piped == LINE + "\n"


def groups() -> Iterator[tuple[str, click.Group]]:
    """Every command that has others below it."""
    context = click.Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        if isinstance(command, click.Group):
            yield name, command


def test_help_has_every_verb_once_under_what_it_is_for() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output

    assert sorted(verb for verbs in SECTIONS.values() for verb in verbs) == sorted(WHERE)
    for title in SECTIONS:
        assert f"\n{title}:\n" in shown


@pytest.mark.parametrize("words", [(), *((name,) for name, _ in groups())])
def test_help_cuts_no_sentence(words: tuple[str, ...]) -> None:
    shown = " ".join(CliRunner().invoke(app, [*words, "--help"]).output.split())
    group: click.Group = dict(groups())[words[0]] if words else app
    context = click.Context(group)

    assert "..." not in shown.partition("[ARGS]...")[2]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        first = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
        assert first in shown, name


def test_names_for_the_tab_key_are_those_that_there_are() -> None:
    assert set(names.handlers()) == set(by_name())
    assert set(names.projections()) == {one.name for one in PROJECTIONS}
    assert set(names.events()) == {cls.DESCRIPTOR.name for cls in all_events()}
    assert {"players", "events", "parked", "projections", "clock", "goods"} <= set(known())


def test_a_misspelt_name_is_guessed_and_another_is_not() -> None:
    assert meant(["wether"], by_name()) == ": did you mean weather?"
    assert meant(["Player"], by_name()) == ": did you mean player?"
    assert meant(["zzzzzz"], by_name()) == ""
    assert meant([], by_name()) == ""


@pytest.mark.parametrize(
    ("dsn", "wanted"),
    [
        (
            "postgresql://reader:se%20cret@/worldbus?host=/tmp/run&port=5432",
            {"PGHOST": "/tmp/run", "PGPORT": "5432", "PGUSER": "reader", "PGPASSWORD": "se cret", "PGDATABASE": "worldbus"},
        ),
        ("postgresql://db.example:6432/game", {"PGHOST": "db.example", "PGPORT": "6432", "PGDATABASE": "game"}),
        (
            "postgres://r@db/game?sslmode=require&password=x",
            {"PGHOST": "db", "PGUSER": "r", "PGPASSWORD": "x", "PGDATABASE": "game", "PGSSLMODE": "require"},
        ),
    ],
)
def test_an_address_of_postgres_in_the_words_of_psql(dsn: str, wanted: dict[str, str]) -> None:
    assert libpq(dsn) == wanted


def test_numbers_and_times_as_people_write_them() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2 5 7-8"
    assert ranges([]) == ""
    assert [span(ms) for ms in (950, 75_000, 7_500_000, 180_000_000, -5)] == ["1 s", "1 m 15 s", "2 h 5 m", "2 d 2 h", "0 s"]
