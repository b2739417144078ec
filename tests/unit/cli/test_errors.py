"""The words of a verb that failed: the error that began it, whatever came with it or after it."""

from __future__ import annotations

import pytest

from bus.errors import LogDamaged, StoreUnavailable
from worldbus.cli.app import single


def _raised(work: object) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        work()  # type: ignore[operator]
    return caught.value


def test_a_clean_up_that_fails_does_not_hide_what_it_cleaned_up_after() -> None:
    first = LogDamaged("the log is short")

    def work() -> None:
        try:
            raise first
        finally:
            [].remove(0)

    assert single(_raised(work)) is first


def test_of_a_group_the_first_error_counts_also_behind_a_failed_clean_up() -> None:
    first = StoreUnavailable("Postgres is away")

    def work() -> None:
        try:
            raise ExceptionGroup("tasks", [ExceptionGroup("inner", [first]), ValueError("came with it")])
        finally:
            [].remove(0)

    assert single(_raised(work)) is first


def test_an_error_of_ours_that_was_meant_stands_for_itself() -> None:
    meant = LogDamaged("meant")

    def work() -> None:
        try:
            raise StoreUnavailable("first")
        except StoreUnavailable:
            raise meant  # noqa: B904

    assert single(_raised(work)) is meant


def test_a_bug_stays_one() -> None:
    bug = ValueError("ours")

    def work() -> None:
        try:
            raise KeyError("looked up")
        except KeyError as error:
            raise bug from error

    assert single(_raised(work)) is bug
