"""Each green light of `worldbus check` goes out when what it stands for is not so, and comes back when it is."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

from bus.errors import NoWorld
from bus.event import Draft
from bus.membership import Membership
from bus.presence import Presence
from bus.subjects import stored_filter
from handlers.time_manager import CLOCK
from projections.skips import acknowledge
from projections.store import connected
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined, PlayerMoved
from schemas.gen.worldbus.time.v1.time_pb2 import ClockAdvanced, RealTimePassed, WakeRequested
from tests.duskmarket import ALL, PROJECTIONS, time
from worldbus.checks import clocks
from worldbus.checks.capacity import GIB, Store
from worldbus.checks.finding import Bounds, Finding, ago
from worldbus.checks.ticker import ticker
from worldbus.compose import World, open_world, serve
from worldbus.doctor import examine
from worldbus.drift import drift
from worldbus.settings import Settings
from worldbus.ticker import start_clock

BOUNDS = Bounds(age_s=3600, room=0, full=1.1)
PLAYERLESS = tuple(handler for handler in ALL if handler.name != "player")
Lives = Callable[..., Awaitable[None]]


@pytest.fixture
async def world(data_folder: Path) -> AsyncIterator[World]:
    """Servers of their own, migrated, in which nothing runs yet."""
    async with open_world(Settings(data=data_folder, durability="relaxed"), own=True) as world:
        async with serve(world, projections=PROJECTIONS):
            await said(world, PlayerJoined(display_name="Mira", zone="quay"))
            await until(world, "projector", ok=True)
        yield world


@asynccontextmanager
async def lives(world: World, *, handlers: Any = ALL, projections: Any = PROJECTIONS, ticks: bool = True) -> AsyncIterator[None]:
    """Run the parts of a world for the block."""
    await start_clock(world.log, world.publisher, world.settings.world, 60_000)
    async with serve(world, handlers=handlers, projections=projections, ticks=ticks):
        yield


async def said(world: World, message: Any, entity: str = "mira") -> int:
    """The position of an event that the game says."""
    return await world.publisher.publish(Draft(data=message, world="main", entity=entity, subsystem="game"))


@asynccontextmanager
async def ticks(world: World, name: str = "main") -> AsyncIterator[None]:
    """Run the clock and the ticker of one world, so slow that nothing is due for hours, in a member that is heard."""
    one = replace(world, settings=replace(world.settings, world=name))
    await start_clock(world.log, world.publisher, name, 1)
    async with serve(one, handlers=[time], ticks=True):
        yield


async def step(world: World, *, counts: bool) -> None:
    """Return when the last step of a resting clock is as wanted: a wish begins to count with it, or none does."""
    filters = [stored_filter(world="main", subsystem="time", entity=CLOCK, name="ClockAdvanced")]
    async for events in world.log.read(filters=filters, follow=True):
        if any(isinstance(event.data, ClockAdvanced) and bool(event.data.counted) is counts for event in events):
            return


async def findings(world: World, bounds: Bounds = BOUNDS) -> dict[str, Finding]:
    """What the doctor finds, as somebody else who asks."""
    return {one.check: one async for one in examine(replace(world.settings), bounds=bounds)}


async def until(world: World, check: str, bounds: Bounds = BOUNDS, *, ok: bool, words: str = "") -> Finding:
    """The finding once it says so."""
    while True:
        found = (await findings(world, bounds)).get(check)
        if found is not None and found.ok is ok and words in found.found:
            return found
        await asyncio.sleep(0.05)


async def test_everything_that_runs_well_is_green(world: World) -> None:
    async with lives(world):
        await until(world, "ticker", ok=True)
        await until(world, "handlers", ok=True)
        found = await findings(world)
        for check in [name for name, one in found.items() if not one.ok]:  # on a busy machine Postgres, say, is slow for a moment
            found[check] = await until(world, check, ok=True)

    assert all(one.ok for one in found.values())
    assert list(found) == [
        *("settings", "servers", "nats", "log", "durability", "consumers", "capacity", "clocks"),
        *("members", "versions", "games", "handlers", "workers", "ticker"),
        *("tables", "reader", "projections", "projector", "parked", "skipped", "archive"),
    ]


async def test_nobody_runs_anything(world: World) -> None:
    found = await findings(world)

    assert "nobody was heard who runs a handler" in found["members"].found
    assert "nobody projects" in found["projector"].found
    assert {name for name, one in found.items() if not one.ok} == {"members", "projector", "ticker"}
    assert not any(one.unreachable for one in found.values())


async def test_what_is_left_out_on_purpose_is_no_fault(world: World) -> None:
    everything = frozenset({*(handler.name for handler in ALL), "projector", "ticker"})

    found = await findings(world, replace(BOUNDS, without=everything))

    assert [one.found for one in found.values() if not one.ok] == []


async def test_a_handler_that_nobody_runs_is_named_and_so_is_what_waits_for_it(world: World) -> None:
    async with lives(world):
        await until(world, "handlers", ok=True)
    async with lives(world, handlers=PLAYERLESS):
        await said(world, PlayerMoved(zone="moor"))
        members = await until(world, "members", ok=False)
        late = await until(world, "handlers", replace(BOUNDS, age_s=3), ok=False, words="player_")

    assert "nobody runs player: start them" in members.found
    assert "held by nobody who was heard" in late.found
    assert "stands at" in late.found
    async with lives(world):
        assert (await until(world, "handlers", ok=True)).facts["behind"] == 0


async def test_a_consumer_that_is_gone_is_not_one_that_never_ran(world: World) -> None:
    async with lives(world):
        await until(world, "handlers", ok=True)
        name = next(
            one for one in (await world.connection.api(f"CONSUMER.NAMES.{world.log.name}"))["consumers"] if one.startswith("player_")
        )
        await world.connection.api(f"CONSUMER.DELETE.{world.log.name}.{name}")
        found = (await findings(world))["handlers"]

    assert found.ok or f"consumers are gone: {name}" in found.found  # where its member made it anew in time, all is well
    assert "never ran" not in found.found


async def test_a_dead_ticker_is_noticed_and_one_that_speaks_is_well(world: World) -> None:
    async with lives(world):
        await until(world, "ticker", ok=True)
    async with lives(world, ticks=False):
        found = await until(world, "ticker", replace(BOUNDS, age_s=0.5), ok=False)

    assert "nobody tells it: start `worldbus run --only ticker`" in found.found


async def test_a_clock_that_rests_for_minutes_is_well_and_one_that_rests_too_long_is_not(world: World) -> None:
    """Nothing is due for hours, and its ticker may be silent for 310 s."""
    async with ticks(world):
        await step(world, counts=False)
        found = await until(world, "ticker", ok=True)
        now_ms, after_s = time_ns() // 1_000_000, (1, 200, 300, 400)
        later = [await ticker(world.log, "main", [], now_ms + 1000 * passed_s, Bounds(age_s=30)) for passed_s in after_s]

    assert "; it rests until something is due" in found.found
    assert [one.ok for one in later] == [True, True, True, False]
    assert "stands: the clock of world 'main' was told of real time" in later[-1].found


async def test_a_clock_that_is_silent_while_something_is_due_does_not_rest(world: World) -> None:
    async with ticks(world):
        await step(world, counts=False)  # from then on the clock rests
        wish = WakeRequested(name="soon", in_real_ms=60_000)
        await world.publisher.publish(Draft(data=wish, world="main", entity="quay", subsystem="market"))
        await step(world, counts=True)
        now_ms, after_s = time_ns() // 1_000_000, (50, 100)
        later = [await ticker(world.log, "main", [], now_ms + 1000 * passed_s, Bounds(age_s=30)) for passed_s in after_s]

    assert [one.ok for one in later] == [True, False]


async def test_a_ticker_that_died_while_its_clock_rested_is_missed_at_once(world: World) -> None:
    """Its last word allows five minutes of silence, and the ticker that a member runs is another world's."""
    async with ticks(world, "elsewhere"):
        word = RealTimePassed(real_ms=5, rests_ms=310_000)
        await world.publisher.publish(Draft(data=word, world="main", entity=CLOCK, subsystem="ticker"))
        found = await until(world, "ticker", ok=False)

    assert "nobody speaks: the clock of world 'main' was told of real time" in found.found


