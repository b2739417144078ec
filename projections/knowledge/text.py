"""The text of a passage that is searched: headings and body as one. Vectors are made from this text and kept under its hash."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

SEPARATOR: Final = " > "


def searched_text(heading: Sequence[str], body: str) -> str:
    """Headings, outermost first, and body; composed characters, single spaces.

    >>> searched_text(["Places", "The Quay"], "It  smells\\nof salt.")
    'Places > The Quay: It smells of salt.'
    """
    path = SEPARATOR.join(heading)
    whole = f"{path}: {body}" if path else body
    return " ".join(unicodedata.normalize("NFC", whole).split())


def content_hash(heading: Sequence[str], body: str) -> str:
    """32 hexadecimal digits of `searched_text`: equal texts have equal hashes, whoever wrote them and wherever they stand."""
    return blake2b(searched_text(heading, body).encode(errors="replace"), digest_size=16).hexdigest()
