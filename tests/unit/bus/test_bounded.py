"""Copies of parts of an input: they always fit, and those that were cut still identify."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.bounded import MAX_COPIED, bounded, excerpt
from bus.frames import MAX_FRAMES, frames_of


@given(st.text(max_size=300), st.integers(64, 1024))
def test_a_bounded_text_fits_and_a_short_one_stays(text: str, most: int) -> None:
    found = bounded(text, most)

    assert len(found.encode()) <= most
    if len(text.encode("utf-8", "replace")) <= most:
        assert found == text.encode("utf-8", "replace").decode()


@given(st.text(min_size=1, max_size=20), st.integers(1, 3))
def test_long_texts_that_differ_stay_different(text: str, repeats: int) -> None:
    long = text * 2000
    other = long[:-1] + chr(ord(long[-1]) ^ 1)

    assert bounded(long) == bounded(long)
    assert (bounded(long) == bounded(other)) == (long.encode("utf-8", "replace") == other.encode("utf-8", "replace"))
    assert len(bounded(long * repeats).encode()) <= MAX_COPIED


@given(st.text(max_size=200), st.integers(4, 100), st.booleans())
def test_an_excerpt_fits(text: str, most: int, end: bool) -> None:
    assert len(excerpt(text, most, end=end).encode()) <= most


def test_frames_are_short_and_the_innermost_is_last() -> None:
    def fall(depth: int) -> None:
        if depth == 0:
            raise KeyError("bottom")
        fall(depth - 1)

    try:
        fall(200)
    except KeyError as error:
        frames = frames_of(error)

    assert len(frames) == MAX_FRAMES
    assert all(frame.startswith("tests/unit/bus/test_bounded.py:") for frame in frames)
    assert frames[-1].endswith("fall")
    assert frames_of(ValueError("never raised")) == []
