"""Frames between a game and its relay: a few words, and bytes.

Four bytes of length (big-endian), words separated by spaces and ended by a newline, then any bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

LONGEST: Final = 1 << 20  # bytes: an event of the bus and its names are far below it


class BadFrame(ValueError):
    """The other side does not speak this language."""


def frame(*words: str, rest: bytes = b"") -> bytes:
    """One frame; words have neither spaces nor newlines."""
    head = " ".join(words).encode() + b"\n"
    return (len(head) + len(rest)).to_bytes(4, "big") + head + rest


class Frames:
    """Takes bytes as they come, gives whole frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[list[str], bytes]]:
        """(words, bytes) of every frame that is whole now. Raises `BadFrame`."""
        self._bytes += data
        place = 0
        try:
            while len(self._bytes) - place >= 4:
                length = int.from_bytes(self._bytes[place : place + 4], "big")
                if length > LONGEST:
                    raise BadFrame(f"wanted a frame of at most {LONGEST} bytes, found one of {length}")
                if len(self._bytes) - place - 4 < length:
                    break
                body = bytes(self._bytes[place + 4 : place + 4 + length])
                place += 4 + length
                yield _read(body)
        finally:
            del self._bytes[:place]


def _read(body: bytes) -> tuple[list[str], bytes]:
    head, end, rest = body.partition(b"\n")
    try:
        words = head.decode().split(" ")
    except UnicodeDecodeError as error:
        raise BadFrame(f"wanted words, found {head[:80]!a}") from error
    if not end:
        raise BadFrame(f"wanted words and a newline, found {head[:80]!a}")
    return words, rest
