"""Groups of the client without asyncio: rules over several entities hold whoever races, and a group sent twice is in the log once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bus.connection import connect
from bus.event import Draft as Ours
from bus.event import Event
from bus.subjects import LaneName
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved as Moved
from tests.streams import forget_ids
from worldbus.embedded import NatsServer
from worldbus_client import BadEvent, Client, Closed, Conflict, Draft, Lane, NotConnected, Refused, Unknown, WrongThread
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client.group import lane_filter

Recorded = Callable[[], list[Event]]
ROUNDS = 50


def moved(entity: str, x: float = 0.0, **about: Any) -> Draft:
    """Coins that go into a purse, or out of it."""
    return Draft(entity, PlayerMoved(zone="quay", x=x), **about)


def purse(recorded: Recorded, *entities: str) -> tuple[float, dict[str, int]]:
    """The sum in some purses, and the position of each one's last event."""
    events: list[Any] = [event for event in recorded() if event.entity in entities]
    return sum(event.data.x for event in events), dict.fromkeys(entities, 0) | {event.entity: event.position for event in events}


def forget(server: NatsServer) -> None:
    """As `forget_ids`."""

    async def forget_now() -> None:
        async with connect(server.url, name="test") as connection:
            await forget_ids(connection)

    asyncio.run(forget_now())


def test_the_partition_is_the_one_that_the_log_chooses() -> None:
    for number in range(100):
        lane = Lane("game", f"p{number}")
        assert lane_filter("w1", lane, 8) == LaneName("w1", *lane).stored(8)


@pytest.mark.timeout(120)
def test_a_rule_over_two_purses_holds_whoever_races(server: NatsServer, recorded: Recorded) -> None:
    """Two game servers take the one coin that two purses hold together, each from its own purse."""
    together = threading.Barrier(2)

    def take(bus: Client, own: str, where: Mapping[str, int]) -> list[int] | Conflict:
        together.wait()
        try:
            return bus.publish_group([moved(own, -1.0), moved(own)], expected=where)
        except Conflict as conflict:
            return conflict

    with Client(server.url, world="w1") as east, Client(server.url, world="w1") as west, ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            sides = f"east-{number}", f"west-{number}"
            east.publish(sides[number % 2], PlayerMoved(zone="quay", x=1.0))
            balance, where = purse(recorded, *sides)
            assert balance == 1.0

            answers = list(pool.map(take, (east, west), sides, (where, where)))

            (conflict,) = [answer for answer in answers if isinstance(answer, Conflict)]
            (positions,) = [answer for answer in answers if isinstance(answer, list)]
            winner = sides[answers.index(positions)]
            assert purse(recorded, *sides)[0] == 0.0, "one of the two took the coin"
            assert (conflict.subsystem, conflict.entity, conflict.expected) == ("game", winner, where[winner])
            assert conflict.found == positions[-1]


def test_a_conflict_leaves_nothing_and_names_the_lane(server: NatsServer, recorded: Recorded, say: Callable[[list[Ours]], None]) -> None:
    say([Ours(data=Moved(), world="w1", entity="a"), Ours(data=Moved(), world="w1", entity="b", subsystem="tools")])
    with Client(server.url, world="w1") as bus:
        for expected, named, found in (
            ({"a": 0}, ("game", "a"), 1),
            ({"a": 1, Lane("tools", "b"): 7}, ("tools", "b"), 2),
            ({Lane("tools", "nobody"): 7}, ("tools", "nobody"), 0),
        ):
            with pytest.raises(Conflict, match=f"{'/'.join(named)} at .*, found it at {found}: look again") as it:
                bus.publish_group([moved("a"), moved("b")], expected=expected)
            assert (it.value.subsystem, it.value.entity, it.value.found) == (*named, found)
        assert len(recorded()) == 2
        assert bus.publish_group([moved("a"), moved("b"), moved("a")], expected={"a": 1, "b": 0, Lane("tools", "b"): 2}) == [3, 4, 5]
        assert bus.publish_group([moved("c")], expected={"a": 5}) == [6]


