"""Consumers that somebody deletes or rewrites under a running member: they are as the code wants them again within seconds, and nothing is
lost, doubled or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bus.connection import ApiError, Connection, pub
from bus.consumer import OTHERWISE_MADE, PullConsumer
from bus.consumer_config import config_of, differences
from bus.event import Draft
from bus.keeper import wanted
from bus.log import Log
from bus.progress import Progress
from bus.runtime import Runtime, places
from bus.session import Pace
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneRetryRequested
from tests.integration.bus.test_releases import lanes_of, until
from tests.integration.bus.test_runtime import WORLD, check_sequential, eventually, mover, own_nats, process, publish
from worldbus.embedded import NatsServer

__all__ = ["own_nats"]

ENTITIES = [f"e{number}" for number in range(24)]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a process at work would."""
    monkeypatch.setattr("bus.runtime.CHECK_S", 0.2)
    monkeypatch.setattr("bus.keeper.FIRST_S", 0.2)


class Steps:
    """Rounds of inputs to every entity, and what has to come of them."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.rounds = 0

    async def publish(self) -> None:
        self.rounds += 1
        moves = [(entity, f"r{self.rounds}") for entity in ENTITIES]
        await publish(self.log.connection, moves, start=self.rounds * 1000)

    async def answered(self) -> None:
        """All of them are, once and in order."""
        async with asyncio.timeout(60):
            lanes = await eventually(self.log, 2 * len(ENTITIES) * self.rounds)
        check_sequential(lanes)
        assert sum(map(len, lanes.values())) == 2 * len(ENTITIES) * self.rounds


@asynccontextmanager
async def at_work(server: NatsServer) -> AsyncIterator[tuple[Runtime, Log, Steps]]:
    async with process(server) as (runtime, log):
        steps = Steps(log)
        await steps.publish()
        await steps.answered()
        yield runtime, log, steps


NAMES = [one.name for one in places(mover, 8)]


async def sound(log: Log) -> bool:
    """Return whether every consumer is there and as it has to be."""
    for place in places(mover, log.partitions):
        try:
            info = await PullConsumer(log.connection, log.name, place.name).info()
        except Exception:
            return False
        if differences(wanted(place, Pace()), config_of(info)):
            return False
    return True


async def write(connection: Connection, name: str, action: str, changes: dict[str, Any]) -> None:
    """Do what anybody may do who may make a consumer."""
    config = (await PullConsumer(connection, "LOG", name).info())["config"] | changes
    config = {field: value for field, value in config.items() if value is not None}
    while True:
        if action == "create":
            await delete(connection, name)
        try:
            await connection.api(f"CONSUMER.CREATE.LOG.{name}", {"stream_name": "LOG", "config": config, "action": action})
            return
        except ApiError as error:
            if error.err_code != OTHERWISE_MADE:  # the member was quicker
                raise


async def delete(connection: Connection, name: str) -> None:
    """Delete a consumer, unless it is being made at the moment."""
    with suppress(ApiError):
        await connection.api(f"CONSUMER.DELETE.LOG.{name}")


async def test_deleted_consumers_are_made_anew_behind_what_was_settled(own_nats: NatsServer) -> None:
    async with at_work(own_nats) as (runtime, log, steps):
        await asyncio.sleep(1.0)  # looked at, with everything settled
        received = runtime.runners["mover"].tally.received
        with capture_logs() as told:
            for name in NAMES:
                await log.connection.api(f"CONSUMER.DELETE.LOG.{name}")
            await steps.publish()
            await steps.answered()
            await until(lambda: sound(log))

        made = [line["consumer"] for line in told if line["event"] == "consumer_made_anew"]
        assert sorted(made) == sorted(NAMES), "each is told of, once"
        assert runtime.runners["mover"].tally.received - received == len(ENTITIES), "what was settled came again"


async def test_a_consumer_deleted_again_and_again_costs_no_input(own_nats: NatsServer) -> None:
    async with at_work(own_nats) as (_, log, steps):
        for _ in range(4):
            await steps.publish()
            await delete(log.connection, "mover_0")
            await delete(log.connection, "mover_5")
            await steps.publish()
        await steps.answered()


async def test_a_deleted_consumer_of_requests_is_made_anew(own_nats: NatsServer) -> None:
    async with at_work(own_nats) as (_, log, _):
        await publish(log.connection, [("parked", "poison")], start=90_000)
        await log.connection.api("CONSUMER.DELETE.LOG.mover_operator")
        retry = Draft(data=LaneRetryRequested(handler="mover"), world=WORLD, entity="parked", subsystem="operator")
        log.connection.write(pub(retry.subject.published().encode(), b"nobody", retry.encode()))

        async def retried() -> bool:
            return "LaneRetryFailed" in {event.name for event in (await lanes_of(log))["parked"]}

        async with asyncio.timeout(60):
            await until(retried)


UPDATES: list[dict[str, Any]] = [
    {"filter_subjects": None, "filter_subject": "evt.{partition}.*.*.*.PlayerHeartbeat"},
    {"filter_subjects": None, "filter_subject": "evt.{other}.*.*.*.*"},
    {"filter_subjects": None},
    {"filter_subjects": ["evt.{partition}.*.*.e1.*", "evt.{partition}.*.*.e2.*"]},
    {"headers_only": True},
    {"max_deliver": 1},
    {"max_ack_pending": 1},
    {"max_batch": 1},
    {"max_expires": 1_000_000},
    {"ack_wait": 1_000_000},
    {"backoff": [1_000_000, 2_000_000], "max_deliver": 5},
    {"inactive_threshold": 1_000_000_000},
    {"sample_freq": "100"},
    {"priority_groups": ["other"]},
    {"priority_policy": None, "priority_groups": None, "priority_timeout": None},
    {"priority_timeout": 3600 * 10**9},
]
CREATIONS: list[dict[str, Any]] = [
    {"deliver_policy": "new"},
    {"deliver_policy": "last"},
    {"deliver_policy": "by_start_sequence", "opt_start_seq": 1_000_000},
    {"ack_policy": "none"},
    {"ack_policy": "explicit"},
    {"mem_storage": True},
    {"max_waiting": 1},
    {"replay_policy": "original"},
]


def _for(partition: int, changes: dict[str, Any]) -> dict[str, Any]:
    def fill(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], str):
            return [fill(one) for one in value]
        return value.format(partition=partition, other=(partition + 1) % 8) if isinstance(value, str) else value

    return {field: fill(value) for field, value in changes.items()}


@pytest.mark.parametrize(("action", "changes"), [*(("update", one) for one in UPDATES), *(("create", one) for one in CREATIONS)], ids=str)
async def test_a_rewritten_consumer_is_repaired_and_no_input_is_lost(own_nats: NatsServer, action: str, changes: dict[str, Any]) -> None:
    async with at_work(own_nats) as (_, log, steps):
        with capture_logs() as told:
            for partition in range(8):
                await write(log.connection, f"mover_{partition}", action, _for(partition, changes))
            await steps.publish()  # some of it is met by the rewritten consumers
            try:
                async with asyncio.timeout(120):
                    await until(lambda: sound(log))
            except TimeoutError:
                pytest.fail("\n".join(map(str, told)))
            await steps.publish()
            await steps.answered()

        assert {line["event"] for line in told} & {"consumer_differs", "consumer_made_anew"}, "nobody was told"
        assert "EventParked" not in {event.name for events in (await lanes_of(log)).values() for event in events}


async def test_a_paused_consumer_goes_on(own_nats: NatsServer) -> None:
    async with at_work(own_nats) as (_, log, steps):
        for partition in range(8):
            await log.connection.api(f"CONSUMER.PAUSE.LOG.mover_{partition}", {"pause_until": "2099-01-01T00:00:00Z"})
        await steps.publish()
        await steps.answered()


async def test_a_consumer_that_was_rewritten_while_nobody_ran_is_repaired_at_the_start(own_nats: NatsServer) -> None:
    async with at_work(own_nats) as (_, log, steps):
        await asyncio.sleep(1.0)
    async with process(own_nats, replace(mover, name="bystander")) as (_, log):
        for partition in range(8):
            narrow = {"filter_subjects": None, "filter_subject": f"evt.{partition}.*.*.*.PlayerHeartbeat", "max_deliver": 2}
            await write(log.connection, f"mover_{partition}", "update", narrow)
        steps.log = log
        await steps.publish()
        async with process(own_nats):
            await steps.answered()
            assert await sound(log)


async def test_a_pin_that_was_renewed_for_an_hour_ends_with_the_repair(own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server keeps a renewed pin for as long as the consumer said then; who lost the hold meanwhile waits for its own pin to end."""
    monkeypatch.setattr("bus.runtime.CHECK_S", 3.0)
    async with at_work(own_nats) as (_, log, steps):
        for partition in range(8):
            await write(log.connection, f"mover_{partition}", "update", {"priority_timeout": 3600 * 10**9})
        await steps.publish()  # what is delivered is asked for again, and the pin renewed
        await steps.answered()
        await until(lambda: sound(log))
        await steps.publish()
        await steps.answered()


