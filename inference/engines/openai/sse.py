"""Server-sent events as model servers really write them: by the standard, and around what breaks it.

By the standard: CR, LF or CRLF, a byte order mark, comments, several `data:` lines for one event, other fields. Around it: a last event
without its empty line, `[DONE]` that is not followed by the end, several events without an empty line between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from inference.errors import AnswerFailed

MAX_EVENT: Final = 1 << 20  # bytes of one event; more is no event but a broken server
DONE: Final = "[DONE]"
_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class EventReader:
    """Bytes in, the data of events out, however the bytes are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._first = True
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, part: bytes) -> Iterator[str]:
        """Take more bytes; yield the data of each event that is whole. Raises `AnswerFailed` for an endless one."""
        self._rest += part
        if self._first:
            if _BOM.startswith(self._rest[:3]) and len(self._rest) < 3:
                return
            self._first = False
            self._rest = self._rest.removeprefix(_BOM)
        yield from self._lines()
        if len(self._rest) + self._size > MAX_EVENT:
            raise AnswerFailed(f"wanted events of at most {MAX_EVENT} bytes, found a longer one: the endpoint speaks another protocol")

    def finish(self) -> Iterator[str]:
        """The last event, whose end never came."""
        line, self._rest = self._rest, b""
        yield from self._line(line.rstrip(b"\r"))
        yield from self._event()

    def _lines(self) -> Iterator[str]:
        start = 0
        for found in _END.finditer(self._rest):
            if found[0] == b"\r" and found.end() == len(self._rest):
                break  # it may be half of CRLF
            yield from self._line(self._rest[start : found.start()])
            start = found.end()
        self._rest = self._rest[start:]

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            yield from self._event()
            return
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        value = value.removeprefix(b" ")
        if self._data and _whole(b"\n".join(self._data)) and value.lstrip()[:1] in (b"{", b"["):
            yield from self._event()  # servers that leave out the empty line between events
        self._data.append(value)
        self._size += len(value)

    def _event(self) -> Iterator[str]:
        data, self._data, self._size = self._data, [], 0
        if data:
            yield b"\n".join(data).decode("utf-8", "replace").strip()


def _whole(data: bytes) -> bool:
    """True for a JSON value that needs no further line."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
