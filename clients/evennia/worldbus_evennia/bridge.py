"""The one connection of this Evennia server to the bus, by a relay in a process of its own.

Evennia's reactor never waits for it: publishing writes to a socket and returns, what is heard is shown one thing per turn of the reactor.
Players see no error when the bus is away: what they did waits; what does not fit is counted, and said in the server's log once a minute.
An event counts as `recorded` when the log has it. If the relay is killed, another is started, and everything without an answer is said
again with the same ids, in the same order, before anything new: it is recorded once.
"""

import itertools
import os
import time
from collections import deque

from django.conf import settings
from evennia.utils import logger
from twisted.internet import reactor

from worldbus_client import BadEvent, Event, Signal
from worldbus_client.envelope import pack
from worldbus_client.frames import frame
from worldbus_client.relay import Wanted
from worldbus_evennia.pipe import Pipe

QUEUE = 20_000  # events that may wait for their answer
GIVE_UP_S = 100.0  # less than the two minutes in which the log recognises an event that comes again
ROOM = 1000  # things heard that wait to be shown; the log holds the rest
AGAIN_S = 1.0


class Bridge:
    """Use `bridge`, below. Lives on the reactor."""

    def __init__(self):
        self._pipe = None
        self._shows, self._while_off, self._signals = {}, {}, {}
        self._numbers = itertools.count(1)
        self._prefix = ""
        self._waiting = {}
        """Id -> (since when, frame), in order: said to the relay, and without an answer."""
        self._heard = deque()
        """Functions that show something; one for each turn of the reactor."""
        self._after = None
        self.on = True
        self.switches = 0
        """Number of times it was switched: words from before a switch are not answered after it."""
        self.published = self.recorded = self.failed = self.dropped = 0
        self.own_lines = 0  # said by people of the bus that did not hear from it in time
        self._told = 0.0

    def start(self, shows, *, while_off, signals):
        """Connect in the background, as often as it takes. `shows` and `signals`: what is called for an event by (subsystem, name), and for
        a signal by kind; `while_off`: those kinds of events that are also heard while this is off.
        """
        # Ids begin with this start of the server: an event that is sent twice is recorded once, two starts never share an id.
        self._prefix = f"ev-{os.urandom(6).hex()}"
        self._shows, self._while_off, self._signals = shows, while_off, signals
        self._begin()

    def stop(self):
        """Give what is under way a moment, then close."""
        pipe, self._pipe, self._shows, self._signals = self._pipe, None, {}, {}
        self._heard.clear()
        if pipe is not None:
            pipe.end()
        if self._waiting:
            self.tell(f"{len(self._waiting)} events have no answer yet; the relay sends them, for a few seconds")

    def switch(self, on):
        """On, or off: nothing is published then, and only what `while_off` names is heard."""
        self.on = on
        self.switches += 1

    def publish(self, entity, event):
        """Queue one event. Never waits, never raises: a game goes on without its bus."""
        if not self.on:
            return
        if len(self._waiting) >= QUEUE:
            self.dropped += 1
            self.tell(f"{self.dropped} events were dropped, {QUEUE} wait for the bus already")
            return
        name = f"{self._prefix}-{next(self._numbers)}"
        try:
            parcel = pack(settings.WORLDBUS_WORLD, "game", entity, event, id=name, cause="", correlation="", time_ns=0)
        except BadEvent as error:
            self.failed += 1
            self.tell(str(error))
            return
        since = time.monotonic()
        said = frame("publish", name, parcel.subject, f"{since:.3f}", rest=parcel.payload)
        self._waiting[name] = since, said
        self.published += 1
        if self._pipe is not None:
            self._pipe.send(said)

    def tell(self, problem):
        """Say it in the server's log, at most once a minute."""
        if time.monotonic() - self._told > 60 or not self._told:
            self._told = time.monotonic()
            logger.log_warn(f"worldbus: {problem}")

    @property
    def relay(self):
        """Process id of the relay; 0 for none."""
        return self._pipe.pid if self._pipe is not None else 0

    # -- the relay -----------------------------------------------------------------------------------------------------------------------

    def _begin(self):
        if not self._shows:  # stopped meanwhile
            return
        wanted = Wanted(
            url=settings.WORLDBUS_URL,
            world=settings.WORLDBUS_WORLD,
            name="evennia",
            give_up=GIVE_UP_S,
            events=list(self._shows),
            signals=list(self._signals),
            after=self._after,
        )
        self._pipe = Pipe(self._said, self._lost)
        self._pipe.send(wanted.as_frame())
        for name, (since, said) in list(self._waiting.items()):
            if time.monotonic() - since > GIVE_UP_S:
                self._ended(name, "no answer of the log for too long; it may be recorded")
            else:
                self._pipe.send(said)

    def _lost(self):
        self._pipe = None
        self.tell("the relay has ended; another one takes its place")
        reactor.callLater(AGAIN_S, self._begin)

    def _said(self, words, rest):
        match words:
            case ["recorded", name, _]:
                self._ended(name)
            case ["failed", name]:
                self._ended(name, rest.decode(errors="replace"))
            case ["event", position, subject]:
                self._after = int(position)
                self._event(Event(self._after, *subject.split("."), rest))
            case ["signal", subject]:
                signal = Signal(*subject.split("."), rest)
                if self.on and (show := self._signals.get(signal.kind)) is not None:
                    self._soon(show, signal)
            case ["away"]:
                self.tell(f"the bus is away: {rest.decode(errors='replace')}")

    def _ended(self, name, problem=""):
        if self._waiting.pop(name, None) is None:
            return
        if problem:
            self.failed += 1
            self.tell(problem)
        else:
            self.recorded += 1

    # -- what is heard -------------------------------------------------------------------------------------------------------------------

    def _event(self, event):
        kind = event.subsystem, event.name
        show = self._shows.get(kind)
        if show is not None and (self.on or kind in self._while_off):
            self._soon(show, event)

    def _soon(self, show, heard):
        """In a turn of its own: commands that came meanwhile go between two of them."""
        self._heard.append((show, heard))
        if len(self._heard) == 1:
            reactor.callLater(0, self._show)
        elif len(self._heard) >= ROOM and self._pipe is not None:
            self._pipe.pause()

    def _show(self):
        if not self._heard:
            return
        show, heard = self._heard[0]
        try:
            show(heard)
        except BadEvent as error:
            self.tell(str(error))
        except Exception:  # of one thing that is shown; the next has nothing to do with it
            logger.log_trace("worldbus: could not show what was heard")
        if not self._heard:  # stopped by what it did
            return
        self._heard.popleft()
        if self._heard:
            reactor.callLater(0, self._show)
        if len(self._heard) == ROOM // 2 and self._pipe is not None:
            self._pipe.resume()


bridge = Bridge()
