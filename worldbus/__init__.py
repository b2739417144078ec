"""worldbus, as the programmer of a game imports it. Beside what is named here, `worldbus.standard`, `worldbus.testing` and `worldbus.demo`
are public; all else is private.

The game, one value
    Game        everything that a game is made of; every verb and `serve` play one
    Content     a folder of tables, each read when somebody first plays by it
    choose      make a game the one that this process plays

What happens in it
    Handler     a subsystem whose rules are the same in every world: pure functions, events in, events out
    ByWorld     a subsystem whose rules are made of a world's content
    Subsystem   either of them: the type for annotations
    Event       what a handler and a projection are given: one event of the log
    errors      the tree of errors, sorted by what the caller does next; `decide` raises `errors.BrokenRule`
    toml        reads a table of a game's own, and refuses what is wrong with it by file, line and key

What is read from it
    Projection  a read model: SQL tables, and for each event type a function that says which rows change
    Table       one of its tables, as those functions see it
    Change      what they return
    sql_beside  the .sql file beside a projection's module

A program of one's own
    Settings    where the servers are, and what they promise
    open_world  the log of a world, and a publisher, for an `async with` block
    World       what that block has: the log, the publisher, the addresses
    serve       the handlers, projections and clock of a world, for a block inside it
    Checkpoints how far the tables are: wait until they hold what was published
    until_quiet wait until every handler and every table is at the end of the log
    Draft       an event to be published: `await world.publisher.publish(draft)`

Each is imported when it is asked for: `import worldbus` loads nothing. The messages of the standard subsystems are generated packages below
`schemas.gen.worldbus`: `from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know the name; loading `typing` costs ten times what all else here does
if TYPE_CHECKING:
    from typing import Any

    from bus import errors, toml
    from bus.draft import Draft
    from bus.event import Event
    from bus.handler import ByWorld, Handler, Subsystem
    from handlers.content import Content
    from projections.checkpoints import Checkpoints
    from projections.projection import Change, Projection, Table, sql_beside
    from worldbus.compose import serve
    from worldbus.game import Game
    from worldbus.games import choose
    from worldbus.opening import World, open_world
    from worldbus.quiet import until_quiet
    from worldbus.settings import Settings

__version__ = "0.2.0"
__all__ = [
    "ByWorld",
    "Change",
    "Checkpoints",
    "Content",
    "Draft",
    "Event",
    "Game",
    "Handler",
    "Projection",
    "Settings",
    "Subsystem",
    "Table",
    "World",
    "choose",
    "errors",
    "open_world",
    "serve",
    "sql_beside",
    "toml",
    "until_quiet",
]
_WHERE = {
    **dict.fromkeys(("ByWorld", "Handler", "Subsystem"), "bus.handler"),
    **dict.fromkeys(("Change", "Projection", "Table", "sql_beside"), "projections.projection"),
    "Checkpoints": "projections.checkpoints",
    "Content": "handlers.content",
    "Draft": "bus.draft",
    "Event": "bus.event",
    "Game": "worldbus.game",
    "Settings": "worldbus.settings",
    "choose": "worldbus.games",
    "errors": "bus.errors",
    "serve": "worldbus.compose",
    "toml": "bus.toml",
    "until_quiet": "worldbus.quiet",
    **dict.fromkeys(("World", "open_world"), "worldbus.opening"),
}
_MODULES = ("errors", "toml")


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(_WHERE[name])
    except (ImportError, AttributeError) as error:
        from worldbus.hidden import hidden

        if problem := hidden():
            raise ImportError(f"worldbus.{name}: {problem}") from error
        raise
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