@pytest.mark.parametrize("memory", ["fresh", "forgotten"])
def test_a_group_that_comes_again_is_recognised(server: NatsServer, recorded: Recorded, memory: str) -> None:
    groups: list[tuple[list[Draft], dict[Any, int]]] = [
        ([moved("a", id="1", time_ns=10**18), moved("b", id="2", time_ns=10**18)], {"a": 0, "b": 0}),
        ([moved("c", id="3", time_ns=10**18), moved("d", id="4", time_ns=10**18)], {"a": 1}),
        ([moved("c", id="5", time_ns=10**18), moved("d", id="6", time_ns=10**18)], {}),
    ]
    if memory == "forgotten":
        groups.pop()  # nothing tells it from a new one
    with Client(server.url, world="w1") as bus:
        positions = [bus.publish_group(group, expected=expected) for group, expected in groups]
        for entity in "abcd":
            bus.publish(entity, PlayerMoved())
        if memory == "forgotten":
            forget(server)
        assert [bus.publish_group(group, expected=expected) for group, expected in groups] == positions
        with pytest.raises(Refused, match="is taken by another event"):
            bus.publish_group([groups[0][0][0], moved("b", 7.0, id="2")], expected=groups[0][1])
    assert positions == [[1, 2], [3, 4], [5, 6]][: len(groups)]
    assert len(recorded()) == 2 * len(groups) + 4


def test_an_unknown_outcome_is_settled_by_publishing_again(server: NatsServer, recorded: Recorded) -> None:
    group = [moved("a", id="1", time_ns=10**18), moved("b", id="2", time_ns=10**18)]
    with Client(server.url, world="w1", answer_timeout=0.2, give_up=0.5) as bus:
        bus.publish_group([moved("c"), moved("d")])
        server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unknown, match="same ids"):
                bus.publish_group(group, expected={"a": 0, "b": 0})
        finally:
            server.signal(signal.SIGCONT)
    with Client(server.url, world="w1") as bus:
        assert bus.publish_group(group, expected={"a": 0, "b": 0}) == [3, 4]
    assert len(recorded()) == 4


@pytest.mark.timeout(120)
def test_groups_survive_kills_once_and_in_one_piece(server: NatsServer, recorded: Recorded) -> None:
    done: list[list[int]] = []

    def write(bus: Client, name: str) -> None:
        where = {"east": 0, "west": 0}
        for number in range(30):
            group = [moved("east", -1.0, id=f"{name}-{number}-e", time_ns=1), moved("west", 1.0, id=f"{name}-{number}-w", time_ns=1)]
            while True:
                try:
                    done.append(bus.publish_group(group, expected=where))
                    where = dict(zip(("east", "west"), done[-1], strict=True))
                    break
                except Conflict as conflict:
                    where = {**where, conflict.entity: conflict.found}
                except Unknown:
                    continue

    with Client(server.url, world="w1") as one, Client(server.url, world="w1") as two, ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, one, "one"), pool.submit(write, two, "two")]
        for _ in range(3):
            before = len(done)
            while len(done) < before + 5 and not all(one.done() for one in writing):
                threading.Event().wait(0.01)
            server.kill()
            server.start()
        for one_writing in writing:
            one_writing.result()
    assert len({position for positions in done for position in positions}) == 120 == len(recorded())
    assert all(second == first + 1 for first, second in done)


def test_what_cannot_be_a_group_is_refused_before_it_is_sent(server: NatsServer, recorded: Recorded) -> None:
    unopened = Client(server.url, world="w1")
    with pytest.raises(NotConnected):
        unopened.publish_group([moved("a")])
    with unopened as bus:
        for drafts, expected, words in (
            ([], {}, "1 to 1000 events, found 0"),
            ([moved("a")] * 1001, {}, "1 to 1000 events"),
            ([moved("a", id="x"), moved("b", id="x")], {}, "the same id"),
            ([moved("a.b")], {}, "entity must be"),
            ([moved("a")], {"a": -1}, "whole number"),
            ([moved("a")], {"a": True}, "whole number"),
            ([moved("a")], {"a": 0, "b": 0}, "one expected position for each event"),
            ([moved("a")], {Lane("*", "a"): 0}, "subsystem must be"),
            ([moved("a")], {"a.>": 0}, "entity must be"),
        ):
            with pytest.raises(BadEvent, match=words):
                bus.publish_group(drafts, expected=expected)  # type: ignore[arg-type]
        failures: list[BaseException] = []

        def heard(_: Event) -> None:
            try:
                bus.publish_group([moved("a")])
            except WrongThread as error:
                failures.append(error)

        bus.on_event(heard, after=0)  # type: ignore[arg-type]
        bus.publish("a", PlayerMoved())
        while not failures:
            threading.Event().wait(0.01)
    with pytest.raises(Closed):
        bus.publish_group([moved("a")])
    assert len(recorded()) == 1
