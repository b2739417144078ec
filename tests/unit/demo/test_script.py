"""A rehearsed demo: one seed, one log; everybody speaks, money adds up, and the bench of decisions measures what was really decided."""

from __future__ import annotations

import pytest

from bench.decide import decisions, measure
from bus.testing import Rehearsal
from tests.duskmarket import ALL, by_name
from tests.ledger import check_ledger
from worldbus.demo.script import rehearse


@pytest.fixture(scope="module")
def town() -> Rehearsal:
    return rehearse(players=8, minutes=120, seed=3)


def test_every_subsystem_speaks_and_nothing_is_refused_for_its_form(town: Rehearsal) -> None:
    assert {event.subsystem for event in town.log} >= set(by_name())
    codes = {getattr(event.data, "code", "") for event in town.log}
    assert {code for code in codes if code.startswith(("BAD_", "UNKNOWN_"))} == set()


def test_money_adds_up(town: Rehearsal) -> None:
    check_ledger(town.log, rewards=True)


def test_the_same_seed_gives_the_same_log_and_another_one_does_not() -> None:
    first, again, other = (
        [(str(event.subject), event.raw) for event in rehearse(players=3, minutes=20, seed=seed).log] for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_what_the_bench_measures_is_what_was_decided(town: Rehearsal) -> None:
    for handler in ALL:
        found = decisions(handler, town.log)

        assert found, handler.name
        assert [list(handler.decide(one.event, one.state)) for one in found] == [[said.data for said in one.said] for one in found]
        assert measure(handler, town.log).decisions >= min(20, len(found))