async def test_a_projector_that_waits_says_why_and_a_dead_one_is_missed(world: World) -> None:
    async with lives(world, projections=()):
        await said(world, PlayerMoved(zone="moor"))
        dead = await until(world, "projector", ok=False)
        late = await until(world, "archive", replace(BOUNDS, age_s=0.5), ok=False)
        behind = await drift(world.servers)
    assert "nobody projects: the tables are" in dead.found
    assert "are still to be archived, the first for" in late.found
    assert behind is not None
    assert "no projector runs" in str(behind)
    assert "events and" in str(behind)

    async with lives(world):
        await until(world, "projector", ok=True)
        assert world.servers.postgres is not None
        world.servers.postgres.signal(signal.SIGSTOP)
        try:
            found = await findings(world)
        finally:
            world.servers.postgres.signal(signal.SIGCONT)
        assert (found["tables"].ok, found["tables"].unreachable) == (False, True)
        await until(world, "projector", ok=True)


async def test_parked_lanes_and_skipped_events_are_red_until_somebody_has_seen_to_them(world: World) -> None:
    async with lives(world):
        await world.connection.request("evt.main.game.poisoned.PlayerMoved", b"\x00 this is no event")
        skipped = await until(world, "skipped", ok=False)
        position = skipped.facts["first"]
        assert isinstance(position, int)
        assert f"the first at position {position}" in skipped.found
        assert f"`worldbus skipped ack {position}`" in skipped.found
        async with connected(world.servers.postgres_dsn) as connection:
            assert await acknowledge(connection, [position], by="somebody", note="seen") == [(position, "*")]
            assert await acknowledge(connection, [position], by="somebody else") == []
            await connection.execute(
                "INSERT INTO world.parked (world, handler, entity, input, status, code, reason, since) VALUES"
                " ('main', 'player', 'mira', 7, 'parked', 'BROKEN_RULE', 'x', now() - interval '1 hour'),"
                " ('main', 'player', 'mira', 9, 'deferred', NULL, NULL, now()),"
                " ('main', 'npc', 'pell', 8, 'parked', 'HANDLER_HUNG', 'y', '10000-01-01')"
            )
        assert (await findings(world))["skipped"].ok
        parked = (await findings(world))["parked"]

    assert not parked.ok
    assert re.search(r"1 input BROKEN_RULE, the oldest player/mira input 7, 36\d\d s ago; ", parked.found), parked.found
    assert "1 input HANDLER_HUNG, the oldest npc/pell input 8, 0.0 s ago" in parked.found
    assert "poisoned" not in parked.found, "nothing can ever decide it: it stops nobody"
    assert "; 1 input behind them: see `worldbus parked show" in parked.found
    assert "`worldbus parked show player/mira`" in parked.found


