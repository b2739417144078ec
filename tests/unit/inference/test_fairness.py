"""Who is next: shares first, urgency among those who have one."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from inference.fairness import FairQueue, Flow, urgency

MS = 1_000_000


@dataclass(eq=False)
class One:
    flow: Flow
    cost: float = 16.0
    salience: float = 0.5
    deadline_ns: int = 1000 * MS


def _order(queue: FairQueue[One]) -> list[One]:
    order = []
    while (one := queue.take(0)) is not None:
        order.append(one)
    return order


def test_trap_13_a_burst_of_one_player_does_not_push_another_back() -> None:
    queue: FairQueue[One] = FairQueue()
    for _ in range(100):
        queue.add(One(Flow("w", "spammer"), deadline_ns=1))
    other = One(Flow("w", "p"), deadline_ns=10_000 * MS)
    queue.add(other)

    assert other in _order(queue)[:2]


def test_worlds_share_alike_however_many_players_they_have() -> None:
    queue: FairQueue[One] = FairQueue()
    for number in range(30):
        queue.add(One(Flow("full", f"p{number % 3}")))
        queue.add(One(Flow("empty", "p")))
    served = [one.flow.world for one in _order(queue)[4:34]]

    assert 12 <= served.count("empty") <= 18


def test_among_players_with_a_share_the_least_slack_for_its_salience_goes_first() -> None:
    queue: FairQueue[One] = FairQueue()
    late = One(Flow("w", "a"), deadline_ns=900 * MS, salience=0.5)
    soon = One(Flow("w", "b"), deadline_ns=500 * MS, salience=0.5)
    salient = One(Flow("w", "c"), deadline_ns=900 * MS, salience=1.0)
    for one in (late, soon, salient):
        queue.add(one)

    assert _order(queue) == [salient, soon, late]


def test_a_passed_deadline_is_no_more_urgent_than_one_that_passes_now() -> None:
    assert urgency(-5_000 * MS, 0.5) == urgency(0, 0.5)


def test_who_has_most_waiting_is_refused_first() -> None:
    queue: FairQueue[One] = FairQueue()
    quiet = One(Flow("w", "quiet"))
    queue.add(quiet)
    loud = [One(Flow("w", "loud"), deadline_ns=number) for number in range(3)]
    for one in loud:
        queue.add(one)

    assert queue.greediest() is loud[-1]


def test_who_holds_slots_is_refused_before_who_has_none() -> None:
    queue: FairQueue[One] = FairQueue(2)
    for flow in (Flow("w", "served"), Flow("w", "served"), Flow("w", "new")):
        queue.add(One(flow))
    served = queue.take(0)
    assert served is not None
    assert served.flow.player == "served"

    refused = queue.greediest()
    assert refused is not None
    assert refused.flow.player == "served"
    assert queue.greediest(one for one in queue if one.flow.player == "new") in list(queue)
    assert queue.greediest([]) is None


@given(
    st.lists(
        st.builds(
            One,
            flow=st.builds(Flow, st.sampled_from("ab"), st.sampled_from("xyz")),
            cost=st.floats(1, 4096),
            salience=st.floats(0, 1),
            deadline_ns=st.integers(-(10**12), 10**12),
        ),
        max_size=40,
    ),
    st.data(),
)
def test_everything_comes_out_once_whatever_is_taken_out_between(ones: list[One], data: st.DataObject) -> None:
    queue: FairQueue[One] = FairQueue()
    for one in ones:
        queue.add(one)
    gone = [one for one in ones if data.draw(st.booleans())]
    for one in gone:
        assert queue.remove(one)
        assert not queue.remove(one)
    order = _order(queue)

    assert sorted(map(id, [*gone, *order])) == sorted(map(id, ones))
    assert len(queue) == 0
