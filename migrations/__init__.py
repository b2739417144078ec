"""The database's own schema: plain SQL files beside this one, run in order by dbmate.

`migrate` brings a database up to date and is safe to run again, also by several processes at once. The tables of the projections are not
here: each projection brings its own (`projections/*.sql`), in a schema of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from shutil import which
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bus.errors import BadSettings, MissingExtra, StoreUnavailable

FOLDER = Path(__file__).parent
SCHEMA = FOLDER / "schema.sql"
TABLE = "worldbus_migrations"
_UNREACHABLE = ("connection refused", "connect: ", "no such host", "broken pipe", "connection reset", "EOF")
_SQLSTATE = re.compile(r"\(([0-9A-Z]{5})\)\s*$")


def migrate(dsn: str) -> list[str]:
    """Apply every pending migration, each in a transaction of its own, and return their file names. The database must exist.

    Raises `StoreUnavailable` when Postgres does not answer, `BadSettings` when a migration is refused and `MissingExtra` without dbmate.
    """
    said = dbmate(dsn, "--migration-lock", "--no-dump-schema", "migrate")
    return [line.split()[1] for line in said.splitlines() if line.startswith("Applied:")]


def rollback(dsn: str) -> None:
    """Undo the newest migration. For development: it drops what that migration made."""
    dbmate(dsn, "--no-dump-schema", "rollback")


def missing(applied: Iterable[str]) -> list[str]:
    """The migrations that are not among `applied`, which are their versions as the database's own table names them."""
    known = frozenset(applied)
    return sorted(path.name for path in FOLDER.glob("[0-9]*.sql") if path.name.partition("_")[0] not in known)


def pending(dsn: str) -> list[str]:
    """The migrations that `migrate` would apply now."""
    return [line.removeprefix("[ ] ").strip() for line in dbmate(dsn, "status").splitlines() if line.startswith("[ ]")]


def dbmate(dsn: str, *arguments: str, folder: Path = FOLDER, schema_file: Path = SCHEMA, programs: Path | None = None) -> str:
    """Run dbmate and return what it said. The DSN travels in the environment: a command line can be read by every user.

    `programs` is where pg_dump is, for `dbmate(dsn, "dump")`, if that is not on the PATH.
    """
    path = os.pathsep.join(filter(None, (str(programs or ""), os.environ.get("PATH", os.defpath))))
    where = ["--migrations-dir", str(folder), "--schema-file", str(schema_file), "--migrations-table", TABLE]
    done = subprocess.run(
        [_program(), *where, *arguments],
        env={"PATH": path, "DATABASE_URL": dbmate_url(dsn)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        unreachable = any(sign in said for sign in _UNREACHABLE)
        problem = StoreUnavailable if unreachable else BadSettings
        state = _SQLSTATE.search(said)
        raise problem(f"wanted `dbmate {arguments[-1]}` to succeed, found: {said}", sqlstate=state[1] if state else "")
    return done.stdout


def dbmate_url(dsn: str) -> str:
    """`dsn` as dbmate's driver reads it: it knows sockets by `socket`, and would insist on TLS where libpq only prefers it."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    host = query.pop("host", "")
    if host.startswith("/"):
        query["socket"] = host
    elif host:
        query["host"] = host
    query.setdefault(
        "sslmode", "disable" if host.startswith("/") or parts.hostname in (None, "127.0.0.1", "::1", "localhost") else "prefer"
    )
    return urlunsplit(("postgres", parts.netloc, parts.path, urlencode(query), ""))


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "dbmate"
    found = str(beside) if beside.exists() else which("dbmate")
    if found is None:
        raise MissingExtra.of("migrations of Postgres", ("migrations",), ("dbmate",), "put that program on the PATH")
    return found
