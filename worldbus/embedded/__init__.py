"""Real servers from Python packages, for a laptop, a test and a demo: nats-server and Postgres with pgvector."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from worldbus.embedded.servers import Servers, embedded

if TYPE_CHECKING:
    from worldbus.embedded.nats import NatsServer
    from worldbus.embedded.postgres import PostgresServer

__all__ = ["NatsServer", "PostgresServer", "Servers", "embedded"]
_LATE = {"NatsServer": "nats", "PostgresServer": "postgres"}  # needed by whoever starts a server, not by the many who find one


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"worldbus.embedded.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
