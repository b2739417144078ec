"""Text from elsewhere, cut to a size that a record always holds.

What NATS holds as an input may have an id of 100,000 characters. Whatever is copied of an input goes through here, so that an answer, or
the record that there is none, cannot fail for what it copies.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

MAX_COPIED: Final = 1024  # bytes of an id, correlation or trace that an answer takes over from its input; gates allow 255 characters
_MARK: Final = "…"
_DIGEST: Final = 16  # bytes


def bounded(text: str, most: int = MAX_COPIED) -> str:
    """`text` if it has at most `most` bytes of UTF-8, else its beginning, `…#` and a hash of the whole.

    Equal texts stay equal and different ones different, so an id that was cut still identifies. `most` is 64 or more. Lone surrogates,
    which UTF-8 cannot say, become `?`.

    >>> bounded("move-1")
    'move-1'
    >>> bounded("x" * 5000)[-36:]
    'xx…#75d0878b8974254f2150d1f569930205'
    """
    if 4 * len(text) <= most and text.isascii():
        return text
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return raw.decode()
    tail = f"{_MARK}#{blake2b(raw, digest_size=_DIGEST).hexdigest()}"
    return raw[: most - len(tail.encode())].decode(errors="ignore") + tail


def excerpt(text: str, most: int, *, end: bool = False) -> str:
    """The beginning of `text`, or its `end`, in at most `most` bytes of UTF-8; `…` marks where it was cut. It identifies nothing.

    >>> excerpt("a long story", 9), excerpt("a long story", 9, end=True)
    ('a long…', '… story')
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return raw.decode()
    room = most - len(_MARK.encode())
    return _MARK + raw[-room:].decode(errors="ignore") if end else raw[:room].decode(errors="ignore") + _MARK
