"""The verdict over an input at which other processes came to harm."""

from __future__ import annotations

from typing import Any

import pytest

from bus.hangs import Hang
from bus.suspects import Suspects


def left(member: str = "other", **fields: Any) -> Hang:
    """A record about the call that decides one input."""
    return Hang(**({"handler": "hanger", "world": "w", "entity": "a", "step": "decide", "position": 7, "member": member} | fields))


def known(*hangs: Hang) -> Suspects:
    suspects = Suspects("me")
    suspects.learn(hangs)
    return suspects


def test_one_death_is_bad_luck_and_two_are_the_inputs_fault() -> None:
    assert Suspects.verdict(left(state="deciding")) is None
    for deaths in (1, 2, 7):
        verdict = Suspects.verdict(left(state="deciding", deaths=deaths))
        assert verdict is not None
        assert verdict.code == "HANDLER_HUNG"
        assert f"{deaths + 1} processes in a row ended without a word" in str(verdict)


def test_a_process_that_ended_by_a_hang_leaves_its_stack_to_the_verdict() -> None:
    verdict = Suspects.verdict(left(state="hung", seconds=6.0, stack="while True:"))

    assert verdict is not None
    assert (verdict.code, verdict.stack) == ("HANDLER_HUNG", "while True:")
    assert "ended with code 71" in str(verdict)


def test_what_another_member_may_still_get_out_of_is_waited_for_and_not_condemned() -> None:
    hang = left(state="hanging", settled_s=600.0)
    suspects = known(hang)

    assert Suspects.verdict(hang) is None
    assert suspects.wait_s(hang) > 0
    assert suspects.outdated() == []
    assert known(left(state="hanging", settled_s=0.0)).outdated() != []


@pytest.mark.parametrize("state", ["hung", "hanging", "deciding"])
def test_what_this_process_left_itself_is_no_news_to_it(state: str) -> None:
    suspects = known(left("me", state=state), left("other", state=state, position=9))

    assert suspects.of_input("w", "a", 7) is None
    assert suspects.of_input("w", "a", 9) is not None


def test_an_input_that_was_asked_for_again_is_another_matter() -> None:
    suspects = known(left(state="hung", asked=12))

    assert suspects.of_input("w", "a", 7) is None
    assert suspects.of_request("w", "a", 12) is not None
    assert suspects.of_request("w", "a", 13) is None