def differs(told: list[Any]) -> list[str]:
    """The consumers that were found to differ, as often as they were."""
    return [line["consumer"] for line in told if line["event"] == "consumer_differs"]


async def test_two_releases_that_want_different_filters_live_with_the_wider_one(own_nats: NatsServer) -> None:
    narrow = replace(mover, listens_to=(PlayerMoved,))
    async with process(own_nats, narrow) as (_, log):
        steps = Steps(log)
        await steps.publish()
        await steps.answered()
        with capture_logs() as told:
            async with process(own_nats):
                for _ in range(5):
                    await steps.publish()
                    await asyncio.sleep(0.3)
                await steps.answered()
                await until(lambda: sound(log))
                settled = differs(told)  # one that was gone while it was made anew may have come back narrow first
                await asyncio.sleep(1.0)  # five looks
                await steps.publish()
                await steps.answered()
            await asyncio.sleep(1.0)
            await steps.publish()
            await steps.answered()

        assert set(settled) == set(NAMES) - {"mover_operator"}
        assert differs(told) == settled, "they rewrite each other's"
    assert {PlayerMoved, PlayerHeartbeat} == set(mover.listens_to)


async def test_a_record_of_another_log_says_nothing(own_nats: NatsServer) -> None:
    async with at_work(own_nats) as (_, log, _):
        await asyncio.sleep(1.0)
    async with process(own_nats, replace(mover, name="bystander")) as (_, log):
        created = str((await PullConsumer(log.connection, log.name, "mover_0").info())["created"])
        progress = Progress(log, "mover_0")
        assert (await progress.behind() or 0) > 0
        raw = (await log.connection.request("$JS.API.DIRECT.GET.SNAPSHOTS", b'{"last_by_subj": "snap.progress.LOG.mover_0"}')).decode()
        other = raw.replace(await log.created(), "2001-01-01T00:00:00Z")
        await log.connection.request("snap.progress.LOG.mover_0", other.encode())

        assert await Progress(log, "mover_0").behind() is None
        assert await Progress(log, "mover_0").read("made at another time") is None
        assert await Progress(log, "mover_0").read(created) is not None, "the consumer itself is the one that it was"
