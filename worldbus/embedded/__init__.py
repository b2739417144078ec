"""Real servers from Python packages, for a laptop, a test and a demo: nats-server and Postgres with pgvector."""

from worldbus.embedded.nats import NatsServer
from worldbus.embedded.postgres import PostgresServer
from worldbus.embedded.servers import Servers, embedded

__all__ = ["NatsServer", "PostgresServer", "Servers", "embedded"]
