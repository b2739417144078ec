"""The form of a name that may become a subject token."""

from __future__ import annotations

import re
from typing import Final

NAME_RULE: Final = "1 to 64 of A-Z a-z 0-9 _ -"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def is_token(text: str) -> bool:
    """Return whether `text` may stand in a subject."""
    return _TOKEN.fullmatch(text) is not None
