"""Real servers for the tests, one of each per run, in a folder of their own; `relaxed`, because most tests are not about power cuts."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Generator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests import laws
from worldbus.embedded import NatsServer, PostgresServer
from worldbus.testing import servers

laws.load()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give counterexamples to the report, which reaches whoever writes the end of the run, also from another process."""
    report = yield
    report.user_properties += [("counterexample", one) for one in laws.falsified(item, call)]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember counterexamples, for the end of the run."""
    laws.found.update(dict.fromkeys(one for name, one in report.user_properties if name == "counterexample"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what to paste, so that a counterexample found by chance is tried for ever."""
    if laws.found:
        terminalreporter.section("counterexamples: paste each above its test", sep="=")
        for one in laws.found:
            terminalreporter.write_line(one)


@pytest.fixture(autouse=True)
def same_dice(request: pytest.FixtureRequest) -> None:
    """What draws from Python's own dice draws the same in every run, whichever tests ran before."""
    random.seed(request.node.nodeid)


def log_plainly() -> None:
    """Log as structlog does by itself, and without rich, which needs seconds for each traceback: a test that logs many stands still."""
    structlog.reset_defaults()
    *processors, _ = structlog.get_config()["processors"]
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, console])


log_plainly()


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """A test that sets up logging, as every command does, sets it up for itself."""
    root = logging.getLogger()
    level = root.level
    yield
    log_plainly()
    root.setLevel(level)
    root.handlers[:] = [one for one in root.handlers if not isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)]


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the test's own process logs, line by line as fields, whatever sets up logging."""
    with capture_logs() as lines:
        yield lines


class _Complaints(logging.Handler):
    """What the event loop reports instead of raising: a task's exception that nobody looked at, a callback that failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record))


@pytest.fixture(autouse=True)
def loop_without_complaints() -> Iterator[None]:
    """An exception that reaches nobody but the event loop fails the test."""
    complaints = _Complaints()
    logging.getLogger("asyncio").addHandler(complaints)
    yield
    logging.getLogger("asyncio").removeHandler(complaints)

    assert complaints.heard == []


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """The folder of the run's servers."""
    with servers.servers_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def nats_server(servers_folder: Path) -> Iterator[NatsServer]:
    """A running nats-server. Whoever stops it starts it again."""
    with servers.running_nats(servers_folder / "nats") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(servers_folder: Path) -> Iterator[PostgresServer]:
    """A running Postgres with the `worldbus` database and its roles. Whoever stops it starts it again."""
    with servers.running_postgres(servers_folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with every migration applied, copied for each test that asks for `fresh_database`."""
    with servers.migrated_template(postgres_server) as name:
        yield name


@pytest.fixture
def fresh_database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The owner's address of a migrated database of this test's own. `as_reader` makes the reader's of it."""
    with servers.fresh_database(postgres_server, template=migrated_template) as dsn:
        yield dsn


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The owner's address of a database of this test's own: pgvector and the roles, no tables."""
    with servers.fresh_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder for embedded servers of this test's own."""
    with servers.servers_folder("wb-data-") as folder:
        yield folder


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Names that no other test uses: `unique("weather")`."""
    return lambda word: f"{word}-{uuid.uuid4().hex[:12]}"
