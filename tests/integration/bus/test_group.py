"""Groups under expectations: rules over several entities hold whoever races, and a group sent twice is in the log once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from bus.connection import Connection, connect, hpub
from bus.errors import BadEvent, BadSubject, Conflict, IdReused, Transient, Unknown
from bus.event import Draft
from bus.log import Log, open_log
from bus.once import publish_once
from bus.publication import fence_lines, pack
from bus.publisher import Publisher, open_publisher
from bus.subjects import LaneName
from tests.integration.bus.drafts import WORLD, moved
from tests.streams import forget_ids
from worldbus.embedded import NatsServer

ROUNDS = 50


def lane(entity: str, subsystem: str = "game") -> LaneName:
    """A lane of the tests' world."""
    return LaneName(WORLD, subsystem, entity)


async def looked(log: Log, entity: str) -> tuple[float, int]:
    """The sum of what was moved in a lane, and where its last event is."""
    events = await log.read_lane(lane(entity).stored(log.partitions))
    data: list[Any] = [event.data for event in events]
    return sum(it.x for it in data), events[-1].position if events else 0


@pytest_asyncio.fixture
async def writers(nats_server: NatsServer, log: Log) -> AsyncIterator[list[Publisher]]:
    """Two publishers that share nothing."""
    async with AsyncExitStack() as stack:
        found = []
        for name in ("east", "west"):
            connection = await stack.enter_async_context(connect(nats_server.url, name=name))
            found.append(await stack.enter_async_context(open_publisher(connection, await open_log(connection), "relaxed")))
        yield found


async def race(writers: Sequence[Publisher], groups: Sequence[Sequence[Draft]], expected: Sequence[Mapping[LaneName, int]]) -> list[Any]:
    """Both publish at once; the positions or the error of each."""
    calls = [writer.publish_group(group, expected=where) for writer, group, where in zip(writers, groups, expected, strict=True)]
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_two_balances_never_go_below_nothing_together(log: Log, writers: list[Publisher]) -> None:
    """Each writer takes one coin from its own purse if the two hold one together. Purses are only read by the other one."""
    for number in range(ROUNDS):
        purses = [f"purse-{number}-{side}" for side in ("east", "west")]
        await writers[0].publish(moved(1, entity=purses[number % 2]))
        seen = {purse: await looked(log, purse) for purse in purses}
        assert sum(balance for balance, _ in seen.values()) == 1
        expected = {lane(purse): position for purse, (_, position) in seen.items()}

        groups = [[moved(-1, entity=purse), moved(0, entity=purse)] for purse in purses]
        answers = await race(writers, groups, [expected, expected])

        (conflict,) = [answer for answer in answers if isinstance(answer, Conflict)]
        (positions,) = [answer for answer in answers if isinstance(answer, list)]
        winner = purses[answers.index(positions)]
        after = {purse: await looked(log, purse) for purse in purses}
        assert sum(balance for balance, _ in after.values()) == 0, "one of the two took the coin"
        named = LaneName(*(conflict.facts[field] for field in LaneName._fields))
        assert (named, conflict.facts["expected"]) == (lane(winner), seen[winner][1])
        assert conflict.facts["found"] == after[winner][1] == positions[-1]


async def test_a_name_is_taken_once_in_two_registries(log: Log, writers: list[Publisher]) -> None:
    """Each writer says in both registries that it has the name, if neither knows it yet."""
    for number in range(ROUNDS):
        registries = [f"names-{number % 5}", f"guild-names-{number % 5}"]
        expected = {lane(one): (await looked(log, one))[1] for one in registries}
        groups = [[moved(number, entity=one, cause=f"writer-{writer}") for one in registries] for writer in range(2)]

        answers = await race(writers, groups, [expected, expected])

        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "list"]
    for registry in registries:
        data: list[Any] = [event.data for event in await log.read_lane(lane(registry).stored(log.partitions))]
        names = [it.zone for it in data]
        assert len(names) == len(set(names)) == ROUNDS / 5


async def test_with_the_own_lane_alone_expected_the_rule_is_lost(log: Log, writers: list[Publisher]) -> None:
    """The reason for which a group expects all that its rule looked at: the race is real."""
    purses = ["alone-east", "alone-west"]
    groups = [[moved(-1, entity=purse), moved(0, entity=purse)] for purse in purses]

    answers = await race(writers, groups, [{lane(purse): 0} for purse in purses])

    assert all(isinstance(answer, list) for answer in answers)


