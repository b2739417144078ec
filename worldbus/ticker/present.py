"""The present moment as a signal, and by it a sign of life: whoever speaks for a clock says four times a second what it shows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bus.errors import WorldbusError
from bus.signals import listen, signal
from bus.subjects import SIGNAL_ROOT
from handlers.time_manager import CLOCK
from handlers.time_manager.calendar import read
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.connection import Connection, Listener
    from worldbus.ticker.plan import Plan

EVERY_S: Final = 0.25


def subject(world: str) -> str:
    """The subject on which the world's own clock is shown."""
    return f"{SIGNAL_ROOT}.{world}.{CLOCK}"


def shown(plan: Plan, heard_ms: int | None) -> PresentMoment:
    """The moment that the clock shows when it has heard so much; an empty moment while that is not known."""
    moment = PresentMoment(asleep=plan.asleep)
    if plan.anchor is not None and plan.calendar is not None and heard_ms is not None:
        moment.scale, moment.running = plan.anchor.scale, not plan.anchor.paused
        moment.now.CopyFrom(read(plan.calendar, plan.anchor.world_at(heard_ms)).to_proto())
    return moment


async def show(connection: Connection, world: str, moment: Callable[[], PresentMoment]) -> None:
    """Send it again and again, until cancelled. Lost without a connection, as signals may be."""
    while True:
        with suppress(WorldbusError):
            signal(connection, subject(world), moment().SerializeToString())
        await asyncio.sleep(EVERY_S)


async def hear(connection: Connection, world: str, on_sign: Callable[[], None]) -> Listener:
    """Call `on_sign` for every sign of life of whoever speaks for the world's clock."""
    return await listen(connection, subject(world), lambda _, __: on_sign())
