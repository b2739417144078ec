"""Marks of a document, or of one section: who may know it, from when on, and its tags.

    audience   tokens, of which one is enough: public, npc:<id>, faction:<id>, progress:<quest>, progress:<quest>=<outcome>, storyteller
    since      a condition: event:<EventName>, event:<EventName>:<entity>, quest:<quest>, quest:<quest>=<outcome>, date:<day>,
               date:<year>-<season>-<day>; empty for always
    tags       words to filter by

Nothing is guessed: a word that is not understood is an error, since what is meant for few would otherwise be shown to all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from handlers.time_manager.calendar import Calendar
from projections.knowledge.truths import may_be_waited_for
from schemas.errors import UnknownMessage
from schemas.registry import by_name, message_class, suggestions
from worldbus.edges.lore.errors import BadLore

PUBLIC: Final = "public"
STORYTELLER: Final = "storyteller"
KEYS: Final = ("audience", "since", "tags")
MAX_PARTS: Final = 64
_NAME: Final = r"[A-Za-z0-9_-]{1,64}"
_TOKEN: Final = re.compile(rf"public|storyteller|npc:{_NAME}|faction:{_NAME}|progress:{_NAME}(={_NAME})?", re.ASCII)
_CONDITION: Final = re.compile(rf"event:{_NAME}(:{_NAME})?|quest:{_NAME}(={_NAME})?|date:{_NAME}", re.ASCII)
_DATE: Final = re.compile(rf"(?P<year>\d{{1,9}})-(?P<season>{_NAME}?)-(?P<day>\d{{1,4}})", re.ASCII)
_OTHER_WORDS: Final = {
    **dict.fromkeys(("validfrom", "validsince", "knownfrom", "knownsince", "visiblefrom", "visiblesince", "fromwhen"), "since"),
    **dict.fromkeys(("visibility", "visibleto", "visible", "knownto", "knownby", "readers", "access", "restricted"), "audience"),
    **dict.fromkeys(("secret", "private", "spoiler"), "audience"),
}
"""Keys of other tools, and other words for ours: passed over in silence they would make a secret public."""
_TAG: Final = re.compile(r"[^\s,;][^,;\n]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The audience of a text, the condition from which on it is known, and its tags. Sorted; `since` in its one spelling."""

    audience: tuple[str, ...] = (PUBLIC, STORYTELLER)
    since: str = ""
    tags: tuple[str, ...] = ()
    stated: bool = False
    """True if its audience was named."""

    def changed(self, said: dict[str, Sequence[str]], calendar: Calendar, line: int) -> Marks:
        """Marks like these, with the values that `said` names. Raises `BadLore`."""
        found = self
        if "audience" in said:
            found = replace(found, audience=audience(said["audience"], line), stated=True)
        if "since" in said:
            found = replace(found, since=condition(said["since"], calendar, line))
        if "tags" in said:
            found = replace(found, tags=tags(said["tags"], line))
        return found


def audience(parts: Sequence[str], line: int) -> tuple[str, ...]:
    """The tokens, checked and sorted. The storyteller knows everything, so it is always among them."""
    if not parts:
        raise BadLore(
            "audience is empty: name who may know it, e.g. `storyteller`; without the line `audience` anyone may",
            code="NO_AUDIENCE",
            line=line,
        )
    for part in parts:
        if _TOKEN.fullmatch(part) is None:
            raise BadLore(
                "audience wants public, npc:<id>, faction:<id>, progress:<quest>, progress:<quest>=<outcome> or storyteller, "
                f"found {ascii(part)[:100]}",
                code="BAD_AUDIENCE",
                line=line,
            )
    return _several(sorted({*parts, STORYTELLER}), "audience", line)


def tags(parts: Sequence[str], line: int) -> tuple[str, ...]:
    """The tags, checked and sorted."""
    for part in parts:
        if _TAG.fullmatch(part) is None:
            raise BadLore(f"a tag is 1-64 characters without comma and semicolon, found {ascii(part)[:100]}", code="BAD_TAG", line=line)
    return _several(sorted(set(parts)), "tags", line)


def _several(parts: Iterable[str], what: str, line: int) -> tuple[str, ...]:
    found = tuple(parts)
    if len(found) > MAX_PARTS:
        raise BadLore(f"{what}: wanted at most {MAX_PARTS}, found {len(found)}", code="TOO_MANY", line=line)
    return found


def condition(parts: Sequence[str], calendar: Calendar, line: int) -> str:
    """The condition in its one spelling; dates as the number of the day."""
    text = ", ".join(parts)
    if not text:
        return ""
    if _CONDITION.fullmatch(text) is None:
        raise BadLore(
            "since wants event:<EventName>, event:<EventName>:<entity>, quest:<quest>, quest:<quest>=<outcome>, date:<day> or "
            f"date:<year>-<season>-<day>, found {ascii(text)[:100]}",
            code="BAD_CONDITION",
            line=line,
        )
    kind, _, rest = text.partition(":")
    return f"date:{_day(rest, calendar, line)}" if kind == "date" else text


def _day(text: str, calendar: Calendar, line: int) -> int:
    """The day's number, 1 for the first of the calendar."""
    if text.isdecimal() and len(text) <= 15 and int(text) > 0:
        return int(text)
    found = _DATE.fullmatch(text)
    names = [season.name for season in calendar.seasons]
    if found is None or found["season"] not in names or int(found["year"]) < 1:
        raise BadLore(
            f"a date is the number of a day, 1 or more, or <year>-<season>-<day> with a season of {', '.join(names)}; "
            f"found {ascii(text)[:100]}",
            code="BAD_DATE",
            line=line,
        )
    number = names.index(found["season"])
    day, days = int(found["day"]), calendar.seasons[number].days
    if not 1 <= day <= days:
        raise BadLore(f"{found['season']} has the days 1 to {days}, found {day}", code="BAD_DATE", line=line)
    before = sum(season.days for season in calendar.seasons[:number])
    return (int(found["year"]) - 1) * calendar.year_days + before + day


def doubt(since: str) -> str:
    """The reason why a condition can never come true, as far as can be known here; empty if it can."""
    kind, _, rest = since.partition(":")
    if kind != "event":
        return ""
    name = rest.partition(":")[0]
    try:
        waited_for = may_be_waited_for(message_class(by_name(name)))
    except UnknownMessage:
        near = suggestions(name)
        return f"no event is called {name}" + (f"; did you mean {' or '.join(near)}?" if near else "")
    return "" if waited_for else f"{name} is a wish, a refusal or said all the time: only what happens once in a while is remembered"


def misspelt(word: str) -> str | None:
    """The key that `word` was probably meant to be, None if it is a key or nothing like one."""
    if word in KEYS:
        return None
    near = get_close_matches(word.lower(), KEYS, n=1, cutoff=0.7)
    return near[0] if near else _OTHER_WORDS.get(re.sub(r"[\W_]", "", word.lower()))
