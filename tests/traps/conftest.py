"""The fixtures of the worker's tests: a log, somebody who asks, and workers."""

from __future__ import annotations

from tests.integration.inference.conftest import connection, game, log, publisher, run, until

__all__ = ["connection", "game", "log", "publisher", "run", "until"]
