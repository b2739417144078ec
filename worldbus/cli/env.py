"""`worldbus env`: the addresses of a running world, for the shell and for other programs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from worldbus.cli.app import app
from worldbus.cli.options import PLACE, json_option, settings_options
from worldbus.cli.output import say, say_json

if TYPE_CHECKING:
    from worldbus.settings import Settings


@app.command()
@json_option
@settings_options(*PLACE, "reader_dsn", "world")
def env(as_json: bool, settings: Settings) -> None:
    """Print `export …` lines that lead other programs to the world that runs here: `eval "$(worldbus env)"`.

    NATS_URL and WORLDBUS_NATS_URL are for clients of NATS, WORLDBUS_WEBSOCKET_URL for those that come as browsers do; PGHOST and the others
    for psql, as the role that can only read; WORLDBUS_DATA, WORLDBUS_WORLD and WORLDBUS_READER_DSN for worldbus itself, which then works
    from any folder. The lines hold passwords.
    """
    found = variables(settings)
    if as_json:
        say_json(found)
    else:
        for name, value in found.items():
            say(f"export {name}={shlex.quote(value)}")


def variables(settings: Settings) -> dict[str, str]:
    """The variables, by name. Raises `NoWorld` when nobody runs the world of the data folder."""
    from worldbus.embedded.folder import Addresses, Folder, no_world

    running = Addresses()
    found = {}
    if settings.embedded_nats or settings.embedded_postgres:
        folder = Folder(settings.data, create=False)
        running = folder.find() or running
        if not running.pid:
            raise no_world(folder.path, "nobody runs it at the moment")
        found["WORLDBUS_DATA"] = str(folder.path)
    nats = settings.nats_url or running.nats_url
    reader = settings.reader_dsn or settings.postgres_dsn or running.reader_dsn
    found["WORLDBUS_WORLD"] = settings.world
    if running.websocket_url:
        found["WORLDBUS_WEBSOCKET_URL"] = running.websocket_url
    if nats:
        found |= {"NATS_URL": nats, "WORLDBUS_NATS_URL": nats}
    if settings.postgres_dsn:
        found["WORLDBUS_POSTGRES_DSN"] = settings.postgres_dsn
    if reader:
        found |= {"WORLDBUS_READER_DSN": reader, **libpq(reader)}
    return found


def libpq(dsn: str) -> dict[str, str]:
    """An address of Postgres as the variables that psql and everything built on libpq read.

    >>> libpq("postgresql://reader:se%20cret@/worldbus?host=/tmp/run&port=5432")
    {'PGHOST': '/tmp/run', 'PGPORT': '5432', 'PGUSER': 'reader', 'PGPASSWORD': 'se cret', 'PGDATABASE': 'worldbus'}
    """
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    found = {
        "PGHOST": query.get("host") or parts.hostname or "",
        "PGPORT": query.get("port") or str(parts.port or ""),
        "PGUSER": query.get("user") or unquote(parts.username or ""),
        "PGPASSWORD": query.get("password") or unquote(parts.password or ""),
        "PGDATABASE": query.get("dbname") or unquote(parts.path.lstrip("/")),
        "PGSSLMODE": query.get("sslmode", ""),
    }
    return {name: value for name, value in found.items() if value}
