"""The last recorded inputs, decided again by the rules as they are now: a window of what `worldbus verify` does with the whole log.

    last N inputs of the handlers ──▶ where the window begins ──▶ lanes folded up to there, when they first come up ──▶ Verifier

A lane is folded from its own history in the log and never from a snapshot: snapshots were made by the rules that are no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bus.errors import BadEvent
from bus.health import Health
from bus.rules import producer
from bus.verify import Verifier
from bus.watch import Watch
from bus.watchdog import Watchdog
from schemas.upcast import recorded_names
from worldbus.compose import budgets_of
from worldbus.lag import consumers
from worldbus.opening import open_bus
from worldbus.verification import decide_again

if TYPE_CHECKING:
    from bus.event import Event
    from bus.handler import Subsystem
    from bus.log import Log
    from bus.verify import Report
    from worldbus.game import Game
    from worldbus.settings import Settings

MOST: Final = 50  # events that are looked through for each input wanted: handlers that seldom hear anything are not sought for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The part of the log behind `since`, up to `until`, with this many inputs of the handlers."""

    since: int
    until: int
    inputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The outcome: the handlers compared, in which part of the log, and what differs."""

    handlers: tuple[str, ...]
    window: Window
    report: Report


async def compared(settings: Settings, game: Game, names: Sequence[str] | None, inputs: int) -> Comparison | None:
    """Decide the last so many inputs of these handlers again; of None, those of all whose rules are others than those that decided last.

    None if there is no such handler. The log is only read.
    """
    async with open_bus(settings, name="worldbus-dev-compare", postgres=False) as bus:
        handlers = (
            await _other_than_recorded(bus.log, game, settings.world, inputs) if names is None else [game.by_name[one] for one in names]
        )
        if not handlers:
            return None
        # Asked first, as `verify` does: what is settled by now has its answers in the log before its present end.
        called = {handler.label: handler.name for handler in handlers}
        settled = {(called[one.handler], one.partition): one.settled for one in await consumers(bus.log, handlers)}
        window = await found(bus.log, handlers, inputs)
        watch = Watch()
        verifier = Verifier(handlers, partitions=bus.log.partitions, watch=watch, known=game.by_name, since=window.since)
        with Watchdog(watch, Health(), None, budgets_of(settings)):
            await decide_again(bus.log, verifier, after=window.since, until=window.until)
    report = verifier.finish(lambda handler, partition: settled.get((handler, partition), 0))
    return Comparison(handlers=tuple(one.name for one in handlers), window=window, report=report)


async def found(log: Log, handlers: Iterable[Subsystem], inputs: int) -> Window:
    """Find where the last so many inputs of these handlers begin, from the end of the log backwards."""
    until = (await log.state()).last
    names = recorded_names([kind for one in handlers for kind in one.listens_to])
    begins, size, positions = until, 2 * inputs, list[int]()
    while begins and len(positions) < inputs and until - begins < MOST * inputs:
        before = max(0, begins - size)
        block = [event.position async for events in log.read(after=before, until=begins) for event in events if event.name in names]
        positions = block + positions
        begins, size = before, 2 * size
    wanted = positions[-inputs:]
    whole = begins == 0 and len(positions) <= inputs
    return Window(since=0 if whole or not wanted else wanted[0] - 1, until=until, inputs=len(wanted))


async def _other_than_recorded(log: Log, game: Game, world: str, inputs: int) -> list[Subsystem]:
    """The handlers whose last recorded decision was made by other rules than today's."""
    until = (await log.state()).last
    last: dict[str, str] = {}
    if until:
        async for events in log.read(after=max(0, until - 2 * inputs), until=until):
            last |= {event.subsystem: _release(event) for event in events if event.subsystem in game.by_name and event.world == world}
    return [game.by_name[name] for name, release in last.items() if release and release != producer(game.by_name[name].of(world))]


def _release(event: Event) -> str:
    try:
        return event.producer_version
    except BadEvent:
        return ""
