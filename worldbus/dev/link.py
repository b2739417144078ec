"""The talk between `worldbus dev` and a child: one JSON object a line, over a socket that only these two hold."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any


class Link:
    """A child's end. Blocks; what is said when nobody listens any more is lost, and found out by reading."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rb")

    def say(self, **facts: Any) -> None:
        """Send one object."""
        with suppress(OSError):
            self._end.sendall(json.dumps(facts).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The next object; None once nobody will send one."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def fileno(self) -> int:
        """For waiting until something can be read."""
        return self._end.fileno()

    def close(self) -> None:
        """Let go of it: the other end hears so once nobody else holds it."""
        self._lines.close()
        self._end.close()
