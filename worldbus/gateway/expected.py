"""Expected positions in a request: an event's attribute `expected` for its own lane, `?expected=<subsystem>/<entity>:<position>` for any.

They are conditions of the request and no part of the events: nothing of them is recorded, and an event that is in the log already is
answered as such whatever they say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bus.errors import BadEvent
from bus.subjects import LaneName
from worldbus.gateway.problem import Problem

if TYPE_CHECKING:
    from worldbus.gateway.bodies import Item
    from worldbus.gateway.grants import Grant

ATTRIBUTE: Final = "expected"
MOST_LANES: Final = 32  # in an address
MOST_DIGITS: Final = 18
LANE: Final = r"([A-Za-z0-9_-]{1,64}/){1,2}[A-Za-z0-9_-]{1,64}:[0-9]{1,18}"
"""`[<world>/]<subsystem>/<entity>:<position>`"""
_LANE: Final = re.compile(LANE, re.ASCII)


def of_document(document: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """An event without its expected position, and that position. Raises `BadEvent`."""
    if ATTRIBUTE not in document:
        return document, None
    rest = {name: value for name, value in document.items() if name != ATTRIBUTE}
    found = document[ATTRIBUTE]
    return rest, None if found is None else _position(found)


def of_message(event: Any) -> int | None:
    """Take the expected position out of a protobuf event. Raises `BadEvent`."""
    if ATTRIBUTE not in event.attributes:
        return None
    value = event.attributes[ATTRIBUTE]
    kind = value.WhichOneof("attr")
    found = getattr(value, kind) if kind else None
    del event.attributes[ATTRIBUTE]
    return _position(found)


def of_header(text: str) -> int:
    """The position of `ce-expected`. Raises `BadEvent`."""
    return _position(int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else text)


def _position(found: Any) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**63:
        raise BadEvent(
            "expected must be the position of the last event of this source about this subject, 0 if there is none; "
            f"found {ascii(found)[:40]}: look where it is",
            code="OUT_OF_RANGE",
            field=ATTRIBUTE,
        )
    return found


def of_query(words: Sequence[str], world: str, grant: Grant) -> dict[LaneName, int]:
    """The lanes of an address and where they are expected; `world` is meant where none is named. Raises `Problem`."""
    lanes: dict[LaneName, int] = {}
    given = [word for one in words for word in one.split(",")]
    if len(given) > MOST_LANES:
        raise Problem(
            400,
            "TOO_MANY_EXPECTED",
            f"wanted at most {MOST_LANES} lanes in an address, found {len(given)}: name those of events in the events",
        )
    if not grant.hears:
        raise Problem(403, "MAY_NOT_HEAR", "wanted a token with hears = true to expect lanes by name, found one that only publishes")
    for word in given:
        if _LANE.fullmatch(word) is None:
            detail = f"wanted expected=<subsystem>/<entity>:<position>, with the world before it if need be, found {ascii(word)[:80]}"
            raise Problem(400, "BAD_POSITION", detail)
        name, _, position = word.rpartition(":")
        lane = LaneName(*(world, *name.split("/"))[-3:])
        if not grant.sees(lane.world):
            detail = f"wanted a world of this token, found {lane.world!r}: use its own, or ask for another grant"
            raise Problem(403, "WORLD_NOT_ALLOWED", detail)
        _put(lanes, lane, int(position))
    return lanes


def together(items: Sequence[Item], lanes: Mapping[LaneName, int]) -> dict[LaneName, int]:
    """The expectations of a group: those of its events about their own lanes, and those of the request's address. Raises `Problem`."""
    whole = dict(lanes)
    for item in items:
        if item.expected is not None:
            _put(whole, item.draft.subject.lane, item.expected)
    return whole


def _put(lanes: dict[LaneName, int], lane: LaneName, position: int) -> None:
    if lanes.setdefault(lane, position) != position:
        detail = (
            f"wanted one expected position of {lane}, found {lanes[lane]} and {position}: all are looked at before anything is recorded"
        )
        raise Problem(422, "EXPECTED_TWICE", detail)
