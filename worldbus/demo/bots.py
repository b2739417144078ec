"""The people and programs outside of the handlers in a demo of one game, which declares them as its `bots`.

    class Crews(Bots):
        def __init__(self, stage: Stage) -> None:
            super().__init__(stage)
            self.dice = Random(f"{stage.seed}/crews")

        def opening(self) -> Iterator[Draft]:
            yield self.draft(ZoneDeclared(climate="orbit"), "docks")

        def turn(self, number: int) -> Iterator[Draft]:
            yield self.draft(DockRequested(ship=self.dice.choice(SHIPS)), "meridian")

    game = Game(..., bots=Crews)

What they say depends on the stage, the turn's number, their own dice and what they have heard alone: then the same seed plays the same game
(`worldbus demo --lockstep`).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from bus.errors import BadSettings, WorldbusError
from bus.event import Draft

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.event import Event
    from handlers.content import Content
    from worldbus.game import Game

T = TypeVar("T")
Due = Mapping[str, tuple[str, frozenset[str]]]
"""Event name → the handler that must answer it, and the events by which it does: any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The world that bots play in.

    content  of that world
    players  that are wished for, 0 or more
    seed     of every die
    run      the position behind which this run begins. Names of requests that hold it are others than those of an earlier run on the log
    """

    world: str
    content: Content
    players: int
    seed: int = 1
    run: int = 0


class Bot(Protocol):
    """One that acts in its own time.

    name   the entity that it is
    dice   by which its pauses are drawn
    per_s  deeds a second, on average, above 0
    """

    name: str
    dice: Random

    @property
    def per_s(self) -> float:
        """Deeds a second, on average."""

    def say(self) -> Draft:
        """The next thing that it says."""

    def leave(self) -> Draft | None:
        """The bot's goodbye when the demo ends; None: it is not there."""


class Bots:
    """Bots of a game without any: no player, and nothing to say. A game's own bots override what they do.

    players   those that act in their own time
    releases  versions of the game's engine that the release feed lists at first; none: there is no feed
    later     the version that comes out while the demo runs
    due       what must be answered, beyond the standard subsystems' commands
    views     projection → the view that is looked at first, where it is not its first table
    """

    releases: ClassVar[tuple[str, ...]] = ()
    later: ClassVar[str] = ""
    due: ClassVar[Due] = {}
    views: ClassVar[Mapping[str, str]] = {}
    players: Sequence[Bot] = ()

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def opening(self) -> Iterable[Draft]:
        """The events before the first deed: places, services, prices."""
        return ()

    def turn(self, number: int) -> Iterable[Draft]:
        """The events of this turn, 1, 2, 3 and so on, of all but the players. A turn is about a second."""
        return ()

    def hear(self, event: Event) -> None:
        """Take in the next event of the world, in log order."""

    def draft(self, data: Message, entity: str, subsystem: str = "game") -> Draft:
        """An event about an entity of this world, from an edge."""
        return Draft(data=data, world=self.stage.world, entity=entity, subsystem=subsystem)


def check_bots(game: Game) -> None:
    """Raise `BadSettings` where a game has nobody to play its demo."""
    if game.bots is None:
        raise BadSettings(
            f"wanted bots, which play the demo, found none in the game {game.name}: give it some, Game(bots=...), "
            "as docs/how-to/bring-your-own-game.md shows, or run it without anybody by `worldbus up`"
        )


def bots_of(game: Game, world: str, *, players: int, seed: int, run: int = 0) -> Bots:
    """The bots of a game, made from the content of that world.

    Raises `BadSettings` where it has none, where their tables cannot be read, and where what is made cannot play.
    """
    check_bots(game)
    assert game.bots is not None
    found: object = game.bots(Stage(world=world, content=game.content_of(world), players=players, seed=seed, run=run))
    if not isinstance(found, Bots):
        raise BadSettings(f"wanted `bots` of the game {game.name} to make worldbus.demo.Bots, found {type(found).__name__}: derive from it")
    if still := [bot.name for bot in found.players if not bot.per_s > 0]:
        raise BadSettings(f"bots of the game {game.name}: wanted deeds a second (`per_s`) above 0, found others of {', '.join(still[:5])}")
    return found


def asked(bots: Callable[[], T]) -> T:
    """Ask bots; a mistake in them is raised as `BadSettings` with its place, for it is the game's and no bug of ours."""
    try:
        return bots()
    except WorldbusError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise BadSettings(f"bots of the game: {last.filename}:{last.lineno} raised {type(error).__name__}: {error}") from error
