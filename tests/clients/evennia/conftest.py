"""Runs where `make test-evennia` has made the environment with Evennia."""

import os

if not os.environ.get("WORLDBUS_EVENNIA"):  # set by `make test-evennia`
    collect_ignore_glob = ["test_*.py"]
