"""The partitions that each member should read: a matter of balance, never of safety (writes are fenced).

Every process says on core NATS, a few times a second, that it lives and which handlers it runs. From those it heard lately each computes
the same shares, and takes up or hands over partitions. A silent member's share is taken over; should it wake again, its writes meet the
fence. Processes without handlers (a gateway, a projector alone) say so too, and take part in no balance.

Whoever asks on `<subject>.ask` is told by everybody, on the subject itself, how each handler and each other part stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec
import structlog

from bus.connection import Connection
from bus.errors import Disconnected
from bus.event import new_id
from bus.presence import HandlerReport, Heartbeat, Presence

log = structlog.get_logger(__name__)
SUBJECT = "sig.members"
ASK = "ask"
ANSWER_EVERY_S = 0.05
ANSWER_BYTES = 32_768  # of reports in one message; a single handler's may be longer (256 partitions: 15 kB)

decode = msgspec.json.Decoder(Heartbeat).decode
_encode = msgspec.json.encode


def subject_of(log_name: str) -> str:
    """The subject on which the members of a log are heard."""
    return f"{SUBJECT}.{log_name}"


def share(partitions: int, members: Iterable[str], me: str) -> frozenset[int]:
    """The partitions of `me` among `members`: as even as can be, and the same for everyone who sees the same members."""
    order = sorted(members)
    if me not in order:
        return frozenset()
    return frozenset(range(order.index(me), partitions, len(order)))


class Membership:
    """The members that are there. `changed` is called after somebody came or went."""

    def __init__(
        self,
        connection: Connection,
        log_name: str,
        handlers: Iterable[str],
        changed: Callable[[], None],
        *,
        beat_s: float = 0.25,
        dead_after_s: float = 1.0,
        presence: Presence | None = None,
        reports: Callable[[], Iterable[HandlerReport]] = tuple,
    ) -> None:
        """`presence` and `reports` are what operators are told: about the process, and about its handlers."""
        self.me = new_id()
        self._presence = presence or Presence()
        self._reports = reports
        self._answered_at = 0.0
        self._subject = subject_of(log_name)
        self._connection = connection
        self._handlers = list(handlers)
        self._changed = changed
        self._beat_s = beat_s
        self._dead_after_s = dead_after_s
        self._heard: dict[str, tuple[float, frozenset[str]]] = {}
        self._known: frozenset[str] = frozenset()
        self._began = asyncio.get_running_loop().time()
        self._listened = False

    def alone(self, handler: str) -> bool:
        """Return whether nobody else runs `handler`, as far as can be heard; False until we have listened for long enough to know."""
        return self._listened and self.members(handler) == {self.me}

    def members(self, handler: str) -> frozenset[str]:
        """The members that run `handler`, this one included if it does."""
        others = {member for member, (_, handlers) in self._heard.items() if handler in handlers}
        return frozenset(others | ({self.me} if handler in self._handlers else set()))

    def lives(self, member: str) -> bool:
        """Return whether a member, of whatever handlers, was heard lately; we ourselves live."""
        return member == self.me or member in self._heard

    async def run(self) -> None:
        """Say that we live, and listen for the others, until cancelled; then say goodbye."""
        listener = await self._connection.listen(self._subject, self._on_heartbeat)
        asks = await self._connection.listen(f"{self._subject}.{ASK}", self._on_ask)
        try:
            while True:
                self._send(self._beat())
                await asyncio.sleep(self._beat_s)
                self._forget_the_silent()
        finally:
            self._send(self._beat(leaving=True))
            await asks.close()
            await listener.close()

    def _beat(self, *, leaving: bool = False) -> Heartbeat:
        me = self._presence
        about = me.host, me.pid, me.version, me.started_ms, me.reasons(), me.game, me.worlds
        return Heartbeat(self.me, self._handlers, leaving, *about)

    def _send(self, beat: Heartbeat) -> None:
        payload = _encode(beat)
        try:
            self._connection.write(b"PUB %b %d\r\n%b\r\n" % (self._subject.encode(), len(payload), payload))
        except Disconnected:
            # Cut off, we hear nobody either: that says nothing about who is there.
            now = asyncio.get_running_loop().time()
            self._heard = {member: (now, handlers) for member, (_, handlers) in self._heard.items()}

    def _on_ask(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        """Tell an operator everything, in messages of bounded size. Who asks too often is not answered each time, and asks again."""
        now = asyncio.get_running_loop().time()
        if now - self._answered_at < ANSWER_EVERY_S:
            return
        self._answered_at = now
        answer = self._beat()
        answer.asked = payload[:64].decode(errors="replace")
        answer.parts = self._presence.parts()
        size = 0
        for report in self._reports():
            length = len(_encode(report))
            if answer.reports and size + length > ANSWER_BYTES:
                answer.more = True
                self._send(answer)
                answer.reports, answer.parts, size = [], [], 0
            answer.reports = [*answer.reports, report]
            size += length
        answer.more = False
        self._send(answer)

    def _on_heartbeat(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        try:
            beat = decode(payload)
        except msgspec.DecodeError:
            return
        if beat.member == self.me or not beat.handlers:
            return
        if beat.leaving:
            self._heard.pop(beat.member, None)
        else:
            self._heard[beat.member] = (asyncio.get_running_loop().time(), frozenset(beat.handlers))
        self._compare()

    def _forget_the_silent(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._dead_after_s
        if not self._listened and self._began < oldest:
            self._listened = True
            self._changed()
        self._heard = {member: heard for member, heard in self._heard.items() if heard[0] > oldest}
        self._compare()

    def _compare(self) -> None:
        known = frozenset(self._heard)
        if known != self._known:
            log.info("members_changed", me=self.me, others=len(known))
            self._known = known
            self._changed()
