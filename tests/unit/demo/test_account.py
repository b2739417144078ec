"""The demo's book-keeping notices every kind of broken promise, and nothing where none was broken."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from bus.event import Draft, Event, output_id
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerArrived, PlayerDeparted, PlayerEnteredZone, PlayerJoined, PlayerLeft
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked
from tests.duskmarket import by_name
from worldbus.demo.account import DUE, Account
from worldbus.demo.ledger import Promise
from worldbus.demo.report import percentile
from worlds.duskmarket.bots.town import DUE as TOWN_DUE

MS = 1_000_000


class Written:
    """A small log, written by hand: one event each millisecond."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def say(self, data: Message, entity: str = "mira", *, id: str = "") -> Event:
        """An edge says something."""
        position = len(self.events) + 1
        return self._append(Draft(data=data, world="main", entity=entity, id=id or f"in-{position}", time_ns=position * MS - MS // 2))

    def answer(self, cause: Event, data: Message, step: int = 0, steps: int = 1, *, entity: str = "mira") -> Event:
        """The handler `player` answers."""
        return self._append(
            Draft(
                data=data,
                world="main",
                entity=entity,
                subsystem="player",
                id=output_id(cause.id, "player", entity, step),
                time_ns=cause.time_ns,
                cause=cause.id,
                lane=f"{cause.partition}:{cause.position}:{step}:{steps}",
            )
        )

    def _append(self, draft: Draft) -> Event:
        position = len(self.events) + 1
        event = Event(raw=draft.encode(), subject=draft.subject, partition=0, position=position, recorded_ns=position * MS)
        self.events.append(event)
        return event

    def joined(self) -> Event:
        """Mira joins, and is answered."""
        cause = self.say(PlayerJoined(display_name="Mira", zone="quay"))
        self.answer(cause, PlayerArrived(session=1), 0, 2)
        self.answer(cause, PlayerEnteredZone(zone="quay"), 1, 2)
        return cause

    def account(self, *, archived: dict[int, str] | None = None, promises: list[Promise] | None = None) -> Account:
        """Counted, with everything from outside promised and everything archived unless said otherwise."""
        account = Account(by_name().values())
        account.take(self.events)
        account.settle(
            [Promise(event.id, event.position) for event in self.events if event.lane is None] if promises is None else promises,
            {event.position: event.id for event in self.events} if archived is None else archived,
        )
        return account


@pytest.fixture
def written() -> Written:
    return Written()


def test_a_good_run_has_no_faults_and_its_delays_are_those_of_the_log(written: Written) -> None:
    written.joined()

    account = written.account()

    assert account.faults.lines() == []
    assert (account.events, account.handled) == (3, 1)
    share = account.shares["player"]
    assert (share.events_in, share.events_out, share.delays_ns) == (1, 2, [1 * MS])
    assert account.answered == {1: 3}
    assert account.say_delays_ns == [MS // 2]


def test_an_acknowledged_event_that_is_not_in_the_log_is_lost(written: Written) -> None:
    written.joined()

    account = written.account(promises=[Promise("in-1", 1), Promise("in-9", 9), Promise("in-2", 2)])

    assert [line.partition(",")[0] for line in account.faults.lost] == [
        "in-9 was acknowledged at 9",
        "in-2 was acknowledged at 2",
    ]


def test_an_event_that_is_not_archived_is_lost(written: Written) -> None:
    written.joined()
    archived = {event.position: event.id for event in written.events} | {3: "another"}
    del archived[2]

    faults = written.account(archived=archived).faults

    assert [line.split(" (")[0] for line in faults.lost] == ["position 2", "position 3"]


def test_an_input_whose_effect_is_due_and_missing_is_lost(written: Written) -> None:
    written.joined()
    written.say(PlayerLeft())

    (line,) = written.account().faults.lost

    assert line.startswith("PlayerLeft at 4 has no answer of player: wanted one of PlayerDeparted")


def test_an_id_or_an_effect_that_stands_twice_is_duplicated(written: Written) -> None:
    cause = written.joined()
    written.answer(cause, PlayerEnteredZone(zone="quay"), 1, 2)

    faults = written.account().faults

    assert faults.duplicated == [
        f"event id {written.events[2].id} stands at positions 3 and 4",
        "player/main/mira said output 1 of input 1 2 times",
    ]


def test_a_lane_that_answers_an_earlier_input_after_a_later_one_is_out_of_order(written: Written) -> None:
    first = written.say(PlayerJoined(display_name="Mira", zone="quay"))
    second = written.say(PlayerLeft())
    written.answer(second, PlayerDeparted(session=1))
    written.answer(first, PlayerArrived(session=1))

    faults = written.account().faults

    assert faults.out_of_order == ["player/main/mira answered 1 at 4, after it had answered 2"]


def test_lanes_of_other_entities_have_an_order_of_their_own(written: Written) -> None:
    first = written.say(PlayerJoined(display_name="Mira", zone="quay"))
    second = written.say(PlayerJoined(display_name="Nadir", zone="quay"), "nadir")
    written.answer(second, PlayerArrived(session=1), entity="nadir")
    written.answer(first, PlayerArrived(session=1))

    assert written.account().faults.lines() == []


def test_a_parked_input_is_told_with_its_reason_and_may_be_answered_late(written: Written) -> None:
    first = written.say(PlayerJoined(display_name="Mira", zone="quay"))
    written.answer(first, EventParked(handler="player", position=1, reason="no such zone"))
    second = written.say(PlayerLeft())
    written.answer(second, PlayerDeparted(session=1))
    written.answer(first, PlayerArrived(session=1))

    faults = written.account().faults

    assert faults.parked == ["player/main/mira could not decide position 1: no such zone"]
    assert faults.out_of_order == []


def test_what_is_due_names_real_events_of_real_handlers() -> None:
    for cause, (name, answers) in {**DUE, **TOWN_DUE}.items():
        handler = by_name()[name]

        assert cause in {kind.DESCRIPTOR.name for kind in handler.listens_to}
        assert answers <= {kind.DESCRIPTOR.name for kind in handler.emits}


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 51.0), (0.95, 96.0), (0.99, 100.0)])
def test_percentiles_are_values_that_occurred(share: float, wanted: float) -> None:
    assert percentile([number * MS for number in range(1, 101)], share) == wanted
    assert percentile([3 * MS], share) == 3.0
    assert percentile([], share) is None
