"""Tables, progress, moments and exit codes: what people and scripts see."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bus import errors
from projections.query import Answer
from worldbus.cli.app import GROUPS, Exit, No, app, exit_code, main
from worldbus.cli.moments import parse_moment
from worldbus.cli.output import Progress, remark, say, table
from worldbus.cli.sql import as_csv, as_json_text, as_table, parse_position_or_moment

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_table_lines_up_and_shows_what_cannot_be_printed() -> None:
    assert table([("quay", 3), ("a\nb\x1b[31m", 12.5)], ("zone", "n")) == "zone             n\nquay             3\na\\nb\\x1b[31m  12.5"


@given(st.lists(st.tuples(st.text(), st.one_of(st.none(), st.integers(), st.floats(), st.text())), max_size=5))
def test_a_table_has_one_line_for_each_row_and_no_control_characters(rows: list[tuple[str, object]]) -> None:
    lines = table(rows, ("name", "value")).split("\n")

    assert len(lines) == len(rows) + 1
    assert all(character.isprintable() for line in lines for character in line)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_redrawn_on_a_terminal_and_leaves_nothing_behind() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress("half way", 0.5)

    drawn, _, left = stream.getvalue().rpartition("\r")
    assert "[############            ] half way" in drawn
    assert left == ""


def test_progress_elsewhere_says_nothing_about_short_work() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress("half way", 0.5)

    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("2d ago", NOW - timedelta(days=2)),
        ("2026-11-22T13:00:00+01:00", NOW),
        ("2026-11-22T12:00:00Z", NOW),
    ],
)
def test_moments_are_read_as_people_write_them(text: str, wanted: datetime) -> None:
    assert parse_moment(text, now=NOW) == wanted


@given(st.text())
def test_any_text_is_a_moment_with_a_zone_or_refused(text: str) -> None:
    try:
        found = parse_moment(text)
    except errors.BadSettings:
        return
    assert found.tzinfo is not None


def test_a_moment_that_cannot_be_read_is_refused_with_the_next_step() -> None:
    with pytest.raises(errors.BadSettings, match="wanted a time with its zone, like .*, or how long ago, like 15m, found 'noon'"):
        parse_moment("noon")


def test_digits_alone_are_a_position() -> None:
    assert parse_position_or_moment("4711") == 4711
    assert parse_position_or_moment("2026-11-22T12:00:00Z") == NOW


ANSWER = Answer(
    ("n", "exact", "at", "raw", "flag", "many", "nothing"),
    [(1, Decimal(18446744073709551615), NOW, b"\x00\xff", True, ["a", {"b": Decimal("1.50")}], None)],
)


def test_answers_come_as_json_that_keeps_every_value() -> None:
    assert json.loads(as_json_text(ANSWER)) == [
        {
            "n": 1,
            "exact": 18446744073709551615,
            "at": "2026-11-22T12:00:00+00:00",
            "raw": "AP8=",
            "flag": True,
            "many": ["a", {"b": "1.50"}],
            "nothing": None,
        }
    ]


def test_answers_come_as_csv_and_as_a_table() -> None:
    assert as_csv(ANSWER).splitlines()[1] == ('1,18446744073709551615,2026-11-22T12:00:00+00:00,AP8=,true,"[""a"", {""b"": ""1.50""}]",')
    assert as_table(ANSWER).splitlines()[0].split() == ["n", "exact", "at", "raw", "flag", "many", "nothing"]


@given(st.floats())
def test_every_number_of_postgres_is_valid_json(number: float) -> None:
    text = as_json_text(Answer(("n",), [(number,)]))

    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (No("differences"), Exit.NO),
        (errors.Conflict("moved"), Exit.NO),
        (errors.IdReused("taken"), Exit.NO),
        (errors.BadEvent("bad"), Exit.USAGE),
        (errors.UnknownType("unknown"), Exit.USAGE),
        (errors.BadSubject("bad"), Exit.USAGE),
        (errors.BadSettings("bad"), Exit.USAGE),
        (errors.StoreUnavailable("away"), Exit.ENVIRONMENT),
        (errors.Unknown("perhaps"), Exit.ENVIRONMENT),
        (errors.FolderInUse("in use"), Exit.ENVIRONMENT),
        (errors.LogDamaged("gap"), Exit.ENVIRONMENT),
        (errors.NotDurable("no proof"), Exit.ENVIRONMENT),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (ZeroDivisionError(), Exit.BUG),
    ],
)
def test_every_error_has_the_exit_code_that_a_script_needs(error: BaseException, wanted: Exit) -> None:
    assert exit_code(error) == wanted


def test_help_names_every_verb_and_every_verb_explains_itself() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["--help"]).output

    names = sorted(app.commands)
    assert {"demo", "up", "run", "publish", "tail", "replay", "sql", "verify", "rebuild", "parked", "lag", "migrate", "check", "bench"} <= {
        *names
    }
    for name in names:
        assert f"\n  {name} " in listed
        helped = runner.invoke(app, [name, "--help"])
        assert helped.exit_code == 0
        assert app.commands[name].help


def test_help_needs_none_of_the_heavy_modules() -> None:
    """Completion runs the command at every press of the tab key."""
    import subprocess
    import sys

    heavy = "google.protobuf", "asyncpg", "nats", "structlog", "handlers", "projections"
    program = f"import sys, worldbus.cli.app as a; a._load(); print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
    assert "completion" in GROUPS


def test_a_bug_is_named_as_one_and_shows_its_traceback_with_v(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main_of = app.get_command(click.Context(app), "completion")
    assert main_of is not None
    monkeypatch.setattr(main_of, "callback", lambda shell: 1 / 0)

    with pytest.raises(SystemExit) as ended:
        main(["completion", "bash"])

    said = capsys.readouterr().err
    assert ended.value.code == Exit.BUG
    assert said.splitlines()[0] == "error: ZeroDivisionError('division by zero')"
    assert "Traceback" not in said
    assert "-v" in said


def test_errors_of_several_tasks_are_told_by_the_first_and_as_json_for_scripts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise ExceptionGroup("tasks", [errors.LogDamaged("position 7 is gone", position=7), errors.Stopped("so I end too")])

    lag = app.get_command(click.Context(app), "lag")
    assert lag is not None
    monkeypatch.setattr(lag, "callback", fail)

    with pytest.raises(SystemExit) as ended:
        main(["lag", "--json"])

    assert ended.value.code == Exit.ENVIRONMENT
    assert json.loads(capsys.readouterr().err) == {"error": "LOG_DAMAGED", "message": "position 7 is gone", "facts": {"position": 7}}


def test_words_of_others_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    say("Wet\x1b]0;pwned\x07 st\u00f6nes\x9b2J \u202eback\n\tand \U0001f9d1\u200d\U0001f33e")
    remark("\x1b[2J\udcff")

    out, err = capsys.readouterr()
    assert out == "Wet\\x1b]0;pwned\\x07 st\u00f6nes\\x9b2J \\u202eback\n\tand \U0001f9d1\u200d\U0001f33e\n"
    assert err == "\\x1b[2J\\udcff\n"
