"""Rights to ask: the roles of sources, and the right that a request type gives them.

A role is a source that speaks from outside. A source that is named by no role is a game server's. What a browser holds speaks as `client`,
and about its own entities alone; gates know which these are, handlers know the source. The rows of a world are in `handlers/rights.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

GAME: Final = "game"  # a game server: trusted with its players, not with the studio's business
CLIENT: Final = "client"  # a player's own program: a browser, a phone
STUDIO: Final = "studio"  # designers: coupons, models, arcs, weather
OPERATOR: Final = "operator"  # whoever runs the world
SERVICE: Final = "service"  # what offers capabilities: speech, translation
TICKER: Final = "ticker"  # the clock's pulse
ROLES: Final = frozenset({GAME, CLIENT, STUDIO, OPERATOR, SERVICE, TICKER})
SPECIAL: Final = frozenset({"inference", "payments-provider", "release-feed", "lore", "knowledge"})
"""Edges that say what nobody else may, and ask for nothing."""

OWN: Final = "own"
ANY: Final = "any"
Scope = str  # OWN or ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """The sources that may say one type.

    may       role → about its own entities or any
    emitters  subsystems of worldbus itself that say it too
    answers   the handler that answers for it; empty: none does
    owner     field of the payload that names whose it is; empty: the entity
    report    a report, of which many come: what changes nothing need not be answered
    """

    may: Mapping[str, Scope]
    emitters: frozenset[str] = frozenset()
    answers: str = ""
    owner: str = ""
    report: bool = False

    def problem(self, subsystem: str, role: str) -> str:
        """The reason why this source may not say it, in words; empty if it may."""
        if role in self.may or subsystem in self.emitters:
            return ""
        wanted = ", ".join(sorted((*self.may, *self.emitters)))
        return f"wanted it from {wanted}, found it from {subsystem!r}: publish it as one of these, if you may"

    def owner_of(self, entity: str, message: Message) -> str:
        """The entity whose business it is."""
        found: Any = getattr(message, self.owner) if self.owner else entity
        return str(found)


def role_of(subsystem: str, handlers: frozenset[str]) -> str:
    """The role in which a source speaks; a handler, and an edge with words of its own, have none but their name."""
    return subsystem if subsystem in ROLES or subsystem in SPECIAL or subsystem in handlers else GAME
