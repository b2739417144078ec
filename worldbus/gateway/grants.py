"""Grants: a TOML file of hashed tokens, one table per game server.

    [unreal-eu-1]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    worlds = ["main"]                   # ["*"]: every world
    says = ["game"]                     # subsystems it may speak as; []: none. A player's own program says ["client"]
    entities = []                       # its own: it speaks about these alone; []: any, except of what only the owner may say
    hears = true                        # may subscribe, and look events up
    audience = ["public"]               # what it may find in the knowledge base
    events_per_second = 2000
    burst = 10000
    max_body = 1048576                  # bytes
    subscriptions = 16

A token is 32 random bytes, so one round of SHA-256 keeps it safe; the file holds no secret. It is read again when it changes.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import structlog

from bus.errors import BadSettings
from handlers.permissions import CLIENT
from worldbus.gateway.problem import Problem

PREFIX: Final = "wbt_"
ANY: Final = "*"
LOOK_S: Final = 1.0  # between two looks at the file
RESERVED: Final = ("inference", "payments-provider")
"""Edges whose words are worth money or trust; no game server speaks for them."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AUDIENCE: Final = re.compile(r"[A-Za-z0-9_:=.-]{1,200}")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="worldbus"'}
_NEXT: Final = "send the header Authorization: Bearer <token>, made by `worldbus gateway token`"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The rights of the holder of one token."""

    name: str
    sha256: str
    worlds: tuple[str, ...]
    says: tuple[str, ...] = ("game",)
    entities: tuple[str, ...] = ()
    hears: bool = True
    audience: tuple[str, ...] = ("public",)
    events_per_second: float = 2000.0
    burst: float = 10_000.0
    max_body: int = 4 << 20
    subscriptions: int = 16

    def sees(self, world: str) -> bool:
        """True if it may know of this world."""
        return world in self.worlds or ANY in self.worlds

    def owns(self, entity: str) -> bool:
        """True if an entity is its own."""
        return entity in self.entities

    @property
    def only_world(self) -> str:
        """The world that is meant when none is named; empty if there are several."""
        return self.worlds[0] if len(self.worlds) == 1 and self.worlds[0] != ANY else ""


def mint() -> tuple[str, str]:
    """A new token, and the hash that the file holds of it."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, digest(token)


def digest(token: str) -> str:
    """The file's entry of a token."""
    return sha256(token.encode(errors="replace")).hexdigest()


class Tokens:
    """The grants of one file, found by token."""

    def __init__(self, path: Path, handlers: frozenset[str]) -> None:
        self._path = path
        self._handlers = handlers
        self._stamp: tuple[int, int] = (0, 0)
        self._grants: dict[str, Grant] = {}
        self.reload()

    def __len__(self) -> int:
        return len(self._grants)

    def reload(self) -> None:
        """Read the file. Raises `BadSettings` with every problem; the grants stay as they were."""
        try:
            stat = self._path.stat()
            tables = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadSettings(
                f"{self._path}: wanted a TOML file of hashed tokens, found {error}; `worldbus gateway token` makes one"
            ) from error
        self._stamp = (stat.st_mtime_ns, stat.st_size)
        grants = read(tables, self._handlers)
        self._grants = {grant.sha256: grant for grant in grants}

    async def watch(self) -> None:
        """Read the file again whenever it changes; a file that is wrong changes nothing."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                stat = self._path.stat()
                if (stat.st_mtime_ns, stat.st_size) == self._stamp:
                    continue
                self.reload()
            except (OSError, BadSettings) as error:
                log.error("tokens_not_read", reason=str(error))
                await asyncio.sleep(10 * LOOK_S)
            else:
                log.info("tokens_read", count=len(self._grants))

    def holds(self, grant: Grant) -> bool:
        """True while the file grants exactly this."""
        return self._grants.get(grant.sha256) == grant

    def of(self, sha256: str) -> Grant | None:
        """The grant of a token by its hash, if the file still has it."""
        return self._grants.get(sha256)

    def find(self, header: str | None) -> Grant:
        """The grant of an `Authorization` header. Raises a 401 problem that says nothing about what was presented."""
        if not header:
            raise Problem(401, "NO_TOKEN", f"wanted a token, found none: {_NEXT}", headers=_CHALLENGE)
        scheme, _, token = header.partition(" ")
        found = digest(token.strip())
        grant = self._grants.get(found)
        # The lookup is by hash, of which nobody can choose a prefix; the comparison is over the whole of it.
        if scheme.lower() != "bearer" or grant is None or not hmac.compare_digest(grant.sha256, found):
            challenge = {"WWW-Authenticate": _CHALLENGE["WWW-Authenticate"] + ', error="invalid_token"'}
            raise Problem(401, "BAD_TOKEN", f"wanted a token of this gateway's file, found another: {_NEXT}", headers=challenge)
        return grant


def read(tables: dict[str, Any], handlers: frozenset[str]) -> list[Grant]:
    """The grants of a parsed file. Raises `BadSettings` with every problem at once."""
    problems: list[str] = []
    grants = [grant for name, table in tables.items() if (grant := _grant(name, table, handlers, problems)) is not None]
    hashes = [grant.sha256 for grant in grants]
    problems += [f"{grant.name}: its token is another one's too" for grant in grants if hashes.count(grant.sha256) > 1]
    if problems:
        raise BadSettings("tokens: " + "; ".join(problems), problems=tuple(problems))
    return grants


def _grant(name: str, table: Any, handlers: frozenset[str], problems: list[str]) -> Grant | None:
    before = len(problems)
    if _NAME.fullmatch(name) is None or not isinstance(table, dict):
        problems.append(f"wanted a table named by 1-64 of A-Z a-z 0-9 _ -, found {name!r}")
        return None
    known = set(Grant.__dataclass_fields__) - {"name"}
    problems += [f"{name}: no such key {key!r}, wanted {', '.join(sorted(known))}" for key in table if key not in known]
    if not isinstance(table.get("sha256"), str) or _HASH.fullmatch(table["sha256"]) is None:
        problems.append(f"{name}: sha256 must be 64 hex digits in lower case")
    for key, pattern in (("worlds", _NAME), ("says", _NAME), ("entities", _NAME), ("audience", _AUDIENCE)):
        words = table.get(key, [])
        if not isinstance(words, list) or not all(isinstance(one, str) and (pattern.fullmatch(one) or one == ANY) for one in words):
            problems.append(f"{name}: {key} must be a list of words, found {words!r}")
        elif key == "says":
            problems += [
                f"{name}: {one!r} is a subsystem that only worldbus itself speaks as"
                for one in words
                if one in handlers or one in RESERVED or one == ANY
            ]
    says = table.get("says", ())
    if isinstance(says, list) and CLIENT in says and not table.get("entities"):
        problems.append(f'{name}: entities is missing, wanted the names of its own, such as ["mira"]: {CLIENT} speaks about nothing else')
    if not table.get("worlds"):
        problems.append(f'{name}: worlds is missing, wanted the names of those it may touch, or ["*"]')
    for key in ("events_per_second", "burst", "max_body", "subscriptions"):
        value = table.get(key, 1)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float) if key in ("events_per_second", "burst") else int)
            or not 0 < value < 1e9
        ):
            problems.append(f"{name}: {key} must be a number above 0, found {value!r}")
    if not isinstance(table.get("hears", True), bool):
        problems.append(f"{name}: hears must be true or false")
    if len(problems) > before:
        return None
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Grant(name=name, **values)
