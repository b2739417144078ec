"""Words in nats-server's configuration."""

from __future__ import annotations

from typing import Final

_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    r"""The text as nats-server reads it: its letters as they are, in UTF-8. It knows no \u, which JSON would write.

    >>> print(quoted('C:\\jürgen "the" 日本'))
    "C:\\jürgen \"the\" 日本"
    """
    return '"' + "".join(_ESCAPES.get(letter, letter) for letter in text) + '"'


def listed(texts: tuple[str, ...]) -> str:
    """A list of texts."""
    return "[" + ", ".join(map(quoted, texts)) + "]"
