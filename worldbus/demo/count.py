"""The report of a run: the log and the tables, counted behind the position where it began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from projections.store import connected
from worldbus.demo.account import DUE, Account
from worldbus.demo.report import Report, percentile, report
from worldbus.standard import projections

if TYPE_CHECKING:
    from asyncpg import Connection

    from bus.runtime import Runtime
    from projections.projection import Projection
    from worldbus.demo.bots import Bots
    from worldbus.demo.ledger import Promise
    from worldbus.demo.witness import Witness
    from worldbus.game import Game
    from worldbus.opening import World

_KNOWN = """
    SELECT (SELECT count(*) FROM world.documents WHERE world = $1),
           (SELECT count(*) FROM world.passages WHERE world = $1 AND kind = 'lore' AND added IS NOT NULL AND ended IS NULL)
"""
_ARCHIVED = "SELECT position, event_id FROM worldbus.events WHERE position > $1 AND position <= $2"

VIEWS: Final[Mapping[Projection, str]] = {  # where the facts of a standard one can be asked for first, if not in its first table
    projections.clock: "clock",
    projections.capabilities: "capabilities",
    projections.models: "model_choices",
    projections.quests: "quest_journal",
    projections.payments: "wallets",
    projections.state: "entity_state",
    projections.stories: "story_so_far",
}


def views_of(game: Game, bots: Bots) -> dict[str, str]:
    """The view for each subsystem of the game in which its facts can be asked for first; none for those that no projection follows."""
    found: dict[str, str] = {}
    for one in game.projections:
        if one.said_by in game.by_name and one.tables:
            found.setdefault(one.said_by, bots.views.get(one.name) or VIEWS.get(one) or one.tables[0].name)
    return found


def decide_us(runtime: Runtime | None) -> dict[str, float]:
    """The microseconds of decisions, 95th percentile of a sample, by handler."""
    if runtime is None:
        return {}
    return {
        name: round((percentile(sorted(runner.tally.decide_ns), 0.95) or 0.0) * 1000, 1)
        for name, runner in runtime.runners.items()
        if runner.tally.decide_ns
    }


async def count_up(
    game: Game,
    world: World,
    bots: Bots,
    promises: Sequence[Promise],
    witness: Witness,
    *,
    last: int,
    seconds: float,
    decide_us: Mapping[str, float],
) -> Report:
    """The report of what stands behind the run's start in the log, up to `last`, and what the tables have of it."""
    start, views = bots.stage.run, views_of(game, bots)
    account = Account(game.handlers, {**DUE, **bots.due})
    async for events in world.log.read(after=start, until=last):
        account.take(events)
    async with connected(world.servers.postgres_dsn) as connection:
        rows: list[Any] = await connection.fetch(_ARCHIVED, start, last)
        documents, passages = await _known(game, connection, world.settings.world)
        counted = {
            name: (view, await connection.fetchval(f"SELECT count(*) FROM world.{view}"))  # noqa: S608  names of the game's own
            for name, view in views.items()
        }
    account.settle(promises, {row["position"]: row["event_id"] for row in rows})
    return report(
        account,
        witness,
        decide_us=decide_us,
        views=counted,
        projected=len(rows),
        world=world.settings.world,
        players=len(bots.players),
        first_player=bots.players[0].name if bots.players else "",
        seconds=seconds,
        seed=bots.stage.seed,
        durability=world.settings.durability,
        first=start + 1,
        last=last,
        published=len(promises),
        documents=documents,
        passages=passages,
    )


async def _known(game: Game, connection: Connection, world: str) -> tuple[int, int]:
    """Documents and passages of lore in the tables of a world."""
    if projections.knowledge.name not in {one.name for one in game.projections}:
        return 0, 0
    documents, passages = await connection.fetchrow(_KNOWN, world)
    return documents, passages
