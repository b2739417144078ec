"""Lines of stdin: all of them, in order, with their numbers, and none held back."""

from __future__ import annotations

import asyncio
import io
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import BadEvent
from worldbus.cli.stdin import MOST, lines


class Pieces(io.RawIOBase):
    """A pipe that gives what its writer wrote, piece by piece."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = list(pieces)

    def read1(self, size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def read(pieces: list[bytes]) -> list[list[tuple[int, str]]]:
    async def all_of_it() -> list[list[tuple[int, str]]]:
        return [some async for some in lines()]

    before: Any = sys.stdin
    sys.stdin = SimpleNamespace(buffer=Pieces(pieces))  # type: ignore[assignment]
    try:
        return asyncio.run(all_of_it())
    finally:
        sys.stdin = before


@given(st.text("ab \n", max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_every_line_comes_once_with_its_number_however_it_is_cut(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b].encode() for a, b in pairwise(places)]
    wanted = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]

    assert [line for some in read(pieces) for line in some] == wanted


def test_lines_that_wait_come_together_and_never_too_many() -> None:
    found = read([b"x\n" * 3, b"y\n" * (MOST + 1), b"z"])

    assert [len(some) for some in found] == [3, MOST, 1, 1]


def test_what_is_no_text_is_named_behind_what_was() -> None:
    seen = []

    async def look() -> None:
        async for some in lines():
            seen.extend(some)

    before: Any = sys.stdin
    sys.stdin = SimpleNamespace(buffer=Pieces([b"a\n\xff\nb\n"]))  # type: ignore[assignment]
    try:
        with pytest.raises(BadEvent, match="line 2: wanted UTF-8"):
            asyncio.run(look())
    finally:
        sys.stdin = before
    assert seen == [(1, "a")]
