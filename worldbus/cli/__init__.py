"""The command line: one file per group of verbs, thin over the same objects that the tests use."""

from worldbus.cli.app import main

__all__ = ["main"]
