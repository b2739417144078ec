"""The list of planted faults fits the source, names promises and tests that are there, and is the table that the documents show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.mutants.fault import ROOT, Fault, Misplanted, load
from bench.mutants.scratch import scratch
from bench.mutants.table import PAGE, page_with
from bench.mutants.trial import belongs, failed, try_fault

FAULTS = load()
PROMISES = set(re.findall(r"^\| ([A-Z$]\d+(?:, [A-Z$]\d+)*) \|", PAGE.read_text(), re.MULTILINE))

SOURCE = "def double(number):\n    return 2 * number\n"
TESTS = """
from arithmetic import double

def test_it_doubles():
    assert double(2) == 4

def test_nothing_of_it():
    pass
"""


def fault(**changes: object) -> Fault:
    known = {"name": "halved", "file": "arithmetic.py", "promise": "L1", "reason": "", "find": "2 * number", "put": "number / 2"}
    return Fault(**({**known, "tests": ("test_arithmetic.py::test_it_doubles",)} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.name)
def test_a_fault_can_be_planted(one: Fault) -> None:
    """When this fails, the code has moved on: write the fault anew, so that it goes on being tried."""
    one.plant(ROOT)


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.name)
def test_a_fault_names_a_promise_and_tests_that_are_there(one: Fault) -> None:
    assert one.promise in {name for names in PROMISES for name in names.split(", ")}
    assert one.reason
    assert one.tests or one.chaos
    for test in one.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists(), test
        assert not name or re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_there_are_enough_of_them_and_the_page_shows_them_all() -> None:
    assert len(FAULTS) >= 30
    assert len({one.file for one in FAULTS}) >= 20
    assert page_with(FAULTS) == PAGE.read_text(), "run `python -m bench.mutants --table`"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"find": "3 * number"}, "found it 0 times"),
        ({"find": "number"}, "found it 2 times"),
        ({"put": "2 * * number"}, "is no Python"),
        ({"put": "(2 * number)"}, "changes nothing"),
        ({"file": "geometry.py"}, "found none"),
    ],
)
def test_a_fault_that_does_not_fit_any_more_says_what_to_do(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    (tmp_path / "arithmetic.py").write_text(SOURCE)

    with pytest.raises(Misplanted, match=words):
        fault(**changes).plant(tmp_path)


def test_a_fault_is_in_the_copy_alone_and_whoever_does_not_notice_it_is_named() -> None:
    with scratch() as copy:
        (copy.root / "arithmetic.py").write_text(SOURCE)
        (copy.root / "test_arithmetic.py").write_text(TESTS)
        one = fault(tests=("test_arithmetic.py::test_it_doubles", "test_arithmetic.py::test_nothing_of_it"))

        before = failed(copy, one.tests, 100)
        verdict = try_fault(copy, one, "key", "never", chaos=False)
        after = failed(copy, one.tests, 100)

    assert not any(before.values())
    assert verdict.noticed == ["test_arithmetic.py::test_it_doubles"]
    assert verdict.silent == ["test_arithmetic.py::test_nothing_of_it"]
    assert not verdict.kept
    assert before == after


@pytest.mark.parametrize(
    ("test", "listed", "wanted"),
    [
        ("tests/a.py::test_b", "tests/a.py::test_b", True),
        ("tests/a.py::test_b[x]", "tests/a.py::test_b", True),
        ("tests/a.py::test_b", "tests/a.py", True),
        ("tests/x/a.py::test_b", "tests/x", True),
        ("tests/a.py::test_bc", "tests/a.py::test_b", False),
    ],
)
def test_a_listed_test_is_known_again(test: str, listed: str, wanted: bool) -> None:
    assert belongs(test, listed) is wanted
