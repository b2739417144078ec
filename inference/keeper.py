"""The keeper of one engine: opens it, warms it up, watches it, and brings it back when it failed.

    down ── opened, warm ──► up ── broke, or ill by its own word ──► down: an engine of this process is closed and opened again
                              └── several requests failed in a row ──► down: one of a network is looked at until it is well

No work goes to an engine that is not up. One failed answer takes nothing down: `SUSPECT_AFTER` different requests in a row do, and answers
that run are left alone. An engine of this process answers every prompt that it was given to warm up, so that no player waits for a schema
to be compiled; one behind a network is asked for nothing unless its settings say so, for each word of it costs somebody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from bus.errors import Rejected, Transient
from inference.engine import Engine, Prompt, answer
from inference.errors import EngineFailed, PromptRejected

WATCH_S: Final = 1.0
MAX_PAUSE_S: Final = 5.0
PROVEN_S: Final = 30.0
"""An engine that stayed up for so long is believed to be well again, also if it answered nothing."""
SUSPECT_AFTER: Final = 3
"""Different requests whose answers failed in a row, until the engine counts as down."""

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
        self._suspects: dict[str, str] = {}  # requests whose answers failed since the last whole one, and why
        self._used = asyncio.get_running_loop().time()
        self._pause_s = reopen_s

    def used(self) -> None:
        """Note that the engine generates: no need to keep it warm."""
        self._used = asyncio.get_running_loop().time()

    def proved(self) -> None:
        """Note that the engine gave a whole answer: the next failure is a first one."""
        self._pause_s = self._reopen_s
        self._suspects.clear()

    def suspect(self, request_id: str, reason: str) -> None:
        """The answer to a request failed. Several different requests in a row take the engine down; one alone never does."""
        self._suspects[request_id] = reason
        if len(self._suspects) >= SUSPECT_AFTER:
            self._suspects.clear()
            self.fail(f"{SUSPECT_AFTER} requests in a row: {reason}")

    def fail(self, reason: str) -> None:
        """The engine broke: take it down now."""
        if self.up:
            log.error("engine_failed", engine=self.engine.name, model=self.engine.model, reason=reason)
            self._set(False)
        self._failed.set()

    async def run(self) -> None:
        """Keep it, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            up_at = float("inf")
            try:
                async with self.engine.open():
                    await self._warm_up()
                    up_at = loop.time()
                    await self._keep_up()
            except (Transient, Rejected) as error:
                log.warning("engine_not_ready", engine=self.engine.name, error=str(error))
            finally:
                self._set(False)
            self.failures += 1
            if loop.time() - up_at > PROVEN_S:
                self.proved()
            await self._pause()

    async def _keep_up(self) -> None:
        """Hold it up; returns when it has to be opened again. One behind a network is not: what runs on it goes on."""
        while True:
            self._failed.clear()
            self.used()
            self._set(True)
            await self._watch()
            if not self.engine.abilities.remote:
                return
            self._set(False)
            self.failures += 1
            await self._pause()
            while not await self.engine.healthy():
                await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, max(MAX_PAUSE_S, self._reopen_s))

    async def _warm_up(self) -> None:
        """Answer every prompt, as many at once as there are slots. Raises `EngineFailed`, also if every one of them was refused."""
        await self.engine.ready()
        turns = asyncio.Semaphore(self.engine.slots)
        done = await asyncio.gather(*(self._answer(prompt, turns) for prompt in self._warm), return_exceptions=True)
        refused = [error for error in done if isinstance(error, PromptRejected)]
        for error in done:
            if isinstance(error, BaseException) and not isinstance(error, PromptRejected):
                raise error
        if refused and len(refused) == len(done):
            log.error(
                "engine_refuses_everything", engine=self.engine.name, model=self.engine.model, prompts=len(done), reason=str(refused[0])
            )
            raise EngineFailed(f"wanted an answer to one of {len(done)} prompts, found all refused: {refused[0]}")
        if refused:
            log.warning("warm_up_refused", engine=self.engine.name, refused=len(refused), of=len(done), reason=str(refused[0]))

    async def _answer(self, prompt: Prompt, turns: asyncio.Semaphore) -> None:
        async with turns:
            await answer(self.engine, prompt)

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