async def test_a_conflict_leaves_nothing_and_names_the_lane_that_moved(log: Log, publisher: Publisher) -> None:
    first = await publisher.publish(moved(1, entity="a"))
    await publisher.publish(moved(1, entity="b", subsystem="tools"))
    group = [moved(2, entity="a"), moved(3, entity="b"), moved(4, entity="a")]
    for expected, named, found in (
        ({lane("a"): first, lane("b", "tools"): 0}, lane("b", "tools"), 2),
        ({lane("b", "tools"): 2, lane("a"): 99}, lane("a"), 1),
        ({lane("b", "tools"): 2, lane("b"): 1, lane("a"): first}, lane("b"), 0),
        ({lane("nobody"): 5}, lane("nobody"), 0),
    ):
        with pytest.raises(
            Conflict, match=f"expected the last event of {named} at {expected[named]}, found it at {found}: look again"
        ) as it:
            await publisher.publish_group(group, expected=expected)
        assert it.value.facts == {**named._asdict(), "expected": expected[named], "found": found}
    assert (await log.state()).last == 2

    assert [3, 4, 5] == await publisher.publish_group(group, expected={lane("a"): first, lane("b", "tools"): 2, lane("b"): 0})


async def test_one_event_may_expect_another_lane(log: Log, publisher: Publisher) -> None:
    assert [1] == await publisher.publish_group([moved(1, entity="a")], expected={lane("b"): 0})
    assert [2] == await publisher.publish_group([moved(1, entity="b")], expected={lane("b"): 0})
    with pytest.raises(Conflict, match=f"{lane('b')} at 0, found it at 2"):
        await publisher.publish_group([moved(2, entity="a")], expected={lane("b"): 0})

    assert (await log.state()).last == 2


async def test_what_a_group_may_not_expect_is_refused_before_it_is_sent(log: Log, publisher: Publisher) -> None:
    two = [moved(1, entity="a"), moved(2, entity="a")]
    for expected, code in (
        ({lane(f"p{number}"): 0 for number in range(3)}, "TOO_MANY_EXPECTED"),
        ({lane("a"): -1}, "OUT_OF_RANGE"),
        ({lane("a"): 2**63}, "OUT_OF_RANGE"),
        ({lane("a"): True}, "OUT_OF_RANGE"),
        ({lane("a"): 1.5}, "OUT_OF_RANGE"),
        ({lane("a.>"): 0}, "BAD_SUBJECT"),
        ({lane("*"): 0}, "BAD_SUBJECT"),
        ({lane("a", ""): 0}, "BAD_SUBJECT"),
    ):
        for group in (two, two[:1]):
            with pytest.raises((BadEvent, BadSubject)) as it:
                await publisher.publish_group(group, expected=expected)  # type: ignore[arg-type]
            assert it.value.code == code
    with pytest.raises(BadEvent):
        await publisher.publish_group([], expected={lane("a"): 0})
    assert (await log.state()).last == 0


@pytest.mark.parametrize("memory", ["fresh", "forgotten"])
async def test_a_group_that_comes_again_is_recognised_though_its_lanes_moved_on(
    connection: Connection, log: Log, publisher: Publisher, memory: str
) -> None:
    await publisher.publish(moved(0, entity="a"))
    groups: list[tuple[list[Draft], dict[LaneName, int]]] = [
        ([moved(1, entity="a"), moved(2, entity="b")], {lane("a"): 1, lane("b"): 0}),
        ([moved(3, entity="c"), moved(4, entity="d")], {lane("a"): 2}),  # expects only what it read
        ([moved(5, entity="e"), moved(6, entity="e")], {lane("e"): 0, lane("c"): 4}),
    ]
    positions = [await publisher.publish_group(group, expected=expected) for group, expected in groups]
    assert positions == [[2, 3], [4, 5], [6, 7]]
    for entity in "abcde":
        await publisher.publish(moved(9, entity=entity))
    if memory == "forgotten":
        await forget_ids(connection)

    assert positions == [await publisher.publish_group(group, expected=expected) for group, expected in groups]
    assert (await log.state()).last == 12
    other = [groups[0][0][0], moved(7, entity="b", id=groups[0][0][1].id)]
    with pytest.raises(IdReused):
        await publisher.publish_group(other, expected=groups[0][1])
    assert (await log.state()).last == 12


