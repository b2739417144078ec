"""Guesses at a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(found: Iterable[str], known: Iterable[str]) -> str:
    """A question to put behind an error, or nothing.

    >>> meant(["wether", "player"], ["weather", "player", "state"])
    ': did you mean weather?'
    """
    names = {name.lower(): name for name in known}
    near = []
    for name in (one.lower() for one in found if one not in names.values()):
        near += [names[name]] if name in names else [names[one] for one in get_close_matches(name, names, n=2)]
    return f": did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
