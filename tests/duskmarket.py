"""Duskmarket's handlers with their rules, the same that benchmarks play."""

from bench.duskmarket import *  # noqa: F403
