"""One member's hold on one partition of one handler: be pinned, start again in order, read on, settle.

    standby ── first delivery carries our pin ──► active ── idle, lost pin, gap, reconnect ──► standby

On every start the consumer is reset to its ack floor, so inputs come in log order from the first unsettled one, whatever happened before.
The ack floor moves over the contiguous run of settled inputs only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bus.answers import parse_ack
from bus.connection import ApiError
from bus.consumer import PullConsumer, Status, pin_of
from bus.errors import Disconnected, Transient, WorldbusError
from bus.event import Event
from bus.keeper import Keeper
from bus.lane_run import Entry
from bus.presence import MS, Hold
from bus.progress import Progress
from bus.runner import Runner
from bus.subjects import place
from bus.succession import Succession

if TYPE_CHECKING:
    from bus.log import Log

log = structlog.get_logger(__name__)

EXPIRED = 408
ODD = frozenset({400, 404, 409, 503})  # what the server says of a consumer that is gone, or is not what we made
PAUSE_S = 0.2
TELL_EVERY_S = 30.0
IDLE = "idle"
DISCONNECTED = "disconnected"
STOOD_STILL = "this process stood still"
ELSEWHERE = frozenset({DISCONNECTED, STOOD_STILL})  # befall every partition at once, and are on record once
SWEEPS = 2  # for quarantined lanes: the second sees what whoever had the partition before was still writing at the first
BATCH = 500  # messages asked for at a time
ACK_SOON_S = 0.01
ACK_EVERY_S = 1.0
"""Between acknowledgements of a busy partition. Under `strict` the server writes and syncs a consumer's state anew for nearly each of them:
at 100 a second that took more of its processor than all else together. What is read again after a kill is recognised."""
ACK_SETTLED = 500  # inputs: so many do not wait for that
FIRST_LOOK_S, LAST_LOOK_S = 0.3, 5.0  # pauses between looks at what a dead holder left; they double
STANDBY_S = 30.0  # how long a request without a pin waits at the server


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of taking over. A member that is silent for `pin_timeout_s` loses its pin."""

    pin_timeout_s: float = 1.5
    request_s: float = 0.5  # an active member asks again at least so often: that keeps the pin
    ack_wait_s: float = 30.0
    max_open: int = 4000  # unsettled inputs; more are not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A durable consumer: its name, the one filter it reads by, and the event names and worlds that the handler wants of that.

    One filter only: with several the server looks through every subject of a block for each message, a hundred times slower with 5,000
    entities (docs/adr/0003). So a handler of several event types reads its whole partition, and what it does not want is skipped here,
    unparsed.
    """

    name: str
    subject_filter: str
    wanted: frozenset[bytes]
    partition: int | None = None  # all it reads lies in this one
    worlds: frozenset[bytes] | None = None  # None: every world


class Session:
    """The inputs of one partition. `epoch` grows whenever the hold is lost: entries of an older epoch are somebody else's now."""

    def __init__(self, log_: Log, runner: Runner[Any], place: Place, succession: Succession, *, pace: Pace) -> None:
        self.runner = runner
        self.place = place
        self.name = place.name
        self.epoch = 0
        self.active = False
        self._connection = log_.connection
        self._stream = log_.name
        self.progress = Progress(log_, place.name)
        self._succession = succession
        self._taken = False  # lost in a way that leaves the partition to another member
        self._keeper = Keeper(log_, place, self.progress, pace=pace)
        self._doubt = False  # about the consumer: look at it before the next request
        self._tell_at = 0.0  # no second line before that about why the partition waits
        self._pace = pace
        self._consumer = self._new_consumer()
        self._open: deque[Entry] = deque()
        self._asked = 0
        self._asked_at = 0.0
        self._last = 0  # highest position received since the reset
        self._deliveries = 0  # consumer sequence, contiguous since the reset
        self._quiet = 0  # requests in a row that expired with nothing to read
        self._settled_reply = b""
        self._settled = 0  # calls of `_settle` since the last acknowledgement
        self._acked_at = 0.0
        self._flushing: asyncio.TimerHandle | None = None
        self._sweeps = SWEEPS  # to be made yet: another release may have held it, and quarantined lanes that we can fold
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._stopping = False
        self._since_ms = time.time_ns() // MS

    def hold(self) -> Hold:
        """The state of the hold, for operators."""
        unsettled = [entry.event for entry in self._open if entry.open] if self.active else []
        received = self._last if self.active else 0
        oldest_ms, settled = (unsettled[0].recorded_ns // MS, unsettled[0].position - 1) if unsettled else (0, received)
        return Hold(
            partition=-1 if self.place.partition is None else self.place.partition,
            since_ms=self._since_ms,
            open=len(unsettled),
            oldest_ms=oldest_ms,
            settled=settled,
            active=self.active,
            received=received,
            pin=self._consumer.pin.decode(),
        )

    def _new_consumer(self) -> PullConsumer:
        return PullConsumer(self._connection, self._stream, self.name)

    async def run(self) -> None:
        """Hold the partition whenever it can be had, until cancelled or `stop`ped."""
        self._connection.on_reconnect.append(self._changed.set)  # the server has forgotten our request
        try:
            while not self._stopping:
                try:
                    await self._standby()
                    if not self._stopping:
                        await self._work()
                except WorldbusError as error:
                    self._tell(error)
                    self._doubt = True
                    await asyncio.sleep(PAUSE_S)
                finally:
                    await self._let_go()
        finally:
            self._connection.on_reconnect.discard(self._changed.set)
            self._stopping = True

    def _tell(self, error: WorldbusError) -> None:
        if isinstance(error, Disconnected):
            log.debug("partition_waits", consumer=self.name, error=str(error))  # the connection itself says that it is away
            return
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY_S
            log.warning("partition_waits", consumer=self.name, error=str(error))

    async def checked(self, info: Mapping[str, Any] | None, settled: int) -> None:
        """Look at the server's information about the consumer (None: it is gone), as it was when `settled` was the progress here."""
        if info is not None and await self._keeper.mend(info):
            if info["created"] == self.progress.created:
                self.progress.verified(settled)
            else:
                self.lose("its consumer was made anew")
            return
        if info is None:
            await self._keeper.ensure()
        self.lose("its consumer was not as it has to be")
        self._changed.set()

    async def stop(self, within_s: float = 1.0) -> None:
        """Ask for no more, settle what is open, and hand the pin to whoever waits."""
        self._stopping = True
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s if self._open else 0):
                await self._drained.wait()
        self._flush()
        self.progress.save()
        held, self.active = self.active, False
        self.epoch += 1
        if self._consumer.pin and self._connection.connected:
            try:
                await self._consumer.unpin()
                if not held:  # pinned a moment ago: the message that said so is for whoever comes next
                    await self._consumer.reset()
            except WorldbusError as error:
                log.debug("unpin_failed", consumer=self.name, error=str(error))

    def lose(self, reason: str) -> None:
        """Give up the hold now: what is open belongs to whoever reads from the ack floor next."""
        if self.active:
            self._tell_end(reason)
            self._sweeps = SWEEPS if reason != IDLE else self._sweeps
            self._taken = reason != IDLE
            self.active = False
            self.epoch += 1
            self._changed.set()

    def _tell_end(self, reason: str) -> None:
        """A hold that ends for want of work is no loss; a loss that is somebody else's news too is told once, by them."""
        if reason == IDLE:
            log.debug("partition_rests", consumer=self.name)
        elif reason in ELSEWHERE:
            log.debug("partition_lost", consumer=self.name, reason=reason)
        else:
            log.warning("partition_lost", consumer=self.name, reason=reason)

    # -- standby: until the server pins us ----------------------------------------------------------------------------------------

    async def _standby(self) -> None:
        consumer = self._consumer = self._new_consumer()
        await consumer.start(lambda *_: self._on_first(consumer), self._on_standby_status)
        while not consumer.pin and not self._stopping:
            if self._doubt:
                await self._keeper.ensure()
                self._doubt = False
            self._changed.clear()
            # One message only: it tells us that we are pinned, and comes again after the reset.
            consumer.request(1, expires=STANDBY_S, heartbeat=0)
            await self._pinned_or_refused(consumer)
            if not consumer.pin and not self._stopping:
                await asyncio.sleep(PAUSE_S if self._doubt else 0.05)  # refused, expired or reconnected: not in a hot loop

    def _on_first(self, consumer: PullConsumer) -> None:
        self._doubt = self._doubt or not consumer.pin  # who delivers without a pin is not what we made
        self._changed.set()

    def _on_standby_status(self, status: Status) -> None:
        self._doubt = self._doubt or status.code in ODD
        self._changed.set()

    async def _pinned_or_refused(self, consumer: PullConsumer) -> None:
        """Wait for the server's word on our request, and look now and then whether the last holder left something behind."""
        pause = FIRST_LOOK_S
        until = asyncio.get_running_loop().time() + STANDBY_S
        while asyncio.get_running_loop().time() < until and self._connection.connected:
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
                return
            except TimeoutError:
                pause = min(2 * pause, LAST_LOOK_S)
            await self._take_back(consumer, first=pause == 2 * FIRST_LOOK_S)

    async def _take_back(self, consumer: PullConsumer, *, first: bool) -> None:
        """Take over inputs that a dead member did not settle. They would come again only after `ack_wait`; with no newer input behind them
        nothing would tell us. A reset makes them deliverable now. If somebody is pinned after all, it costs them a restart, no more.

        On the `first` look the server's floor is held against our own record: one that went astray may leave nothing to deliver. And what
        another release quarantined is ours now, also if no input ever comes.
        """
        info = await consumer.info()
        if pin_of(info):
            return
        if info["num_ack_pending"]:
            await consumer.reset()
        elif first:
            await self._behind_our_record(consumer, info)
        if first:
            self._resume_quarantined()

    def _resume_quarantined(self) -> None:
        if self._sweeps and self.place.partition is not None and not self._stopping:
            self._sweeps -= 1
            self.runner.resume_quarantined(self.place.partition, self)

    async def _behind_our_record(self, consumer: PullConsumer, info: dict[str, Any]) -> None:
        """Let delivery start behind what is known to be settled, where the server's floor is beyond it."""
        settled = await self.progress.read(info["created"])
        if settled is None or info["ack_floor"]["stream_seq"] <= settled:
            return
        try:
            await consumer.reset(settled + 1)
        except ApiError as error:
            if error.status != 400:
                raise
            await self._keeper.start_over(settled)
            raise Transient(
                f"consumer {self.name} began behind position {settled}, up to which everything is settled: begin again"
            ) from error

    # -- active ------------------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        pin = self._consumer.pin
        await self._consumer.close()
        consumer = self._consumer = self._new_consumer()
        consumer.pin = pin
        self._asked = self._last = self._deliveries = self._quiet = 0
        self._open.clear()
        self._settled_reply = b""
        self._taken = False
        info = await consumer.reset()
        await asyncio.gather(self._behind_our_record(consumer, info), self._succession.begin(info), self.runner.caution.recall())
        await consumer.start(self._on_message, self._on_status)
        if self.place.partition is not None:
            self.runner.distrust(self.place.partition)  # whoever held it before us wrote to its lanes
        if self._stopping:
            return  # while the hold was made ready; a cancellation may have been lost there as well (`asyncio.wait_for` before Python 3.12)
        self.active = True
        self._changed.clear()
        log.debug("partition_held", consumer=self.name, pin=pin.decode())
        self._resume_quarantined()
        self._connection.on_disconnect.append(self._on_disconnect)
        try:
            self._ask(BATCH)
            while not self._changed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.request_s):
                        await self._changed.wait()
                self._keep_asking()
        finally:
            self._connection.on_disconnect.discard(self._on_disconnect)

    def _keep_asking(self) -> None:
        """Asking is what keeps the pin, also while there is no room: then for one at a time. A request whose end we were not told of has
        expired all the same."""
        if asyncio.get_running_loop().time() - self._asked_at > 2 * self._pace.request_s:
            self._asked = 0
        if not self._asked:
            self._ask(BATCH if self._room else 1)

    @property
    def _room(self) -> bool:
        return len(self._open) < self._pace.max_open

    def _on_disconnect(self) -> None:
        self.lose(DISCONNECTED)

    def _ask(self, batch: int) -> None:
        if not self.active or self._stopping:
            return
        try:
            self._consumer.request(batch, expires=self._pace.request_s, heartbeat=0)
            self._asked += batch
            self._asked_at = asyncio.get_running_loop().time()
        except Disconnected:
            self.lose(DISCONNECTED)

    def _on_message(self, subject: bytes, reply: bytes, header: bytes | None, payload: bytes) -> None:
        if not self.active:
            return
        delivered = parse_ack(reply)
        self._asked -= 1
        self._quiet = 0
        self._deliveries += 1
        if delivered.consumer_seq != self._deliveries:
            self.lose(f"delivery {self._deliveries} was lost on the way")
            return
        if not payload and header is not None and b"\r\nNats-Msg-Size:" in header:
            self._doubt = True
            self.lose("a message came without its body")
            return
        if delivered.position <= self._last:
            return  # delivered again after ack_wait: it is still open here
        self._last = delivered.position
        worlds = self.place.worlds
        if subject.rpartition(b".")[2] in self.place.wanted and (worlds is None or subject.split(b".", 3)[2] in worlds):
            partition, tokens = place(subject)
            if self.place.partition is not None and partition != self.place.partition:
                self._doubt = True  # its order among those of its own partition is not ours to give
                self.lose(f"an event of partition {partition} came")
                return
            position, recorded_ns = delivered.position, delivered.recorded_ns
            event = Event(raw=payload, subject=tokens, partition=partition, position=position, recorded_ns=recorded_ns, header=header)
            entry = Entry(event, reply, self, self.epoch, settle=self._settle)
            self._open.append(entry)
            self._drained.clear()
            self.runner.receive(entry)
        elif self._open:
            self._open[-1].reply = reply  # settles together with the last wanted one before it
        else:
            self._settled_reply = reply
            self._settle()
        if self._asked < BATCH // 2 and self._room:
            self._ask(BATCH)

    def _on_status(self, status: Status) -> None:
        if not self.active:
            return
        if status.code != EXPIRED:
            self._doubt = status.code in ODD
            self.lose(f"{status.code} {status.text}")
            return
        self._asked = max(0, self._asked - status.unfilled)
        self._quiet += 1
        if self._quiet > 20 and not self._open:
            self.lose(IDLE)  # nothing to do for a while: waiting without a pin costs nothing
        elif not self._asked:
            self._ask(BATCH if self._room else 1)

    def _settle(self) -> None:
        opened = self._open
        while opened and not opened[0].open:
            self._settled_reply = opened.popleft().reply
        if not opened:
            self._drained.set()
        if not self._asked and self._room:
            self._ask(BATCH)  # there was none before, and what was asked for has come: no status will remind us
        self._settled += 1
        if self._flushing is None:
            self._flush_in(max(ACK_SOON_S, self._acked_at + ACK_EVERY_S - asyncio.get_running_loop().time()))
        elif self._settled == ACK_SETTLED:
            self._flush_in(ACK_SOON_S)

    def _flush_in(self, seconds: float) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._settled = 0
        if self._settled_reply and self.active:
            if asyncio.get_running_loop().time() - self._asked_at > self._pace.pin_timeout_s:
                # Just woken from a pause: somebody else may hold the partition, and what was settled here by silence may not stand.
                self.lose("nothing was asked for longer than the pin lasts")
                return
            try:
                self._consumer.ack(self._settled_reply)
            except Disconnected:
                return
            self._acked_at = asyncio.get_running_loop().time()
            self.progress.settled(parse_ack(self._settled_reply).position)
            self._settled_reply = b""

    async def _let_go(self) -> None:
        if self.active:
            self.active = False
            self.epoch += 1
        self._open.clear()
        self.progress.save()
        self._succession.end(self.progress.position, taken=self._taken)
        await self._consumer.close()
