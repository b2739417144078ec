"""The fixtures of worldbus for pytest: a real nats-server, a real Postgres, and an open world on them.

    worldbus_database   the owner's address of a migrated database without a history, for `assert_projection_laws`
    worldbus_settings   the settings of a world of the test's own: an empty log, an empty database, durability relaxed
    worldbus_world      that world, opened: `await worldbus_world.publisher.publish(draft)`, `async with serve(worldbus_world, …)`
    worldbus_nats       the nats-server, one for the run
    worldbus_postgres   the Postgres, one for the run

`worldbus_world` needs pytest-asyncio, the others no other plugin. With pytest-xdist each process has servers of its own. Installed
packages of worldbus are found by pytest of themselves (entry point `pytest11`); nothing is imported and nothing started before a fixture
is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from worldbus.embedded import NatsServer, PostgresServer
    from worldbus.settings import Settings

OURS: Final = frozenset({"bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds"})
EXPLAINED: Final = ("bus.testing", "worldbus.testing")  # modules whose assertions are a test's own


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Let pytest rewrite the assertions of `worldbus.testing`, and of nothing else here.

    It would rewrite every module of a distribution that has a plugin. A handler is known by the hash of its code (`producerversion`), and
    rewritten it would be another one in tests than on the bus.
    """
    hook = early_config.pluginmanager.rewrite_hook
    marked = getattr(hook, "_must_rewrite", None)
    if isinstance(marked, set):
        marked -= OURS
        getattr(hook, "_marked_for_rewrite_cache", {}).clear()
    pytest.register_assert_rewrite(*(name for name in EXPLAINED if name not in sys.modules))


def pytest_configure(config: pytest.Config) -> None:
    """Offer `worldbus_world` where coroutines are run."""
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.import_plugin("worldbus.pytest_plugin.opened")


@pytest.fixture(scope="session")
def worldbus_folder() -> Iterator[Path]:
    """The folder of the run's servers."""
    from worldbus.testing.servers import servers_folder

    with servers_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def worldbus_nats(worldbus_folder: Path) -> Iterator[NatsServer]:
    """A running nats-server."""
    from worldbus.testing.servers import running_nats

    with running_nats(worldbus_folder / "nats") as server:
        yield server


@pytest.fixture(scope="session")
def worldbus_postgres(worldbus_folder: Path) -> Iterator[PostgresServer]:
    """A running Postgres with pgvector and the roles of worldbus."""
    from worldbus.testing.servers import running_postgres

    with running_postgres(worldbus_folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def worldbus_template(worldbus_postgres: PostgresServer) -> Iterator[str]:
    """The name of a migrated database, copied for each test."""
    from worldbus.testing.servers import migrated_template

    with migrated_template(worldbus_postgres) as name:
        yield name


@pytest.fixture
def worldbus_database(worldbus_postgres: PostgresServer, worldbus_template: str) -> Iterator[str]:
    """The owner's address of a migrated database of this test's own."""
    from worldbus.testing.servers import fresh_database

    with fresh_database(worldbus_postgres, template=worldbus_template) as dsn:
        yield dsn


@pytest.fixture
def worldbus_settings(worldbus_nats: NatsServer, worldbus_database: str, worldbus_folder: Path) -> Settings:
    """The settings of a world of this test's own: `async with open_world(worldbus_settings) as world:`."""
    from worldbus.testing.servers import settings_of, without_streams

    without_streams(worldbus_nats)
    return settings_of(worldbus_nats, worldbus_database, worldbus_folder / "world")
