"""A map that only grows, as a value: putting an entry copies one small part of it, so a memory of 100 000 entries stays quick to fold.

A book is a tuple of dicts; an entry lies in the dict that the checksum of its key names. Plain values throughout, so snapshots hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from zlib import crc32

V = TypeVar("V")
Book = tuple[Mapping[str, V], ...]


def blank(pages: int = 64) -> Book[V]:
    """A book without entries. More pages for more entries: a put copies the pages' places and the entries of one page."""
    return ({},) * pages


def find(book: Book[V], key: str) -> V | None:
    """The entry under `key`, if there is one."""
    return book[crc32(key.encode()) % len(book)].get(key)


def put(book: Book[V], key: str, entry: V) -> Book[V]:
    """The book with `entry` under `key`."""
    number = crc32(key.encode()) % len(book)
    return (*book[:number], {**book[number], key: entry}, *book[number + 1 :])
