"""The keeper of one engine: opens it, warms it up, watches it, and opens it again when it failed.

No work goes to an engine that is not up. Warming up, it answers every prompt that it was given for that, so that no player waits for a
schema to be compiled; a prompt that it refuses is passed over, because its requests will be refused as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from bus.errors import Rejected, Transient
from inference.engine import Engine, Prompt, answer
from inference.errors import PromptRejected

WATCH_S: Final = 1.0
MAX_PAUSE_S: Final = 5.0
PROVEN_S: Final = 30.0
"""An engine that stayed up for so long is believed to be well again, also if it answered nothing."""

log = structlog.get_logger(__name__)


class Keeper:
    """See the module. `changed` is called whenever `up` has changed."""

    def __init__(self, engine: Engine, *, warm: Sequence[Prompt], reopen_s: float, keep_warm_s: float, changed: Callable[[], None]) -> None:
        self.engine = engine
        self.up = False
        self.failures = 0
        self._warm = tuple(warm)
        self._reopen_s = reopen_s
        self._keep_warm_s = keep_warm_s
        self._changed = changed
        self._failed = asyncio.Event()
        self._used = asyncio.get_running_loop().time()
        self._pause_s = reopen_s

    def used(self) -> None:
        """It generates: no need to keep it warm."""
        self._used = asyncio.get_running_loop().time()

    def proved(self) -> None:
        """It gave a whole answer: the next failure is a first one."""
        self._pause_s = self._reopen_s

    def fail(self, reason: str) -> None:
        """The engine broke while it generated: take it down now."""
        if self.up:
            log.warning("engine_failed", engine=self.engine.name, reason=reason)
            self._set(False)
        self._failed.set()

    async def run(self) -> None:
        """Keep it, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._failed.clear()
            up_at = float("inf")
            try:
                async with self.engine.open():
                    await self._warm_up()
                    self.used()
                    self._set(True)
                    up_at = loop.time()
                    await self._watch()
            except (Transient, Rejected) as error:
                log.warning("engine_not_ready", engine=self.engine.name, error=str(error))
            finally:
                self._set(False)
            self.failures += 1
            if loop.time() - up_at > PROVEN_S:
                self.proved()
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, max(MAX_PAUSE_S, self._reopen_s))

    async def _warm_up(self) -> None:
        """Answer every prompt, as many at once as there are slots; raises `EngineFailed`."""
        await self.engine.ready()
        turns = asyncio.Semaphore(self.engine.slots)
        done = await asyncio.gather(*(self._answer(prompt, turns) for prompt in self._warm), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error

    async def _answer(self, prompt: Prompt, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                await answer(self.engine, prompt)
            except PromptRejected as error:
                log.info("warm_up_refused", engine=self.engine.name, error=str(error))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._failed.is_set():
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._failed.wait()
            except TimeoutError:
                if not await self.engine.healthy():
                    log.warning("engine_unhealthy", engine=self.engine.name)
                    return
                if self._keep_warm_s and loop.time() - self._used > self._keep_warm_s:
                    await self.engine.ready()
                    self.used()

    def _set(self, up: bool) -> None:
        if self.up != up:
            self.up = up
            log.info("engine_up" if up else "engine_down", engine=self.engine.name, model=self.engine.model)
            self._changed()
