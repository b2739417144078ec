"""Names that players are shown by: which are possible, and in which form they are kept.

The rule is RFC 8266, the PRECIS profile `Nickname`, with its case kept: compatibility forms become plain ones, spaces are trimmed and
collapsed, and nothing invisible is in a name: no control, no bidirectional override, no joiner out of place, no unassigned character.
Beyond it, emoji that are joined or have a presentation are one character, blank glyphs are none, and marks do not pile up. Length is
counted in grapheme clusters, which is what a reader counts.

Nobody is refused for the script of a name, or because it looks like another's: the view `look_alikes` tells which look alike.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, Final, NamedTuple

MAX_GRAPHEMES: Final = 64
MAX_POINTS: Final = 256  # Unicode characters
MAX_MARKS: Final = 6  # combining, one behind another: more than any script writes
_STAND_IN: Final = "\U0001f600"
_BLANK: Final = frozenset("\u2800\ufffc\ufffd\U0001d159")  # symbols by their category, and nothing to be seen
_ONE: Final = r"\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\ufe0f)?"


class _Rules(NamedTuple):
    nickname: Any
    emoji: Any
    pile: Any
    grapheme: Any


@cache
def _rules() -> _Rules:
    """Read when the first name is looked at: most processes never do."""
    import regex
    from precis_i18n import get_profile

    return _Rules(
        nickname=get_profile("NicknameCasePreserved"),
        emoji=regex.compile(rf"{_ONE}(?:\u200d{_ONE})+|\p{{Extended_Pictographic}}\ufe0f|{_STAND_IN}"),
        pile=regex.compile(rf"\p{{M}}{{{MAX_MARKS + 1}}}"),
        grapheme=regex.compile(r"\X"),
    )


class BadName(ValueError):
    """No name to be shown: `code`, and for a person what was wanted, what was found and the next step."""

    def __init__(self, reason: str, code: str = "BAD_NAME") -> None:
        super().__init__(reason)
        self.code = code


def shown(given: str) -> str:
    """The form in which a name is kept and shown; the same for a name that is in it. Raises `BadName`."""
    if len(given) > MAX_POINTS:
        raise _too_long(f"{len(given)} code points")
    rules = _rules()
    emoji = rules.emoji.findall(given)
    try:
        name = rules.nickname.enforce(rules.emoji.sub(_STAND_IN, given))
    except UnicodeEncodeError as error:
        raise BadName(_words(given, error)) from error
    name = "".join(part + one for part, one in zip(name.split(_STAND_IN), [*emoji, ""], strict=True))
    if unicodedata.category(name[0]).startswith("M") or rules.pile.search(unicodedata.normalize("NFD", name)):
        raise BadName(f"wanted marks on letters, at most {MAX_MARKS} on one, found {ascii(given)[:80]}: leave them out")
    if found := _BLANK.intersection(name):
        raise BadName(f"wanted characters that can be seen, found {min(found)!a} (a blank): leave it out")
    if (count := len(rules.grapheme.findall(name))) > MAX_GRAPHEMES:
        raise _too_long(str(count))
    return str(name)


def _too_long(found: str) -> BadName:
    return BadName(f"display_name may have {MAX_GRAPHEMES} characters (and {MAX_POINTS} code points), found {found}", "TOO_LONG")


def _words(given: str, error: UnicodeEncodeError) -> str:
    if not given.strip() or error.reason.endswith("empty"):
        return "the display name is empty: say how others shall see the player"
    why = error.reason.partition("/")[2].replace("_", " ") or error.reason
    points = " ".join(f"U+{ord(one):04X}" for one in error.object[error.start : error.end][:3])
    return f"wanted a name in which everything can be seen (RFC 8266), found {points} ({why}) in {ascii(given)[:80]}: leave it out"
