"""worldbus: the composition root. Settings, logging, embedded servers and the command line; only this package imports all the others."""

__version__ = "0.1.0"
