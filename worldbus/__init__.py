"""worldbus: the composition root. Settings, logging, embedded servers and the command line; the only package that imports all the others."""

__version__ = "0.1.0"
