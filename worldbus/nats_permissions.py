"""Permissions of a NATS user, made of the rights: the server itself refuses what the gateway, the command line and handlers would refuse.

Events are granted by subject, one subject for each type that the role may say, so a type of a later release is refused until the
permissions are made anew. Three things the table knows and a subject cannot say: whose business the payload names, what an answer holds,
and which reader's consumer a name means. What only the payload tells is left out; reading is granted only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bus.errors import BadSettings
from bus.subjects import ROOT, SIGNAL_ROOT, check_token
from handlers.permissions import CLIENT, OWN, SPECIAL
from handlers.rights import HANDLERS
from schemas.registry import all_events
from worldbus.embedded.conf import listed
from worldbus.games import current

LOG: Final = "LOG"
EVERY: Final = "*"
PUBLISHING: Final = (f"$JS.API.STREAM.INFO.{LOG}",)  # clients look for the end of the log, and for the number of its partitions
READING: Final = (
    f"$JS.API.CONSUMER.CREATE.{LOG}",  # without a name, as the C client asks: it grants nothing that the next one does not
    f"$JS.API.CONSUMER.CREATE.{LOG}.>",
    f"$JS.API.CONSUMER.INFO.{LOG}.*",
    f"$JS.API.STREAM.MSG.GET.{LOG}",  # where a lane is that a group expected elsewhere
    f"$JS.FC.{LOG}.>",  # the answers of consumers that are pushed
)
"""Consumers that are pushed, and one stored event at a time. Neither `$JS.API.DIRECT.GET` nor `$JS.API.CONSUMER.MSG.NEXT`: the server sends
what is stored to whatever subject the request names for the answer. Whoever has the first can have bytes of his own recorded as anybody's,
whoever has the second any event once more. Where a consumer pushes to, the server holds against the subjects of the log."""


@dataclass(frozen=True, slots=True)
class Said:
    """A type that a role may say.

    scope  about its own entities alone, or any
    owner  field of the payload that names whose it is; empty: the entity
    """

    name: str
    scope: str
    owner: str


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a NATS user may publish and subscribe to; `left_out` are the types that its role may say, but not by NATS."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    left_out: tuple[str, ...]

    def words(self) -> str:
        """The `permissions` entry of a user, on one line, as nats-server reads it."""
        return f"permissions: {{ publish: {listed(self.publish)}, subscribe: {listed(self.subscribe)} }}"


def said_by(role: str) -> list[Said]:
    """Every type that a role may say, by name. Raises `BadSettings` for a part of worldbus itself."""
    check_token(role, "role")
    if role in HANDLERS | SPECIAL | current().by_name.keys():
        raise BadSettings(
            f"{role} is a part of worldbus, which reads, keeps books and makes streams: give its process a NATS user without permissions"
        )
    return list(_said_by(role))


def _said_by(role: str) -> Iterator[Said]:
    table, rights = current().emitters, current().allowed
    versions: dict[str, list[str]] = {}
    for kind in all_events():
        versions.setdefault(kind.DESCRIPTOR.name, []).append(kind.DESCRIPTOR.full_name)
    for name, full_names in sorted(versions.items()):
        if all(table.may(role, one) for one in full_names):  # a subject says no version
            yield Said(name, rights.scope(role, full_names[-1]), rights.owner_field(full_names[-1]))


def permissions(role: str, *, world: str = EVERY, entities: tuple[str, ...] = (), reads: bool = False) -> Permissions:
    """The permissions of a NATS user of this role: about these entities alone, if any are named.

    `reads` grants consumers of the log, of every world in it. Raises `BadSettings` for a client without entities, `BadSubject` for names
    that cannot stand in a subject.
    """
    if role == CLIENT and not entities:
        raise BadSettings("wanted entities for a client, found none: a player's own program speaks about its own entities alone")
    for entity in entities:
        check_token(entity, "entity")
    world = world if world == EVERY else check_token(world, "world")
    said, left_out = [], []
    for one in said_by(role):
        limited = bool(entities) or one.scope == OWN
        if limited and (one.owner or not entities):
            left_out.append(one.name)
        else:
            said += [f"{ROOT}.{world}.{role}.{entity}.{one.name}" for entity in entities or (EVERY,)]
    return Permissions(
        publish=(*said, *PUBLISHING, *(READING if reads else ())),
        subscribe=("_INBOX.>", f"{SIGNAL_ROOT}.{'>' if world == EVERY else f'{world}.>'}"),
        left_out=tuple(left_out),
    )


def block(found: Permissions) -> str:
    """The `permissions` of a user for nats-server's configuration, one subject on a line."""

    def lines(subjects: tuple[str, ...]) -> str:
        return "".join(f"    {listed((one,))[1:-1]}\n" for one in subjects)

    return f"permissions {{\n  publish: [\n{lines(found.publish)}  ]\n  subscribe: [\n{lines(found.subscribe)}  ]\n}}"


def rows(role: str) -> list[dict[str, Any]]:
    """The table of one role, as data."""
    return [{"role": role, "type": one.name, "about": one.scope, "owner": one.owner or "entity"} for one in said_by(role)]
