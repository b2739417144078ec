"""The ticker, which tells the world's clock of real time. A resting clock is silent for minutes; a dead ticker must not look like it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bus.subjects import partition_of, stored_filter
from handlers.time_manager import CLOCK
from schemas.gen.worldbus.time.v1.time_pb2 import ClockAdvanced, PausedTimePassed, RealTimePassed
from worldbus.checks.finding import Bounds, Finding, ago, many
from worldbus.lag import seconds
from worldbus.ticker import SILENT_S, SPEAKS, WAITS, present
from worldbus.ticker.lane import rests_ms

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.event import Event
    from bus.log import Log
    from bus.presence import PartReport
    from worldbus.roll_call import Member

TICKER: Final = "ticker"
LISTEN_S: Final = SILENT_S + 1.0
"""Time to listen: a live ticker is heard four times a second, and another takes over from a dead one within it."""


async def ticker(log: Log, world: str, heard: Sequence[Member], now_ms: int, bounds: Bounds) -> Finding:
    """Real time reaches the world's clock, if it has one: somebody speaks, and nothing is overdue."""
    parts = [(part, one) for one in heard for part in one.parts if part.name == TICKER]
    waiting = [part for part, _ in parts if part.state == WAITS]
    if waiting and not any(part.state == SPEAKS for part, _ in parts):
        return Finding(TICKER, False, f"waits for {ago(seconds(waiting[0].since_ms, now_ms))}: {waiting[0].reason}")
    word = await _last(log, world, RealTimePassed)
    if word is None:
        words = f"no real time has passed yet in world {world!r}" + ("" if parts else ": start `worldbus up`")
        return Finding(TICKER, bool(parts), words)
    rests = rests_ms(word) / 1000
    age_s = seconds(word.recorded_ns // 1_000_000, now_ms)
    allowed_s = bounds.age_s + min(rests, await _due_s(log, world, word))
    facts = {"position": word.position, "age_s": age_s, "allowed_s": allowed_s}
    told = f"the clock of world {world!r} was told of real time {ago(age_s)} ago, at position {word.position}"
    if age_s > allowed_s:
        return Finding(TICKER, False, f"stands: {told}; {_whose(parts)}", facts=facts)
    if rests and not await _is_heard(log, world):
        return Finding(TICKER, False, f"nobody speaks: {told}; {_whose(parts)}", facts=facts)
    return Finding(TICKER, True, f"{told}; it rests until something is due" if rests else told, facts=facts)


async def _last(log: Log, world: str, kind: type[Message]) -> Event | None:
    partition = partition_of(world, CLOCK, log.partitions)
    return await log.last(stored_filter(partition=partition, world=world, entity=CLOCK, name=kind.DESCRIPTOR.name))


async def _due_s(log: Log, world: str, word: Event) -> float:
    """After how many seconds of silence something is due, as the clock said in its answer to `word`; endless if nothing is."""
    steps = await asyncio.gather(_last(log, world, ClockAdvanced), _last(log, world, PausedTimePassed))
    step = max((one for one in steps if one is not None), key=lambda one: one.position, default=None)
    if step is None or step.position < word.position or not isinstance(step.data, ClockAdvanced | PausedTimePassed):
        return float("inf")  # the clock has not answered: that is for the finding of its handler
    due_ms = step.data.next_real_ms
    return max(0, due_ms - step.data.real_ms) / 1000 if due_ms else float("inf")


async def _is_heard(log: Log, world: str) -> bool:
    """Return whether the present moment of this world is shown: a member's ticker may be another world's, and need not be a member's."""
    sign = asyncio.Event()
    listener = await present.hear(log.connection, world, sign.set)
    try:
        async with asyncio.timeout(LISTEN_S):
            return await sign.wait()
    except TimeoutError:
        return False
    finally:
        await listener.close()


def _whose(parts: Sequence[tuple[PartReport, Member]]) -> str:
    if parts:
        return f"{many([one.name for _, one in parts])} should tell it: see its log"
    return "nobody tells it: start `worldbus run --only ticker`"
