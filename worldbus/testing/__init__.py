"""Tools for the tests of a game; nothing here needs a server but `assert_projection_laws`.

    from worldbus.testing import Rehearsal, assert_handler_laws, given

    def test_a_free_berth_is_given() -> None:
        given(docking).when(DockingRequested(ship="heron")).then(BerthGiven(ship="heron"))

    def test_docking_keeps_the_laws() -> None:
        assert_handler_laws(docking)

    def test_the_berths_keep_the_laws(worldbus_database: str) -> None:
        assert_projection_laws(worldbus_database, berths)

`given`, `Case`, `play` and `Rehearsal` say by example what a handler does (`bus.testing`); `recorded` makes an event of a message. The laws
hold for every handler and every projection, and are tried with whatever Hypothesis draws; they need the extra `testing`. The fixtures with
a real NATS server and a real Postgres are in `worldbus.pytest_plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bus.testing import Case, Rehearsal, given, play, recorded

if TYPE_CHECKING:
    from worldbus.testing.drawing import messages
    from worldbus.testing.handler_laws import assert_handler_laws
    from worldbus.testing.projection_laws import assert_projection_laws

__all__ = ["Case", "Rehearsal", "assert_handler_laws", "assert_projection_laws", "given", "messages", "play", "recorded"]
_DRAWN = {"assert_handler_laws": "handler_laws", "assert_projection_laws": "projection_laws", "messages": "drawing"}


def __getattr__(name: str) -> Any:
    """Import the laws when they are asked for: given, when and then need no Hypothesis."""
    if name not in _DRAWN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"worldbus.testing.{_DRAWN[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "hypothesis":
            raise
        raise ModuleNotFoundError(
            f"worldbus.testing.{name} draws its examples with hypothesis, found it not installed: pip install 'worldbus[testing]'",
            name=error.name,
        ) from error
