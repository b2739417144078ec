"""The work of `worldbus dev`: own the servers, watch the game's files, and put a new child in the place of the old one on each change.

changed ──▶ fork ──▶ loads? ──no──▶ said; the old child plays on
                       │yes
                       ▼
           the new child begins, the old one settles and ends (partitions go over as between two releases)
                       │
                       ▼
           what the changed rules would have decided differently
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from worldbus.dev.change import LORE, Changed, forget_compiled, is_code, listed, names_of, saved
from worldbus.dev.files import Files
from worldbus.dev.interpreter import Child, Interpreter
from worldbus.dev.schemas import Schemas

if TYPE_CHECKING:
    from worldbus.settings import Settings

END_S: Final = 15.0  # that a child may take to settle
STEADY_S: Final = 10.0  # a child that played for so long is started again when it ends by itself
SHOWN: Final = 5  # differences
SLOW_S: Final = 10.0  # a game that takes so long to load is told


@dataclass(slots=True)
class Playing:
    """The child that plays, and the game that it loaded."""

    child: Child
    rules: dict[str, str]
    views: dict[str, str]
    parts: dict[str, str]
    seen: float  # monotonic seconds: when the change was saved that it took up
    since: float  # and when it was told to play
    alone: asyncio.Event = field(default_factory=asyncio.Event)  # whoever played before has ended
    plays: asyncio.Event = field(default_factory=asyncio.Event)  # and that was told


class Session:
    """One run of `worldbus dev`. `say` prints a line; `given` are the settings that children are told, as words."""

    def __init__(
        self, interpreter: Interpreter, settings: Settings, given: dict[str, str], *, inputs: int, scale: int, say: Callable[[str], None]
    ) -> None:
        self._interpreter = interpreter
        self._given = given
        self._inputs = inputs
        self._scale = scale
        self._say = say
        self._files = Files(without=[settings.data])
        self._schemas = Schemas(self._tell, self._broken)
        self._playing: Playing | None = None
        self._children: set[Child] = set()  # those that have not ended
        self._comparing = 0  # pid of the process that decides the recorded inputs again
        self._to_compare: set[str] | None = None  # handlers whose change was not shown yet; None: those that decide otherwise than recorded
        self._lore_due = True  # documents that the world may not know yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[None] | None = None
        self._pending: set[str] = set()  # changed since a game was last loaded
        self._up_once = asyncio.Event()
        self._seen = time.monotonic()  # when the change that is being taken up was saved

    async def run(self, welcome: Callable[[], None]) -> None:
        """Play, and take up changes, until cancelled; then end the children in order."""
        async with asyncio.TaskGroup() as self._group:
            try:
                self._load_soon([])
                self._background(self._welcome(welcome), "welcome")
                async for changed in self._files.changes():
                    self._seen = saved(changed)
                    self._changed(changed)
            finally:
                await self._end()

    async def _welcome(self, welcome: Callable[[], None]) -> None:
        await self._up_once.wait()
        welcome()
        self._say(f"Watching {len(self._files)} files; each change that loads is played at once.")

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stop_comparing()
        self._playing = None
        await asyncio.gather(*(child.end(END_S) for child in self._children if not child.ended.done()))

    # -- changes -----------------------------------------------------------------------------------------------------------------

    def _changed(self, files: Sequence[str]) -> None:
        self._tell(f"changed: {names_of(files)}")
        if self._schemas.among(files):
            self._background(self._schemas.compile(), "schemas")
            files = [file for file in files if not file.endswith(".proto")]
            if not files:
                return
        self._load_soon(files)

    def _load_soon(self, files: Sequence[str]) -> None:
        """Load the game anew; whatever was being loaded is out of date."""
        self._pending.update(files)
        before = self._loading
        if before is not None:
            before.cancel()
        self._loading = self._background(self._load(before), "load")

    async def _load(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        for file in self._pending:
            forget_compiled(file)
        slow = asyncio.get_running_loop().call_later(
            SLOW_S, self._tell, "still being loaded: does a module wait for something, or compute much?"
        )
        try:
            await self._load_now()
        finally:
            slow.cancel()

    async def _load_now(self) -> None:
        began_ns = time.time_ns()
        child = await self._fork()
        try:
            now = self._playing
            views, parts = (now.views, now.parts) if now is not None else ({}, {})
            child.talk.say(settings=self._given, views=views, parts=parts, again=self._up_once.is_set())
            loaded = await child.talk.hear()
            missed = self._files.follow(loaded["roots"], since_ns=began_ns) if loaded is not None else []
        except asyncio.CancelledError:
            child.signal(signal.SIGKILL)
            child.close()
            await child.ended  # until then it may still write compiled code of what is out of date
            raise
        if missed:
            child.signal(signal.SIGKILL)
            asyncio.get_running_loop().call_soon(self._changed, missed)
        elif loaded is None:
            self._tell(f"the game ended while it was loaded, with code {await child.ended}")
        elif loaded["broken"]:
            self._broken(loaded["broken"])
        else:
            self._take_up(child, loaded)
            return
        child.close()

    async def _fork(self) -> Child:
        """A child, or none at all: one that is being forked when its load is given up is ended."""
        forking = asyncio.create_task(self._interpreter.fork(), name="fork")
        try:
            child = await asyncio.shield(forking)
        except asyncio.CancelledError:
            child = await forking
            child.signal(signal.SIGKILL)
            child.close()
            raise
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._children.discard(child))
        return child

    def _broken(self, reasons: Sequence[str]) -> None:
        for reason in reasons:
            self._tell(f"broken: {reason}")
        self._tell("what ran before runs on" if self._playing is not None else "nothing runs yet; the next save is tried")

    # -- children ----------------------------------------------------------------------------------------------------------------

    def _take_up(self, child: Child, loaded: dict[str, Any]) -> None:
        """Let a child play that loaded well, in the place of the one that plays."""
        old, changed = self._playing, Changed.between(self._playing, loaded)
        self._pending, files = set(), self._pending
        if old is not None and not changed.any and not any(is_code(file) for file in files):
            self._tell("no rule and no projection is another one: nothing is started again")
            child.signal(signal.SIGKILL)
            child.close()
            return
        for line in changed.lines(old, loaded):
            self._tell(line)
        self._playing = new = Playing(child, loaded["rules"], loaded["views"], loaded["parts"], self._seen, time.monotonic())
        self._stop_comparing()
        compares = self._let_play(new, changed)
        self._background(self._hear(new, again=self._up_once.is_set()), "child")
        self._background(self._hand_over(old, new, compares), "hand-over")
        self._background(self._interpreter.warm(loaded["installed"]), "warm")

    def _let_play(self, new: Playing, changed: Changed) -> bool:
        """Say go. True if recorded inputs are to be decided again."""
        if self._to_compare is not None:
            self._to_compare = (self._to_compare | set(changed.rules)) & new.rules.keys()
        names = None if self._to_compare is None else sorted(self._to_compare)
        last = self._inputs if names is None or names else 0
        self._lore_due = self._lore_due or LORE in changed.parts
        new.child.talk.say(go=True, compare=names, last=last, shown=SHOWN, scale=self._scale, lore=self._lore_due)
        return last > 0

    async def _hand_over(self, old: Playing | None, new: Playing, compares: bool) -> None:
        """End the old child, which settles what it holds; then let the recorded inputs be decided again."""
        if old is not None:
            await old.child.end(END_S)
            old.child.close()
        new.alone.set()
        if compares:
            new.child.comparison.say(begin=True)
            await self._compared(new)

    async def _plays(self, playing: Playing, again: bool) -> None:
        await playing.alone.wait()
        if again and playing is self._playing:
            self._tell(f"plays again, {time.monotonic() - playing.seen:.1f} s after the save")
        playing.plays.set()
        self._up_once.set()

    async def _hear(self, playing: Playing, *, again: bool) -> None:
        """Hear what a child says until it ends; see to it that something plays if it ends by itself."""
        reason = ""
        while (said := await playing.child.talk.hear()) is not None:
            if "up" in said:
                self._background(self._plays(playing, again), "plays")
            elif "comparing" in said:
                self._comparing = said["comparing"]
            elif "lore" in said:
                self._lore_due = False
                if said["lore"]:
                    self._tell(said["lore"])
            elif "building" in said:
                self._tell(f"{listed('projection', said['building'])}: other SQL or functions than before; built anew beside the work")
            elif "built" in said:
                self._tell(f"projection {said['built']}: readers see what was built anew")
            elif "ended" in said:
                reason = said["ended"]
        code = await playing.child.ended
        if playing is not self._playing:
            return
        self._playing = None
        self._tell(f"the game ended by itself, code {code}" + (f": {reason}" if reason else ""))
        if time.monotonic() - playing.since > STEADY_S:
            self._seen = time.monotonic()
            self._load_soon([])
        else:
            self._tell("nothing runs now; the next save is tried")

    async def _compared(self, playing: Playing) -> None:
        said = await playing.child.comparison.hear()
        await playing.plays.wait()
        if playing is not self._playing:
            return
        self._comparing, self._to_compare = 0, set()
        for line in said["lines"] if said is not None else ["the recorded inputs could not be decided again: a decision did not return"]:
            self._say(line)

    def _stop_comparing(self) -> None:
        pid, self._comparing = self._comparing, 0
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- ours --------------------------------------------------------------------------------------------------------------------

    def _background(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Work beside the rest; an error of it ends us."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _tell(self, text: str) -> None:
        self._say(f"{time.strftime('%H:%M:%S')} {text}")
