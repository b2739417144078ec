"""The demo in lockstep: nobody says anything before the world has settled, and all times come from the world's clock.

One step is a world minute: the clock moves, then the studio and the players speak as one group, each by what it saw when the step began,
then requests for inference are answered. Handlers run as ever, but their lanes take turns (`bus.turns`). The same seed gives the same log:
the same bytes at the same positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bus.errors import BadSettings
from bus.event import Draft, Event
from bus.subjects import partition_of
from bus.turns import Turns
from worldbus.compose import World, open_world, serve
from worldbus.demo.bots import bots_of, check_bots
from worldbus.demo.count import count_up, decide_us
from worldbus.demo.ledger import Promise
from worldbus.demo.proof import prove
from worldbus.demo.report import Latency
from worldbus.demo.script import STEP_WORLD_MS, Script
from worldbus.demo.witness import Witness
from worldbus.games import current
from worldbus.quiet import until_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bus.runner import Runner
    from worldbus.demo.report import Report
    from worldbus.settings import Settings

GROUP: Final = 500  # events said at once at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of a lockstep run."""

    players: int = 20
    hours: float = 1.0
    seed: int = 1
    prove: bool = True  # afterwards, what can be proven of the world


class Lockstep:
    """Plays the script on the log of a world of its own, one group after the other."""

    def __init__(self, world: World, runners: Iterable[Runner[Any]], script: Script) -> None:
        self._world = world
        self._turns = Turns(runners, hear=script.hear)
        self.promises: list[Promise] = []

    async def play(self, act: Iterable[list[Draft]]) -> None:
        """Say each group, and wait until nobody has anything to say to it any more."""
        for group in act:
            for first in range(0, len(group), GROUP):
                await self._say(group[first : first + GROUP])

    async def _say(self, group: Sequence[Draft]) -> None:
        positions = await self._world.publisher.publish_group(group)
        for draft, position in zip(group, positions, strict=True):
            self.promises.append(Promise(draft.id, position))
            self._turns.heard(self._event(draft, position))
        await self._turns.settled()

    def _event(self, draft: Draft, position: int) -> Event:
        partition = partition_of(draft.world, draft.entity, self._world.log.partitions)
        return Event(raw=draft.encode(), subject=draft.subject, partition=partition, position=position, data=draft.data)


async def run(settings: Settings, wanted: Wanted, tell: Callable[[str, float], None]) -> Report:
    """Let the world live for so many hours of its own time, on an empty log, and report. Raises `BadSettings` if the log is not empty,
    or if the game has no bots.
    """
    game = current()
    check_bots(game)
    tell("starting the servers", 0.0)
    async with open_world(settings, own=settings.embedded_nats or settings.embedded_postgres, name="worldbus-lockstep") as world:
        start = (await world.log.state()).last
        if start:
            raise BadSettings(
                f"a lockstep run makes a log from its first event on: wanted an empty one, found {start} events; name another --data"
            )
        async with (
            serve(world, handlers=game.handlers, projections=game.projections) as runtime,
            Witness.open(world.servers.postgres_dsn) as witness,
        ):
            assert runtime is not None
            bots = bots_of(game, settings.world, players=wanted.players, seed=wanted.seed)
            script = Script(game, bots)
            live = Lockstep(world, runtime.runners.values(), script)
            await live.play(script.opening())
            steps = max(1, round(wanted.hours * 3_600_000 / STEP_WORLD_MS))
            for number in range(1, steps + 1):
                await live.play(script.step(number, steps))
                tell(f"world minute {number} of {steps}, {len(live.promises)} events said by the edges", number / steps)
            await live.play(script.closing())
            tell("waiting until all is handled and projected", 1.0)
            last = await until_quiet(world)
            await witness.wait_for(last)
            measured = decide_us(runtime)
        tell("counting", 1.0)
        found = await count_up(
            game,
            world,
            bots,
            live.promises,
            witness,
            last=last,
            seconds=wanted.hours * 3600,
            decide_us=measured,
        )
        # The edges' own clock is the world's here: it says nothing about how long publishing took.
        proof = await prove(world, tell) if wanted.prove else None
        return replace(found, publish=Latency.of(()), proof=proof)
