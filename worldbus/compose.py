"""Putting the parts together: `serve` runs handlers, projections, edges and workers inside an opened world (`worldbus.opening`).

Opened outside-in, so whatever ends first ends first: workers before the publisher, which the world owns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from bus.errors import BadSettings, MissingExtra, StoreUnavailable, WorldbusError
from bus.health import Health
from bus.lane_run import Limits
from bus.membership import Membership
from bus.runtime import run_handlers
from bus.watchdog import Budgets
from projections.prepare import prepare
from projections.store import answered
from worldbus.exporter import exporting
from worldbus.extras import require
from worldbus.former import Now, former
from worldbus.opening import Bus, World, open_bus, open_world
from worldbus.readiness import REFUSES, Refusals
from worldbus.servers import open_servers
from worldbus.standby import project
from worldbus.ticker import tick
from worldbus.tiers import answers, run_tiers

if TYPE_CHECKING:
    from bus.handler import Subsystem
    from bus.runtime import Runtime
    from projections.projection import Projection
    from worldbus.settings import Settings

__all__ = ["Bus", "World", "open_bus", "open_servers", "open_world", "serve"]

KNOWLEDGE = "knowledge"
TOGETHER_FROM = 16  # a lane's outputs that share one sync of the disk (docs/adr/0044)

log_ = structlog.get_logger(__name__)


@asynccontextmanager
async def serve(
    world: World,
    *,
    handlers: Iterable[Subsystem] = (),
    projections: Iterable[Projection] = (),
    ticks: bool = False,
    tiers: Iterable[str] = (),
    release_feed: bool = False,
    by_digest: bool = False,
) -> AsyncIterator[Runtime | None]:
    """Run handlers, workers of inference, the projector and the ticker for the block; embedded servers of ours that end are started again.

    With `release_feed`, the feed that the settings name is read too; let one process do that. With `by_digest`, projections are built anew
    also when their version is the same and their SQL or functions are not. Leaving ends these edges and the ticker first, then the
    handlers, which settle what they hold, then the projector. Whatever ends by an error ends the block with it.

    What plays by a table that cannot be read is left out, and said to operators; raises `BadSettings` if nothing else is to run. So is the
    knowledge base's service without the extra `knowledge`: its tables are projected. Raises `MissingExtra` for a feed or figures over HTTP
    without what they need, before anything runs.
    """
    tiers = tuple(tiers)
    _require(world.settings, tiers=tiers, release_feed=release_feed)
    with ExitStack() as parts:
        refusals = _refusals(world, parts)
        handlers = refusals.able(handlers, _worlds(world.settings))
        tiers = _able(refusals, tiers, world.settings)
        projections = tuple(projections)
        refusals.end_if_alone(handlers, tiers, projections, ticks, release_feed)
        async with _serve(
            world,
            refusals.health,
            handlers=handlers,
            projections=projections,
            ticks=ticks,
            tiers=tiers,
            release_feed=release_feed,
            by_digest=by_digest,
            answers_questions=_answers_questions(world, projections, parts),
        ) as runtime:
            yield runtime


def _require(settings: Settings, *, tiers: Sequence[str], release_feed: bool) -> None:
    """Raise `MissingExtra` for what was asked for and cannot be had here."""
    if release_feed and settings.release_feed:
        require("the release feed", "gateway", of=("aiohttp",))
    if settings.metrics and tiers:
        require("figures at --metrics", "inference")


def _answers_questions(world: World, projections: Iterable[Projection], parts: ExitStack) -> bool:
    """True if this process serves the knowledge base. Where the extra for it is missing, operators are told, and another process may."""
    if not any(one.name == KNOWLEDGE for one in projections):
        return False
    try:
        require("the knowledge base's answers", "knowledge")
    except MissingExtra as error:
        log_.warning("knowledge_not_served", reason=str(error))
        parts.enter_context(world.presence.part(KNOWLEDGE)).stands(REFUSES, str(error))
        return False
    return True


def _refusals(world: World, parts: ExitStack) -> Refusals:
    from worldbus.games import current

    game, presence = current(), world.presence
    presence.game, presence.worlds = game.name, sorted(game.plays or ())
    presence.health = health = Health()
    return Refusals(health, presence, parts)


def _worlds(settings: Settings) -> frozenset[str]:
    """The worlds whose content has to be right before anything runs: the one that is meant, and those that the game names."""
    from worldbus.games import current

    game = current()
    return frozenset(world for world in (settings.world, *game.worlds, *(game.plays or ())) if game.played.has(world))


def _able(refusals: Refusals, tiers: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """The workers that have something to answer with."""
    if not tiers:
        return ()
    from worldbus.games import current

    try:
        answers(current().content_of(settings.world))
    except BadSettings as error:
        for name in tiers:
            refusals.refuse(name, str(error))
        return ()
    return tiers


@asynccontextmanager
async def _serve(
    world: World,
    health: Health,
    *,
    handlers: Sequence[Subsystem],
    projections: Sequence[Projection],
    ticks: bool,
    tiers: Sequence[str],
    release_feed: bool,
    by_digest: bool,
    answers_questions: bool,
) -> AsyncIterator[Runtime | None]:
    if projections:
        await _first_look(world.servers.postgres_dsn)
    limits = Limits(together_from=TOGETHER_FROM if world.settings.durability == "strict" else None)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.servers.keep_alive(), name="keep-alive")]
        if not handlers:
            tasks.append(group.create_task(_be_heard(world), name="members"))
        if projections:
            tasks.append(group.create_task(_project(world, projections, by_digest), name="projector"))
        if answers_questions:
            from worldbus.knowledge import serve_knowledge

            tasks.append(group.create_task(serve_knowledge(world), name="knowledge"))
        async with AsyncExitStack() as stack:
            runtime = await stack.enter_async_context(_running(world, handlers, limits, health)) if handlers else None
            if tiers and world.settings.metrics:
                await stack.enter_async_context(exporting(world.settings.metrics))
            if tiers:
                await stack.enter_async_context(
                    run_tiers(world.connection, world.log, world.publisher, world.settings, tiers, world.presence)
                )
            ticker = group.create_task(_tick(world), name="ticker") if ticks else None
            feed = group.create_task(_watch_feed(world), name="release-feed") if release_feed and world.settings.release_feed else None
            try:
                yield runtime
            finally:
                edges = [edge for edge in (ticker, feed) if edge is not None]
                for edge in edges:
                    edge.cancel()
                if edges:
                    await asyncio.wait(edges)  # while the handlers run: the clock answers the ticker's farewell
        for task in tasks:
            task.cancel()


async def _first_look(dsn: str) -> None:
    """Find out before anything runs whether Postgres is there and lets us in: a wrong address or grant ends the start with the next step.

    A server that answers and is not well is left to the projector, which waits for it while the handlers work.
    """
    try:
        await prepare(dsn)
    except StoreUnavailable as error:
        if not answered(error):
            raise
        log_.warning("postgres_awaited", reason=str(error))


def _running(world: World, handlers: Iterable[Subsystem], limits: Limits, health: Health) -> AbstractAsyncContextManager[Runtime]:
    from worldbus.games import current

    return run_handlers(
        world.connection,
        world.log,
        handlers,
        limits=limits,
        budgets=budgets_of(world.settings),
        presence=world.presence,
        health=health,
        known=current().by_name,
    )


async def _be_heard(world: World) -> None:
    """The sign of life of a process that runs no handler: with one, the runtime gives it."""
    try:
        await Membership(world.connection, world.log.name, (), lambda: None, presence=world.presence).run()
    except WorldbusError as error:  # credentials that may not: then operators do not see this process, and it works all the same
        log_.warning("not_heard_by_operators", error=str(error))


async def _project(world: World, projections: Sequence[Projection], by_digest: bool) -> None:
    with world.presence.part("projector") as part:
        await project(world.servers.postgres_dsn, projections, world.log, part, by_digest=by_digest)


async def _tick(world: World) -> None:
    with world.presence.part("ticker") as part:
        await tick(world.log, world.publisher, world.settings.world, part=part)


def budgets_of(settings: Settings) -> Budgets:
    """The limits of a decision's time."""
    return Budgets(report_s=settings.hang_report_s, interrupt_s=settings.hang_interrupt_s, exit_s=settings.hang_exit_s)


async def _watch_feed(world: World) -> None:
    from worldbus.edges.release_feed import watch
    from worldbus.games import current

    source = world.settings.release_feed or ""
    await watch(world.log, world.publisher, world=world.settings.world, line=current().engine_line, source=source)


def _engine_line() -> str:
    from worldbus.games import current

    return current().engine_line


if not TYPE_CHECKING:  # with it, type checkers would take any name
    __getattr__ = former(__name__, {"ENGINE_LINE": Now("worldbus.games.current().engine_line", _engine_line)})
