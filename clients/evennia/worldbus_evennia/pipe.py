"""The relay beside this server, and the socket to it on Evennia's reactor. POSIX."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress

from twisted.internet import reactor
from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface import implementer

from worldbus_client.frames import Frames

READ = 1 << 16
END_S = 3.0  # for the relay to say what came of the last events, when the server stops


@implementer(IReadWriteDescriptor)
class Pipe:
    """One process of `worldbus_client.relay`. `said(words, rest)` is called for each of its frames, `lost()` once when it has ended."""

    def __init__(self, said, lost):
        self._said, self._lost = said, lost
        self._frames = Frames()
        self._unsent = bytearray()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worldbus_client.relay", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                start_new_session=True,
            )
        reactor.addReader(self)

    @property
    def pid(self):
        """Of the process."""
        return self._process.pid

    def send(self, data):
        """Give it a frame, now or when there is room. Never waits; what it is given after its end is nobody's."""
        if self._socket is None:
            return
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # its end is seen when it is read
            if data:
                reactor.addWriter(self)
        self._unsent += data

    def pause(self):
        """Read nothing until `resume`: the relay waits, and the log holds what it has not read."""
        if self._socket is not None:
            reactor.removeReader(self)

    def resume(self):
        """Read again."""
        if self._socket is not None:
            reactor.addReader(self)

    def end(self):
        """Hand over the rest, and hear what came of it for a few seconds; `lost` is not called. What the relay has then it sends alone."""
        if self._socket is None:
            return
        self._leave()
        deadline = time.monotonic() + END_S
        with suppress(OSError):  # it does not take it, or has no answer in time
            self._socket.settimeout(END_S)
            self._socket.sendall(self._unsent)
            self._socket.shutdown(socket.SHUT_WR)
            while data := self._socket.recv(READ):
                self._hear(data)
                self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        self._socket.close()
        self._socket = None

    def _hear(self, data):
        for words, rest in self._frames.feed(data):
            self._said(words, rest)

    def _leave(self):
        reactor.removeReader(self)
        reactor.removeWriter(self)

    # -- what the reactor calls ----------------------------------------------------------------------------------------------------------

    def fileno(self):
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self):  # noqa: N802 - Twisted's names
        return "worldbus"

    def doRead(self):  # noqa: N802
        try:
            data = self._socket.recv(READ)
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        if not data:
            return ConnectionError("the relay has ended")
        return self._hear(data)

    def doWrite(self):  # noqa: N802
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        if not self._unsent:
            reactor.removeWriter(self)
        return None

    def connectionLost(self, reason):  # noqa: N802
        """Leave the pipe: its process has ended, or sent bytes that are no frame."""
        if self._socket is None:
            return
        self._leave()
        self._socket.close()
        self._socket = None
        self._process.kill()
        self._process.wait()
        self._lost()