@pytest.mark.parametrize("memory", ["fresh", "forgotten"])
async def test_a_fenced_event_that_comes_again_is_recognised_though_its_lane_moved_on(
    connection: Connection, log: Log, publisher: Publisher, memory: str
) -> None:
    """As after a call that ended as unknown: told that it is in conflict, its caller would decide, and publish, once more."""
    await publisher.publish(moved(0, entity="a"))
    draft = moved(1, entity="a")
    assert await publisher.publish(draft, expected=1) == 2
    await publisher.publish(moved(2, entity="a"))
    if memory == "forgotten":
        await forget_ids(connection)

    assert await publisher.publish(draft, expected=1) == 2
    assert [2] == await publisher.publish_group([draft], expected={lane("a"): 1})
    for expected, found in ((1, 3), (2, 3), (99, 3)):
        with pytest.raises(Conflict) as it:
            await publisher.publish(moved(3, entity="a"), expected=expected)
        assert it.value.facts == {**lane("a")._asdict(), "expected": expected, "found": found}
    assert (await log.state()).last == 3


async def test_a_group_once_for_ever_needs_no_memory_of_the_log(connection: Connection, log: Log, publisher: Publisher) -> None:
    group = [moved(1, entity="a"), moved(2, entity="b"), moved(3, entity="a")]
    positions = await publisher.publish_group(group, once=True)
    await publisher.publish(moved(4, entity="a"))
    await forget_ids(connection)

    assert positions == [1, 2, 3] == await publisher.publish_group(group, once=True)
    with pytest.raises(IdReused):
        await publisher.publish_group([group[0], moved(5, entity="b")], once=True)
    with pytest.raises(Conflict, match=f"{lane('b')} at 0, found it at 2"):
        await publisher.publish_group([moved(6, entity="a"), moved(7, entity="b")], expected={lane("b"): 0}, once=True)
    with pytest.raises(Conflict, match=f"{lane('c')} at 9, found it at 0"):
        await publisher.publish_group([moved(6, entity="a"), moved(7, entity="a")], expected={lane("c"): 9}, once=True)
    assert [5, 6] == await publisher.publish_group([moved(6, entity="a"), moved(7, entity="b")], expected={lane("b"): 2}, once=True)
    assert (await log.state()).last == 6


@pytest.mark.parametrize("memory", ["fresh", "forgotten"])
async def test_a_group_is_known_again_only_if_it_was_recorded_as_that_group(
    connection: Connection, log: Log, publisher: Publisher, memory: str
) -> None:
    group = [moved(1, entity="a"), moved(2, entity="b")]
    alone = [moved(3, entity="a"), moved(4, entity="b")]
    await publisher.publish_group(group)
    for draft in (alone[0], moved(9, entity="a"), alone[1]):
        await publisher.publish(draft)
    once = memory == "forgotten"
    if once:
        await forget_ids(connection)

    for other in (
        [group[0], moved(7, entity="b", id=group[1].id)],
        [moved(7, entity="a", id=group[0].id), group[1]],
        group[::-1],
        alone,
        [alone[0], group[1]],
    ):
        with pytest.raises(IdReused):
            await publisher.publish_group(other, once=once)

    assert [1, 2] == await publisher.publish_group(group, once=once)
    assert (await log.state()).last == 5


async def test_what_another_records_between_the_look_and_the_write_is_recorded_once(
    connection: Connection, log: Log, publisher: Publisher
) -> None:
    """The other one looked at the same time, and the log has forgotten its ids by the time that this one writes."""
    group = [moved(1, entity="a"), moved(2, entity="b")]
    others: list[Sequence[Draft]] = [group, [moved(3, entity="a"), moved(4, entity="c")]]

    async def late(where: Mapping[LaneName, int]) -> list[int]:
        if others:
            await publisher.publish_group(others.pop(0))
            await forget_ids(connection)
        return await publisher.publish_group(drafts, expected=where)

    drafts: Sequence[Draft] = group
    assert [1, 2] == await publish_once(log, drafts, [pack(draft, 1 << 20) for draft in drafts], {}, late)
    drafts = [moved(5, entity="a", id=others[0][0].id), moved(6, entity="c")]
    with pytest.raises(IdReused):
        await publish_once(log, drafts, [pack(draft, 1 << 20) for draft in drafts], {}, late)

    assert (await log.state()).last == 4


async def test_a_group_of_unknown_outcome_is_settled_by_sending_it_again(own_server: NatsServer) -> None:
    async with connect(own_server.url, name="test") as connection:
        log = await open_log(connection)
        publisher = Publisher(connection, log, "relaxed", deadline=0.3)
        await publisher.open()
        group, expected = [moved(1, entity="a"), moved(2, entity="b")], {lane("a"): 0, lane("b"): 0}
        own_server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unknown, match="same ids"):
                await publisher.publish_group(group, expected=expected)
        finally:
            own_server.signal(signal.SIGCONT)

        assert [1, 2] == await publisher.publish_group(group, expected=expected)
        assert (await log.state()).last == 2
        await publisher.aclose()


