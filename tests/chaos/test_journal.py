"""The journal of a killed writer tells the next one what is not known."""

from __future__ import annotations

from pathlib import Path

from bench.chaos.history import Claim
from bench.chaos.journal import Journal, read

FIRST = Claim(id="a", lane="l", number=1, sha256="x")
SECOND = Claim(id="b", lane="l", number=2, sha256="y")


def test_outcomes_are_kept_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.trying(FIRST)
    journal.told("a", "no", code="DISCONNECTED")
    journal.trying(FIRST)
    journal.told("a", "ok", position=7)
    journal.close()

    assert [(one.kind, one.position, one.code) for one in read(tmp_path / "j")["a"].outcomes] == [("no", 0, "DISCONNECTED"), ("ok", 7, "")]


def test_a_try_without_an_outcome_is_unknown_whatever_was_told_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.trying(FIRST)
    journal.told("a", "no", code="DISCONNECTED")
    journal.trying(FIRST)
    journal.trying(SECOND)
    journal.close()

    claims = read(tmp_path / "j")

    assert (claims["a"].last.kind, claims["b"].last.kind) == ("maybe", "maybe")


def test_a_torn_line_is_passed_over_and_the_next_life_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = Journal(path)
    first.trying(FIRST)
    first.close()
    path.write_bytes(path.read_bytes() + b'{"id":"a","kind":"o')
    second = Journal(path)
    second.trying(FIRST)
    second.told("a", "ok", position=3)
    second.close()

    assert [one.kind for one in read(path)["a"].outcomes] == ["maybe", "ok"]


def test_no_journal_yet_is_no_claims(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == {}
