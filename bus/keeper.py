"""Keeping a handler's durable consumer as the code wants it: made where it is missing, repaired where somebody rewrote it.

Whoever holds a partition looks when the server says anything odd about its consumer, and every few seconds. What can be changed in place
is; a consumer that may have passed over events is made anew behind what was settled while it was known to be right (bus/progress.py). Two
releases that want different filters both live with the wider one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from bus.connection import ApiError
from bus.consumer import NOT_FOUND, OTHERWISE_MADE, PullConsumer
from bus.consumer_config import FIXED, SKIPS, Difference, config_of, differences, pull_config, repaired
from bus.errors import LogDamaged
from bus.subjects import stored_filter

if TYPE_CHECKING:
    from bus.log import Log
    from bus.progress import Progress
    from bus.session import Pace, Place

LONGEST_S = 60.0  # between two repairs of a consumer that somebody rewrites again and again
FIRST_S = 5.0
UNCHANGEABLE = 10012  # JetStream's error code, also of a consumer whose files cannot be read

log = structlog.get_logger(__name__)


def wanted(place: Place, pace: Pace) -> dict[str, Any]:
    """The configuration that the consumer of a place has to have."""
    return pull_config(place.name, [place.subject_filter], ack_wait=pace.ack_wait_s, pin_timeout=pace.pin_timeout_s)


def wider(place: Place) -> list[str]:
    """The filter that does as well: the whole partition. The session passes over what it does not want."""
    return [] if place.partition is None else [stored_filter(partition=place.partition)]


class Consumers(NamedTuple):
    """The server's information about the consumers of a log, by name; `missing` are those of which it cannot tell at the moment."""

    infos: Mapping[str, Mapping[str, Any]]
    missing: frozenset[str]


async def list_consumers(log_: Log) -> Consumers:
    """Every consumer of the log. Raises `Transient` and `ApiError`."""
    infos: dict[str, Mapping[str, Any]] = {}
    missing: set[str] = set()
    seen = 0
    while True:
        answer = await log_.connection.api(f"CONSUMER.LIST.{log_.name}", {"offset": seen})
        page = answer.get("consumers") or []
        infos |= {info["name"]: info for info in page}
        missing.update(answer.get("missing") or ())
        seen += len(page)
        if not page or seen >= answer["total"]:
            return Consumers(infos, frozenset(missing))


class Keeper:
    """Keeps one consumer."""

    def __init__(self, log_: Log, place: Place, progress: Progress, *, pace: Pace) -> None:
        self.name = place.name
        self._consumer = PullConsumer(log_.connection, log_.name, place.name)
        self._wanted = wanted(place, pace)
        self._wider = wider(place)
        self._progress = progress
        self._looking = asyncio.Lock()  # a session in doubt and the look that comes every few seconds may find it gone at once
        self._told: list[Difference] = []
        self._pause_s = FIRST_S
        self._next_at = 0.0  # before that, what was just repaired is left alone

    async def begin(self) -> None:
        """Make the consumer for a process that starts. A missing one reads the log from its start: what was answered is recognised.

        One that reads by another filter, since the handler listens to other types now, is made anew behind its ack floor: changing the
        filter in place would skip older messages of the new one.
        """
        try:
            await self._consumer.make(self._wanted)
        except ApiError as error:
            if error.err_code == UNCHANGEABLE and "creating store" in str(error):
                raise self._damaged() from error
            if error.err_code != OTHERWISE_MADE:
                raise
            info = await self._consumer.info()
            found = differences(self._wanted, config_of(info))
            if found and not differences(self._wanted, config_of(info), wider=self._wider):
                await self._consumer.change(repaired(self._wanted, info["config"]))  # narrower skips nothing that is wanted
            elif found:
                floor, sound = info["ack_floor"]["stream_seq"], await self._progress.behind()
                await self._repair(info, found, floor if sound is None else min(floor, sound))

    def _damaged(self) -> LogDamaged:
        name, stream = self.name, self._consumer.stream
        return LogDamaged(
            f"the server cannot read what it kept of consumer {name}: stop it, remove obs/{name} from the folder of stream {stream} in its "
            "store, start it; the handler then looks through the log again, and does nothing twice",
            consumer=name,
        )

    async def ensure(self) -> None:
        """Look at the consumer now, and mend what is wrong with it."""
        async with self._looking:
            try:
                info = await self._consumer.info()
            except ApiError as error:
                if error.err_code != NOT_FOUND:
                    raise
                await self.make_anew()
            else:
                await self.mend(info)

    async def make_anew(self) -> None:
        """Make the consumer that is gone, behind what is known to be settled."""
        after = await self._progress.behind() or 0
        if await self._made(after):
            log.warning("consumer_made_anew", consumer=self.name, after=after, reason="it was gone")

    async def start_over(self, after: int) -> None:
        """Make the consumer anew that cannot be set back to `after`, because somebody made it to begin behind that."""
        log.warning("consumer_made_anew", consumer=self.name, after=after, reason="it began behind what was settled")
        with suppress(ApiError):
            await self._consumer.delete()
        await self._made(after)

    async def mend(self, info: Mapping[str, Any]) -> bool:
        """Return whether the consumer with this `info` of the server was as it has to be. If not, it is when this returns, unless
        it was repaired just now."""
        found = differences(self._wanted, config_of(info), wider=self._wider)
        now = asyncio.get_running_loop().time()
        if not found:
            if now > self._next_at + LONGEST_S:
                self._pause_s, self._told = FIRST_S, []
            return True
        if now < self._next_at:
            return False
        self._next_at, pause_s = now + self._pause_s, self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_S)
        try:
            await self._repair(info, found, await self._progress.behind() or 0)
        except Exception:
            self._next_at, self._pause_s = now, pause_s  # the pauses are for who undoes repairs, not for a server that is slow
            raise
        return False

    async def _repair(self, info: Mapping[str, Any], found: list[Difference], after: int) -> None:
        fields = {one.field for one in found}
        anew = bool(fields & (FIXED | SKIPS))
        if found != self._told:
            how = f"made anew behind position {after}" if anew else "changed in place"
            log.warning("consumer_differs", consumer=self.name, differences=[str(one) for one in found], repair=how)
            self._told = found
        if anew:
            with suppress(ApiError):
                await self._consumer.delete()
            await self._made(after)
            return
        if "pause_until" in fields:
            await self._consumer.go_on()
        if fields - {"pause_until"}:
            await self._consumer.change(repaired(self._wanted, info["config"]))
        if "priority_timeout" in fields:  # the server keeps a pin for as long as the consumer said when it was renewed
            with suppress(ApiError):
                await self._consumer.unpin()

    async def _made(self, after: int) -> bool:
        """Make it. False: another member did so at the same moment."""
        try:
            await self._consumer.make(self._wanted, after=after)
        except ApiError as error:
            if error.err_code != OTHERWISE_MADE:
                raise
            return False
        return True
