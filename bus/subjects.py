"""Subjects: where an event lies in the log, and which events a reader wants.

Published as `evt.<world>.<subsystem>.<entity>.<EventName>`; stored with the partition as second token, which the stream's subject
transform adds. Everything about one (world, entity) lies in one partition, so its order survives scale-out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from bus.errors import BadSubject

ROOT = "evt"
SIGNAL_ROOT = "sig"
MAX_TOKEN = 64  # characters
MAX_SUBJECT = 255  # bytes
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class LaneName(NamedTuple):
    """The events of one subsystem about one entity of a world: the lane that an expected position is about."""

    world: str
    subsystem: str
    entity: str

    def __str__(self) -> str:
        return "/".join(self)

    def stored(self, partitions: int) -> str:
        """The filter over stored subjects that matches its events; raises `BadSubject`."""
        for field, token in zip(self._fields, self, strict=True):
            check_token(token, field)
        return lane_filter(partition_of(self.world, self.entity, partitions), *self)

    @classmethod
    def of_filter(cls, stored: str) -> LaneName:
        """The lane of a filter that `stored` made."""
        return cls(*stored.split(".")[2:5])


class Subject(NamedTuple):
    """The tokens of one event's subject, without the partition."""

    world: str
    subsystem: str
    entity: str
    name: str

    @property
    def lane(self) -> LaneName:
        """The lane of the event: its subsystem and entity in their world."""
        return LaneName(self.world, self.subsystem, self.entity)

    def published(self) -> str:
        """The subject to publish to; every token has been checked."""
        return _published(self)


@lru_cache(maxsize=65536)
def _published(subject: Subject) -> str:
    for field, token in zip(Subject._fields, subject, strict=True):
        check_token(token, field)
    whole = ".".join((ROOT, *subject))
    if len(whole) > MAX_SUBJECT - 4:  # room for the partition
        raise BadSubject(f"subject of {len(whole)} bytes, wanted at most {MAX_SUBJECT - 4}: shorten world or entity", subject=whole)
    return whole


@lru_cache(maxsize=65536)
def wire_subject(world: str, subsystem: str, entity: str, name: str) -> bytes:
    """The bytes to publish to; raises `BadSubject`."""
    return Subject(world, subsystem, entity, name).published().encode()


def check_token(token: str, field: str = "token") -> str:
    """Return `token` if it may stand in a subject, raise `BadSubject` if not.

    >>> check_token("mira")
    'mira'
    """
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        found = "nothing" if token == "" else ascii(token)[:80]
        raise BadSubject(
            f"{field} must be 1-{MAX_TOKEN} of A-Z a-z 0-9 _ -, found {found}: choose another name or encode it", field=field, found=token
        )
    return token


def parse_stored(subject: str) -> tuple[int, Subject]:
    """Split a stored subject into (partition, tokens).

    >>> parse_stored("evt.3.main.npc.mira.NpcSpoke")
    (3, Subject(world='main', subsystem='npc', entity='mira', name='NpcSpoke'))
    """
    tokens = subject.split(".")
    if len(tokens) != 6 or tokens[0] != ROOT or not tokens[1].isdigit():
        raise BadSubject(
            f"stored subject must be {ROOT}.<partition>.<world>.<subsystem>.<entity>.<Event>, found {subject!r}", subject=subject
        )
    return int(tokens[1]), Subject(*tokens[2:])


@lru_cache(maxsize=65536)
def place(subject: bytes) -> tuple[int, Subject]:
    """Partition and tokens of whatever subject the log holds.

    A subject that our publishers would refuse may still have been stored by others; it comes as partition 0 with the whole subject as
    name and no world, subsystem or entity, so that one bad event stops no reader.
    """
    text = subject.decode(errors="replace")
    try:
        return parse_stored(text)
    except BadSubject:
        return 0, Subject("", "", "", text)


@lru_cache(maxsize=65536)
def partition_of(world: str, entity: str, partitions: int) -> int:
    """The partition the server will choose: FNV-1a (32 bit) over the two tokens, as nats-server's `partition()` computes it."""
    digest = 2166136261
    for byte in (world + entity).encode():
        digest = ((digest ^ byte) * 16777619) & 0xFFFFFFFF
    return digest % partitions


def lane_filter(partition: int, world: str, subsystem: str, entity: str) -> str:
    """Every event that `subsystem` said about one entity: the fence and the fold of a lane."""
    return f"{ROOT}.{partition}.{world}.{subsystem}.{entity}.*"


def stored_filter(
    *,
    partition: int | None = None,
    world: str | None = None,
    subsystem: str | None = None,
    entity: str | None = None,
    name: str | None = None,
) -> str:
    """A filter over stored subjects; what is not given matches everything."""
    wanted = {"world": world, "subsystem": subsystem, "entity": entity, "name": name}
    for field, token in wanted.items():
        if token is not None:
            check_token(token, field)
    return ".".join((ROOT, "*" if partition is None else str(partition), *(token or "*" for token in wanted.values())))


def transform(partitions: int) -> tuple[str, str]:
    """(source, destination) of the stream's subject transform."""
    return (
        f"{ROOT}.*.*.*.*",
        f"{ROOT}.{{{{partition({partitions},1,3)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}.{{{{wildcard(4)}}}}",
    )


def check_signal(subject: str) -> str:
    """Return a signal subject (`sig.>`, core NATS, never stored) or raise `BadSubject`."""
    tokens = subject.split(".")
    if tokens[0] != SIGNAL_ROOT or len(tokens) < 2 or len(subject) > MAX_SUBJECT:
        raise BadSubject(f"signal subject must be {SIGNAL_ROOT}.<token>…, found {ascii(subject)[:80]}", subject=subject)
    for token in tokens[1:]:
        check_token(token, "signal token")
    return subject
