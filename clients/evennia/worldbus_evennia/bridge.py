"""The one connection of this Evennia server to the bus.

Evennia's reactor never waits for it: publishing queues and returns, and what is heard comes back onto the reactor. Players see no
error when the bus is away: what they did waits in the queue; what does not fit is counted, and said in the server's log once a minute.
"""

import itertools
import os
import threading
import time

from django.conf import settings
from evennia.utils import logger
from twisted.internet import reactor

from worldbus_client import BadEvent, Client, ClientError, QueueFull


class Bridge:
    """Use `bridge`, below."""

    def __init__(self):
        self._client = None
        self._opening = None
        self._ended = threading.Event()
        self._numbers = itertools.count(1)
        self._prefix = ""
        self.on = True
        self.published = self.recorded = self.failed = self.dropped = 0
        self.own_lines = 0  # said by people of the bus that did not hear from it in time
        self._told = 0.0

    def start(self, hear):
        """Connect in the background, as often as it takes; then `hear(client)` subscribes."""
        # Ids begin with this start of the server: an event that is sent twice is recorded once, two starts never share an id.
        self._prefix = f"ev-{os.urandom(6).hex()}"
        self._ended.clear()
        self._opening = threading.Thread(target=self._open, args=(hear,), name="worldbus-open", daemon=True)
        self._opening.start()

    def _open(self, hear):
        while not self._ended.is_set():
            client = Client(settings.WORLDBUS_URL, world=settings.WORLDBUS_WORLD, name="evennia", queue=20_000, give_up=100.0)
            try:
                client.open()
                hear(client)
            except ClientError as error:
                client.close()
                self.tell(f"the bus is away: {error}")
                self._ended.wait(1.0)
                continue
            self._client = client
            return

    def stop(self):
        """Give what is under way a moment, then close."""
        self._ended.set()
        self._opening.join(10.0)  # who is just connecting ends with that
        client, self._client = self._client, None
        if client is not None:
            try:
                client.flush(3.0)
            except ClientError as error:
                self.tell(str(error))
            client.close()

    def publish(self, entity, event):
        """Queue one event. Never waits, never raises: a game goes on without its bus."""
        if not self.on:
            return
        if self._client is None:
            self.dropped += 1
            self.tell(f"{self.dropped} events were dropped, the bus is not connected")
            return
        try:
            ticket = self._client.submit(entity, event, id=f"{self._prefix}-{next(self._numbers)}")
        except QueueFull as error:
            self.dropped += 1
            self.tell(str(error))
        except (BadEvent, ClientError) as error:
            self.failed += 1
            self.tell(str(error))
        else:
            self.published += 1
            ticket.add_done_callback(self._ended_one)

    def _ended_one(self, ticket):  # on the client's thread
        if ticket.exception() is None:
            self.recorded += 1
        else:
            self.failed += 1
            self.tell(str(ticket.exception()))

    def on_reactor(self, function):
        """`function`, to be called from any thread, run on the reactor."""
        return lambda *arguments: reactor.callFromThread(function, *arguments)

    def on_reactor_read(self, function):
        """As `on_reactor`, for an event, whose data is read before: no command waits for that. Damaged ones are passed over."""
        run = self.on_reactor(function)

        def heard(event):
            try:
                event.data  # noqa: B018 - it is kept
            except BadEvent as error:
                self.tell(str(error))
            else:
                run(event)

        return heard

    def tell(self, problem):
        """Say it in the server's log, at most once a minute."""
        if time.monotonic() - self._told > 60 or not self._told:
            self._told = time.monotonic()
            logger.log_warn(f"worldbus: {problem}")


bridge = Bridge()
