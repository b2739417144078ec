"""The clock's schedule: a sorted map that is never changed in place."""

from __future__ import annotations

import msgspec

from handlers.time_manager.schedule import EMPTY, MAX_RUN, Schedule


def test_an_empty_schedule_has_nothing_due() -> None:
    assert (len(EMPTY), list(EMPTY), EMPTY.get("a"), list(EMPTY.until(10**9))) == (0, [], None, [])
    assert EMPTY.remove("a") is EMPTY


def test_a_change_leaves_the_original_alone() -> None:
    one = EMPTY.put("a", 5)
    two = one.put("a", 3)

    assert (list(EMPTY), list(one), list(two), list(two.remove("a"))) == ([], [(5, "a")], [(3, "a")], [])


def test_until_is_inclusive_and_in_due_order() -> None:
    schedule = EMPTY.put("c", 3).put("b", 2).put("a", 2)

    assert list(schedule.until(1)) == []
    assert list(schedule.until(2)) == [(2, "a"), (2, "b")]


def test_no_piece_grows_beyond_its_bound_and_none_is_empty() -> None:
    schedule = EMPTY
    for number in range(5000):
        schedule = schedule.put(f"k{number}", number * 7919 % 5000)
    for number in range(0, 5000, 2):
        schedule = schedule.remove(f"k{number}")

    assert len(schedule) == 2500
    assert all(0 < len(run) <= MAX_RUN for run in schedule.order)


def test_a_schedule_survives_its_snapshot() -> None:
    schedule = EMPTY.put("weather.quay.step", 3).put("player.mira.presence-1", 1)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(schedule), type=Schedule) == schedule
