"""Lines of stdin as they come: many at once while many wait, and none held back while few do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from bus.errors import BadEvent

BLOCK = 1 << 18  # bytes read at once, at most
MOST = 500  # lines at once, at most

Lines = list[tuple[int, str]]
"""Lines that are not empty, with their numbers."""


async def lines() -> AsyncIterator[Lines]:
    """Read stdin to its end. Raises `BadEvent` for bytes that are not UTF-8, behind the lines before them."""
    stream: Any = sys.stdin.buffer
    begun: list[bytes] = []  # pieces of a line that goes on
    number = 0
    while block := await asyncio.to_thread(stream.read1, BLOCK):
        whole, newline, end = block.rpartition(b"\n")
        if not newline:
            begun.append(block)
            continue
        raw = b"".join([*begun, whole]).split(b"\n")
        for some in _some(raw, number):
            yield some
        number += len(raw)
        begun = [end]
    for some in _some([b"".join(begun)], number):
        yield some


def _some(raw: list[bytes], before: int) -> Iterator[Lines]:
    for start in range(0, len(raw), MOST):
        found: Lines = []
        for number, line in enumerate(raw[start : start + MOST], before + start + 1):
            if not line.strip():
                continue
            try:
                found.append((number, line.decode()))
            except UnicodeDecodeError as error:
                if found:
                    yield found
                raise BadEvent(f"line {number}: wanted UTF-8, found {error.reason}", code="BAD_UTF8") from error
        if found:
            yield found
