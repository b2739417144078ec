"""Names that look alike: the skeleton of a name, after Unicode Technical Standard 39."""

from __future__ import annotations

import unicodedata
from functools import cache


def skeleton(name: str) -> str:
    """The look of a name: two names with the same skeleton can be taken for one another (UTS 39), whatever their scripts and case."""
    return _looks(_looks(name).casefold()).replace("i", "1").replace("rn", "m").replace("vv", "w")


def _looks(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name)
    return "".join(_alike().get(one, one) for one in plain if not unicodedata.category(one).startswith(("M", "Z")))


@cache
def _alike() -> dict[str, str]:
    """For every character that looks like others, the first of them all. Read when first needed: it takes a quarter of a second."""
    from confusable_homoglyphs.confusables import confusables_data

    first: dict[str, str] = {}

    def find(one: str) -> str:
        while (other := first.get(one, one)) != one:
            one = other
        return one

    for one, others in confusables_data.items():
        for other in (entry["c"] for entry in others):
            if len(one) == len(other) == 1:
                low, high = sorted((find(one), find(other)))
                first[high] = low
    return {one: find(one) for one in first}