@pytest.mark.parametrize("kills", [4])
async def test_groups_under_expectations_survive_kills_once_and_in_order(own_server: NatsServer, kills: int) -> None:
    """Writers move one coin between two purses until they have done so many times, while the server is killed again and again."""
    async with connect(own_server.url, name="look") as looking:
        log = await open_log(looking)
        done: list[list[int]] = []

        async def write(name: str, times: int) -> None:
            async with connect(own_server.url, name=name) as connection:
                own = await open_log(connection)
                async with open_publisher(connection, own, "relaxed") as publisher:
                    for number in range(times):
                        ids = [f"{name}-{number}-{side}" for side in range(2)]
                        while True:
                            try:
                                seen = {lane(purse): (await looked(own, purse))[1] for purse in ("east", "west")}
                                group = [moved(-1, entity="east", id=ids[0], time_ns=1), moved(1, entity="west", id=ids[1], time_ns=1)]
                                done.append(await publisher.publish_group(group, expected=seen))
                                break
                            except (Conflict, Transient):
                                await asyncio.sleep(0.01)

        async def kill() -> None:
            for _ in range(kills):
                before = len(done)
                while len(done) < before + 5:
                    await asyncio.sleep(0.005)
                own_server.kill()
                await asyncio.to_thread(own_server.start)

        await asyncio.gather(write("one", 30), write("two", 30), kill())

        assert len({position for positions in done for position in positions}) == 120 == (await log.state()).last
        assert all(second == first + 1 for first, second in done)
        assert [await looked(log, purse) for purse in ("east", "west")] == [(-60, 119), (60, 120)]


class Raw:
    """Atomic batches by hand: what the server does with expectations, whatever our own code makes of it."""

    def __init__(self, connection: Connection, log: Log) -> None:
        self.connection = connection
        self.log = log
        self.answers: list[dict[str, Any]] = []

    def frame(self, number: int, batch: str, draft: Draft, expects: tuple[LaneName, int] | None, *, commit: bytes = b"") -> bytes:
        """One message of a batch."""
        parcel = pack(draft, self.connection.max_payload)
        fence = b"" if expects is None else fence_lines(expects[0].stored(self.log.partitions), expects[1])
        lines = b"%b%bNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n%b" % (parcel.lines, fence, batch.encode(), number, commit)
        return hpub(parcel.subject, b"" if not commit else self.inbox, b"NATS/1.0\r\n%b\r\n" % lines, parcel.payload)

    async def send(self, *frames: bytes) -> dict[str, Any]:
        """The answer to a batch whose last frame commits it."""
        for frame in frames:
            self.connection.write(frame)
        while not self.answers:
            await asyncio.sleep(0.005)
        return self.answers.pop()

    async def __aenter__(self) -> Raw:
        inbox = self.connection.new_inbox()
        self.inbox = inbox.encode()
        self._listener = await self.connection.listen(inbox, lambda *message: self.answers.append(json.loads(message[3])))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._listener.close()


COMMIT = b"Nats-Batch-Commit: 1\r\n"
END = b"Nats-Batch-Commit: eob\r\n"


async def test_the_server_checks_each_expectation_at_the_commit(connection: Connection, log: Log, publisher: Publisher) -> None:
    """docs/adr/0093: where this changes, groups can be made simpler, or must be made otherwise."""
    async with Raw(connection, log) as raw:
        drafts = [moved(number, entity=entity) for number, entity in enumerate("abab")]
        stored = await raw.send(
            raw.frame(1, "b1", drafts[0], (lane("a"), 0)), raw.frame(2, "b1", drafts[1], (lane("read"), 0), commit=COMMIT)
        )
        stale = await raw.send(raw.frame(1, "b2", drafts[2], (lane("a"), 1)), raw.frame(2, "b2", drafts[3], (lane("b"), 1), commit=COMMIT))
        assert (stored["seq"], stored["count"]) == (2, 2)
        assert (stale["error"]["err_code"], stale["error"]["description"]) == (10071, "wrong last sequence: 2")

        connection.write(raw.frame(1, "b3", drafts[2], (lane("a"), 1)))
        await publisher.publish(moved(5, entity="a"))  # between the first message and the commit
        moved_on = await raw.send(raw.frame(2, "b3", drafts[3], (lane("b"), 2), commit=COMMIT))
        assert moved_on["error"]["err_code"] == 10071

        ended = await raw.send(raw.frame(1, "b4", drafts[2], (lane("a"), 3)), raw.frame(2, "b4", drafts[3], (lane("b"), 99), commit=END))
        assert (ended["seq"], ended["count"]) == (4, 1), "an end marker is not stored, and what it expects is not looked at"
    assert (await log.state()).last == 4
