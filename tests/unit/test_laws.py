"""Property tests are the same for everybody, and what a search finds can be pasted above its test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import core, settings
from hypothesis.internal.conjecture import engine
from hypothesis.vendor import pretty

from tests import laws

ROOT = Path(__file__).parents[2]
LAW = """
from hypothesis import given, strategies as st

@given(st.lists(st.integers()), st.booleans())
def test_no_list_is_long(numbers, flag):
    print("tried", numbers, flag)
    assert len(numbers) < 3
"""


def test_examples_are_drawn_without_chance_and_nothing_is_kept_between_runs() -> None:
    same = settings.get_profile("same")

    assert (same.derandomize, same.database) == (True, None)
    assert not settings.get_profile("search").derandomize


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_the_search_says_how_to_repeat_it_and_what_to_paste(tmp_path: Path, processes: Sequence[str]) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_runtest_logreport, pytest_runtest_makereport, pytest_terminal_summary\n"
    )
    (tmp_path / "test_law.py").write_text(LAW)

    done = _search(tmp_path, "--seed", "7", "--times", "2", *processes)

    assert done.returncode == 1
    assert "make laws SEED=7 TIMES=2 (TZ=" in done.stderr
    assert "test_law.py::test_no_list_is_long\n@example(\n    numbers=[0, 0, 0],\n    flag=False,\n)" in done.stdout


def test_the_same_seed_searches_the_same(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests import laws\n\nlaws.load()\n")
    (tmp_path / "test_law.py").write_text(LAW.replace("< 3", "< 10**9"))

    first, second, other = (_tried(_search(tmp_path, "-s", "--seed", seed, "--times", "1")) for seed in ("1", "1", "2"))

    assert first == second
    assert first != other
    assert len(first) == laws.EXAMPLES


def test_examples_do_not_depend_on_which_tests_were_collected(tmp_path: Path) -> None:
    """Hypothesis tries the constants of every module that is imported, which are others where a single test is run."""
    (tmp_path / "conftest.py").write_text("from tests import laws\n\nlaws.load()\n")
    (tmp_path / "test_law.py").write_text(LAW.replace("< 3", "< 10**9"))
    (tmp_path / "other.py").write_text(f"NUMBERS = {list(range(987_654, 987_754))}\n")
    (tmp_path / "test_other.py").write_text("import other\n\ndef test_other():\n    assert other.NUMBERS\n")

    alone, together = (_tried(_tested(tmp_path, *names)) for names in (["test_law.py"], ["test_other.py", "test_law.py"]))

    assert alone == together
    assert len(alone) == laws.EXAMPLES


def test_hypothesis_is_itself_also_behind_the_tests_that_borrow_it() -> None:
    """schemathesis swaps parts of it for the whole process, tests/integration/gateway/test_schema.py puts them back."""
    assert core.RepresentationPrinter is pretty.RepresentationPrinter
    assert engine.BUFFER_SIZE == 8192


def test_a_counterexample_in_a_class_is_called_without_its_self() -> None:
    words = "Failing test case: test_it(\n    self=<tests.T object at 0x1>,\n    x=[1,\n        2],\n)\nmore"

    assert list(laws.pasteable("a.py::T::test_it", words)) == ["# a.py::T::test_it\n@example(\n    x=[1,\n        2],\n)"]


def _search(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.laws", *words, f"--rootdir={folder}", "-c", str(ROOT / "pyproject.toml"), str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _tested(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    options = ["-s", f"--rootdir={folder}", "-c", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *options, *(str(folder / name) for name in names)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})


def _tried(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "tried" in line]
