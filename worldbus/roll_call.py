"""The processes that are there: ask each process of a world how it stands, and listen for a moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

from bus.connection import Connection, pub
from bus.event import new_id
from bus.membership import ASK, decode, subject_of
from bus.presence import MS, HandlerReport, Heartbeat, Hold, PartReport

LISTEN_S = 0.6  # members beat every 0.25 s, so each is heard twice
PATIENCE_S = 1.2  # for answers that are still on their way, or where nobody was heard
ASK_EVERY_S = 0.2


@dataclass(slots=True, kw_only=True)
class Member:
    """A process as it was heard. One of an older release says nothing but its handlers: `told` is False."""

    id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    started_ms: int = 0
    handlers: list[str]
    health: list[str] = field(default_factory=list)
    game: str = ""
    worlds: list[str] = field(default_factory=list)
    reports: dict[str, HandlerReport] = field(default_factory=dict)
    parts: list[PartReport] = field(default_factory=list)
    told: bool = False
    told_ms: int = 0
    """Moment of its last answer, by our clock, Unix time."""

    @property
    def name(self) -> str:
        """The member's name for people."""
        return f"{self.host}:{self.pid}" if self.pid else f"a process of an older release ({self.id})"

    @property
    def speaks(self) -> bool:
        """Return whether its release answers questions."""
        return self.pid > 0


class RollCall:
    """The members that were heard, by id."""

    def __init__(self) -> None:
        self.asked = new_id()
        self.members: dict[str, Member] = {}

    def hear(self, payload: bytes) -> None:
        """Take in a heartbeat, or a part of an answer."""
        try:
            beat = decode(payload)
        except msgspec.DecodeError:
            return
        if beat.leaving:
            self.members.pop(beat.member, None)
            return
        member = self.members.setdefault(beat.member, Member(id=beat.member, handlers=beat.handlers))
        member.host, member.pid, member.version, member.started_ms = beat.host, beat.pid, beat.version, beat.started_ms
        member.handlers, member.health = beat.handlers, beat.health
        member.game, member.worlds = beat.game, beat.worlds
        if beat.asked == self.asked:
            self._answer(member, beat)

    def _answer(self, member: Member, beat: Heartbeat) -> None:
        member.reports |= {report.name: report for report in beat.reports}
        member.parts = beat.parts or member.parts
        member.told = member.told or not beat.more
        member.told_ms = time.time_ns() // MS

    @property
    def complete(self) -> bool:
        """True if every member that was heard, and can answer, has answered."""
        return bool(self.members) and all(member.told for member in self.members.values() if member.speaks)


async def roll_call(connection: Connection, log_name: str, *, listen_s: float = LISTEN_S, patience_s: float = PATIENCE_S) -> list[Member]:
    """List the members that are there, oldest first.

    Takes `listen_s`, and up to `patience_s` where somebody's answer is missing or nobody is heard.
    """
    call = RollCall()
    subject = subject_of(log_name)
    clock = asyncio.get_running_loop().time
    listener = await connection.listen(subject, lambda _subject, _reply, _header, payload: call.hear(payload))
    began = clock()
    try:
        while clock() - began < (listen_s if call.complete else patience_s):
            connection.write(pub(f"{subject}.{ASK}".encode(), b"", call.asked.encode()))
            await asyncio.sleep(min(ASK_EVERY_S, listen_s))
    finally:
        await listener.close()
    return sorted(call.members.values(), key=lambda member: (member.started_ms, member.id))


def holders(members: list[Member]) -> dict[tuple[str, int], tuple[Member, Hold]]:
    """The reader of each partition of each handler; of two who believe so, the one to whom it fell last."""
    found: dict[tuple[str, int], tuple[Member, Hold]] = {}
    for member in members:
        for report in member.reports.values():
            for hold in (one for one in report.holds if one.active):
                key = (report.name, hold.partition)
                if key not in found or found[key][1].since_ms < hold.since_ms:
                    found[key] = member, hold
    return found
