"""Whose word counts about what is behind: the holder's, where it has received all that the server had delivered; otherwise the server's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.presence import Hold
from worldbus.lag import ConsumerLag, by_holder
from worldbus.roll_call import Member

MEMBER = Member(id="m", host="here", pid=7, handlers=["player"])


def asked(*, waiting: int = 0, open_: int = 0, settled: int = 0, delivered: int = 0) -> ConsumerLag:
    """A partition by the server's word."""
    return ConsumerLag(
        handler="player", name="player_3", exists=True, partition=3, waiting=waiting, open=open_, settled=settled, delivered=delivered
    )


def hold(*, open_: int = 0, settled: int = 0, received: int = 0) -> Hold:
    """The word of its holder."""
    return Hold(3, 1, open_, 1_796_000_000_000 if open_ else 0, settled, True, received)


def test_what_has_its_answer_is_not_behind_although_the_server_waits_for_the_acknowledgement() -> None:
    found = by_holder(asked(open_=150, settled=10, delivered=160), (MEMBER, hold(settled=160, received=160)))

    assert (found.behind, found.settled, found.held_by) == (0, 160, "here:7")


def test_what_has_none_is_behind_beside_what_was_not_delivered() -> None:
    found = by_holder(asked(waiting=5, open_=150, delivered=160), (MEMBER, hold(open_=2, settled=120, received=163)))

    assert (found.waiting, found.open, found.oldest_open_ms > 0) == (5, 2, True)


def test_a_holder_that_took_over_a_moment_ago_does_not_answer_for_what_was_delivered_before() -> None:
    """It has nothing open because it has received nothing yet: the inputs of the member that died are not answered for that."""
    found = by_holder(asked(open_=4, settled=10, delivered=160), (MEMBER, hold()))

    assert found.behind == 4


def test_a_release_that_does_not_say_what_it_received_is_believed_where_all_is_settled() -> None:
    assert by_holder(asked(open_=4, delivered=160), (MEMBER, hold(settled=160))).behind == 0
    assert by_holder(asked(open_=4, delivered=160), (MEMBER, hold(open_=1, settled=150))).behind == 4


@given(st.data())
def test_nothing_without_an_answer_is_left_out(data: st.DataObject) -> None:
    """A partition of inputs 1 to `last`, answered in order or not, as server and holder see it at two moments."""
    last = data.draw(st.integers(0, 8))
    delivered = data.draw(st.integers(0, last))
    received = data.draw(st.integers(0, last + 3))
    answered = data.draw(st.sets(st.integers(1, max(1, received)))) if received else set()
    acknowledged = next((at - 1 for at in range(1, delivered + 1) if at not in answered), delivered)
    floor = data.draw(st.integers(0, acknowledged))
    unsettled = [at for at in range(1, received + 1) if at not in answered]
    settled = unsettled[0] - 1 if unsettled else received

    server = asked(waiting=last - delivered, open_=delivered - floor, settled=floor, delivered=delivered)
    found = by_holder(server, (MEMBER, hold(open_=len(unsettled), settled=settled, received=received)))

    assert found.behind >= sum(at not in answered for at in range(1, last + 1))
    if received >= delivered == last and not unsettled:
        assert found.behind == 0