async def test_a_member_that_is_not_well_says_so_and_two_releases_are_a_warning(world: World) -> None:
    class Ill:
        reasons = ("player/mira has been deciding for 12 s",)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lives(world))
        await until(world, "members", ok=True)
        assert (await findings(world))["versions"].warning is False
        newer = Membership(world.connection, world.log.name, (), lambda: None, presence=Presence("99.0.0", health=Ill()))
        beating = asyncio.create_task(newer.run())
        stack.callback(beating.cancel)
        red = await until(world, "members", ok=False)
        versions = (await findings(world))["versions"]

    assert "player/mira has been deciding for 12 s" in red.found
    assert (versions.ok, versions.warning) == (True, True)
    assert "99.0.0" in versions.found


async def test_a_nearly_full_disk_is_red_whatever_else(world: World) -> None:
    found = await findings(world, replace(BOUNDS, full=0.0001, room=1 << 62))

    assert not found["capacity"].ok
    assert "disk of the log" in found["capacity"].found
    assert "GiB left: free some room or raise the limit" in found["capacity"].found


@pytest.mark.parametrize(
    ("store", "full"),
    [
        (Store(name="disk", used=95 * GIB, limit=100 * GIB, disk=True), True),
        (Store(name="disk", used=890 * GIB, limit=1000 * GIB, disk=True), False),
        (Store(name="disk", used=950 * GIB, limit=1000 * GIB, disk=True), False),  # 50 GiB are room enough
        (Store(name="disk", used=0, limit=GIB // 4, disk=True), False),  # a small disk that is empty
        (Store(name="stream", used=95, limit=100), True),
        (Store(name="stream", used=89, limit=100), False),
        (Store(name="none", used=1, limit=0), False),
    ],
)
def test_what_is_nearly_full(store: Store, full: bool) -> None:
    assert store.nearly_full(Bounds()) is full


async def test_a_limit_of_the_server_counts_as_room(world: World) -> None:
    """nats-server's own limit is what a disk had when it started; a reload may make it small."""
    stored = (await findings(world))["capacity"].facts

    limit = stored["NATS server (max_file_store)"]
    assert isinstance(limit, dict)
    assert limit["limit"] > 0


@pytest.mark.parametrize(("ahead_s", "wanted"), [(0, 0.0), (3600, 3600), (-3600, -3600), (5, 5)])
async def test_the_clock_of_a_server_is_held_against_ours(ahead_s: int, wanted: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_796_000_000 * clocks.S]

    async def there() -> int:
        now[0] += clocks.S // 10  # the question's way
        answer = now[0] + ahead_s * clocks.S
        now[0] += clocks.S // 10
        return answer

    monkeypatch.setattr(clocks.time, "time_ns", lambda: now[0])
    skew = await clocks._skew(there)

    assert skew is not None
    assert abs(skew - wanted) <= 0.11


async def test_clocks_of_the_servers_agree_here_and_a_bound_below_nothing_fails(world: World) -> None:
    assert (await findings(world))["clocks"].ok
    assert not (await findings(world, replace(BOUNDS, skew_s=-1.0)))["clocks"].ok


async def test_servers_that_do_not_answer_are_told_from_a_no(data_folder: Path) -> None:
    away = Settings(nats_url="nats://127.0.0.1:1", postgres_dsn="postgresql://nobody@127.0.0.1:1/none", data=data_folder)
    found = {one.check: one async for one in examine(away)}

    assert {name for name, one in found.items() if one.unreachable} == {"nats", "tables"}


async def test_a_folder_without_a_world_is_not_examined_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NoWorld, match="no world is there"):
        _ = [one async for one in examine(Settings(data=tmp_path / "none"))]

    assert not (tmp_path / "none").exists()


def test_lengths_of_time_are_said_for_people() -> None:
    assert [ago(seconds) for seconds in (0.04, 9.96, 59.6, 5400, 200_000)] == ["0.0 s", "10.0 s", "60 s", "1.5 h", "2.3 d"]
