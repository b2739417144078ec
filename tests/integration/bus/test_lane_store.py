"""Lanes come back from snapshots and the log exactly as they were, and a snapshot is never believed beyond its rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from bus.connection import connect, pub
from bus.decision import decide
from bus.event import Draft, Event
from bus.lane import Lane
from bus.lane_run import Limits
from bus.lane_store import LogLaneStore
from bus.log import Log, open_log
from bus.runtime import run_handlers
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerMoved
from tests.integration.bus.test_runtime import MOVES, WORLD, Moves, check_sequential, eventually, mover, own_nats, process, publish
from worldbus.embedded import NatsServer

__all__ = ["own_nats"]


@asynccontextmanager
async def answered(server: NatsServer) -> AsyncIterator[Log]:
    """A log in which ten inputs of one entity were answered by twenty events."""
    async with process(server) as (_, log):
        await publish(log.connection, [("a", f"z{number}") for number in range(10)])
        await eventually(log, 20)
        yield log


async def fresh(log: Log, store: LogLaneStore) -> Lane[Moves]:
    lane = Lane(store._handler.of(WORLD), WORLD, "a", log.partitions)
    await store.load(lane, at_least=0)
    return lane


async def kept(log: Log, store: LogLaneStore) -> None:
    """Save a snapshot and wait until it is stored."""
    lane = await fresh(log, store)
    lane.loaded = True
    store.save(lane)
    while not await store._read(store._subject(lane)):
        await asyncio.sleep(0.01)


async def test_a_lane_from_a_snapshot_is_the_lane_from_the_log(own_nats: NatsServer) -> None:
    async with answered(own_nats) as log:
        store = LogLaneStore(log, mover)
        folded = await fresh(log, store)
        await kept(log, store)
        await publish(log.connection, [("a", "later")], start=10)
        await eventually(log, 22)
        behind = Lane(mover, WORLD, "a", log.partitions)
        await store._from_snapshot(behind)
        whole = await fresh(log, store)

    assert (behind.state, behind.position, behind.done, behind.waiting) == (folded.state, folded.position, folded.done, folded.waiting)
    assert whole.state == Moves(count=22)
    assert whole.unsnapped == 2  # only what came after the snapshot was folded


@pytest.mark.parametrize("damage", [b"", b"junk", b"\x80", b"\x85\xabfingerprint"])
async def test_a_damaged_snapshot_is_ignored(own_nats: NatsServer, damage: bytes) -> None:
    async with answered(own_nats) as log:
        store = LogLaneStore(log, mover)
        log.connection.write(pub(store._subject(Lane(mover, WORLD, "a", log.partitions)).encode(), b"", damage))
        await log.state()
        lane = await fresh(log, store)

    assert lane.state == Moves(count=20)
    assert lane.unsnapped == 20


async def test_a_snapshot_of_other_rules_is_folded_again(own_nats: NatsServer) -> None:
    async with answered(own_nats) as log:
        await kept(log, LogLaneStore(log, mover))
        lane = await fresh(log, LogLaneStore(log, replace(mover, version=2)))

    assert lane.unsnapped == 20


async def test_a_decision_that_is_half_written_is_not_lost_in_a_snapshot(own_nats: NatsServer) -> None:
    """A snapshot has no room for it: there is none until the rest is written."""
    async with answered(own_nats) as log:
        input_ = Draft(data=PlayerMoved(zone="last"), world=WORLD, entity="a", id="last", time_ns=1)
        position = await _recorded(log, input_)
        lane = Lane(mover, WORLD, "a", log.partitions)
        await LogLaneStore(log, mover).load(lane, at_least=0)
        first, _ = decide(lane, Event(raw=input_.encode(), subject=input_.subject, partition=lane.partition, position=position))
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        store = LogLaneStore(log, mover)
        lane = Lane(mover, WORLD, "h", log.partitions)
        half = msgspec.structs.replace(first, entity="h", lane=f"{lane.partition}:{position}:0:2")
        await _recorded(log, half)
        await store.load(lane, at_least=0)
        lane.loaded = True
        store.save(lane)
        await kept(log, store)  # behind the one that was to be left out
        again = Lane(mover, WORLD, "h", log.partitions)
        await store.load(again, at_least=0)
        await log.aclose()

    assert lane.group is not None
    assert (again.group, again.state, again.position) == (lane.group, lane.state, lane.position)


async def _recorded(log: Log, draft: Draft) -> int:
    answer = await log.connection.request(draft.subject.published(), draft.encode())
    return int(json.loads(answer)["seq"])


async def test_lanes_that_were_evicted_go_on_where_they_were(own_nats: NatsServer) -> None:
    async with process(own_nats, limits=Limits(max_lanes=8, snapshot_every=8)) as (runtime, log):
        await publish(log.connection, MOVES[:200])
        await eventually(log, 400)
        await publish(log.connection, [("newcomer", "z")], start=1000)
        await publish(log.connection, MOVES[200:], start=200)
        lanes = await eventually(log, 2 * len(MOVES) + 2)

        assert runtime.runners["mover"].tally.loads > 0
    check_sequential(lanes)


async def test_a_runtime_needs_no_snapshots_at_all(own_nats: NatsServer) -> None:
    async with answered(own_nats) as log:
        await log.connection.api(f"STREAM.PURGE.{log.config.snapshots}", {"filter": "snap.lane.>"})
        async with run_handlers(log.connection, log, [mover]):
            await publish(log.connection, [("a", "more")], start=10)
            lanes = await eventually(log, 22)

    check_sequential(lanes)
