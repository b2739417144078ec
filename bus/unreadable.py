"""Events that nobody will ever be able to decode.

Three things are told apart. What a newer release will know (a later version of a type) waits for that release. What is no event in any
format, or of no type that its subject could mean, stays so: handlers skip it if it came from an edge, and the projector's table of skipped
events is the record. What came from another handler is never skipped: its sender is ours to mend.
"""

from __future__ import annotations

import re
from collections.abc import Set
from typing import TYPE_CHECKING, Final

from bus.errors import BadEvent, UnknownType
from schemas.errors import UnknownMessage
from schemas.registry import by_name

if TYPE_CHECKING:
    from bus.event import Event

_VERSION: Final = re.compile(r"(?P<package>(?:\w+\.)+\w+)\.v(?P<version>[1-9]\d{0,3})\.(?P<name>\w+)", re.ASCII)


def undecodable(event: Event) -> BadEvent | None:
    """The reason for which no release will ever decode the event, or None: it can be decoded, or a newer release may know its type."""
    try:
        event.data  # noqa: B018 - looking is what raises
    except UnknownType as error:
        return None if _may_become_known(event, error) else error
    except BadEvent as error:
        return error
    return None


def from_edge(event: Event, handlers: Set[str]) -> bool:
    """Return whether it came from outside: `handlers` are the names of all handlers of this bus, in whichever process they run."""
    if event.subsystem in handlers:
        return False
    try:
        return event.lane is None
    except BadEvent:
        return True


def _may_become_known(event: Event, error: UnknownType) -> bool:
    """A name that nobody here listens to decides nothing; a known one may be of a later version of the type, and of no other type."""
    try:
        known = by_name(event.name)
    except UnknownMessage:
        return True
    said, ours = _VERSION.fullmatch(str(error.facts.get("type", ""))), _VERSION.fullmatch(known)
    return (
        said is not None
        and ours is not None
        and (said["package"], said["name"]) == (ours["package"], ours["name"])
        and int(said["version"]) > int(ours["version"])
    )
