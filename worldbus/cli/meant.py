"""What somebody meant who misspelt a name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(found: Iterable[str], known: Iterable[str]) -> str:
    """A question to put behind an error, or nothing.

    >>> meant(["wether", "player"], ["weather", "player", "state"])
    ': did you mean weather?'
    """
    names = {name.lower(): name for name in known}
    near = [names[one] for name in found if name not in names.values() for one in get_close_matches(name.lower(), names, n=2)]
    return f": did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
