"""Planted faults: does anything notice? `python -m bench.mutants`, or `make mutants`."""
