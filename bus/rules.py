"""The rules of a handler as one hash: every function, constant and content table that its functions can reach.

It stands in `producerversion` of every output, so that whoever finds another decision later knows since when; and a snapshot of a lane is
believed only under the rules that made it.

The walk follows what the code refers to: globals, closures, defaults, partials, methods, wrapped functions, classes of values that lie in
tables, module attributes. Names are resolved as they are bound now. The standard library and installed packages count by their version,
generated message classes by their name. Comments, docstrings, formatting and names of locals do not count, nor what is computed once and
kept (caches, cached properties).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from bus.reach import Reach

if TYPE_CHECKING:
    from bus.handler import Handler

DIGITS: Final = 12
MOST_NODES: Final = 50_000  # known functions and classes; more than that are walked anew

_reach = Reach()


def producer(handler: Handler[Any]) -> str:
    """The deciding release, for the record: `<handler>/<version>+<rules>`. Computed once for each handler."""
    return handler._producer or _named(handler)


def rules(handler: Handler[Any]) -> str:
    """Changes whenever the handler, as it is bound now, might decide or fold differently; 12 hexadecimal digits."""
    return producer(handler).rpartition("+")[2]


def _named(handler: Handler[Any]) -> str:
    if len(_reach) > MOST_NODES:
        _reach.forget()
    said = f"{handler.name}\n{handler.version}\n".encode()
    digest = blake2b(said + _reach.digest(roots_of(handler)), digest_size=DIGITS // 2).hexdigest()
    object.__setattr__(handler, "_producer", f"{handler.name}/{handler.version}+{digest}")
    return handler._producer


def roots_of(handler: Handler[Any]) -> tuple[object, ...]:
    """The functions and types at which its rules begin."""
    return handler.entities, handler.initial, handler.decide, handler.evolve, handler.listens_to, handler.emits, handler.retired
