"""A game as one value: who acts in it, what is read from its log, and the content that each world is played by.

    game = Game(
        name="spaceport",
        handlers=(*STANDARD, docking, customs),
        projections=(*STANDARD_PROJECTIONS, berths),
        content=Content(Path(__file__).parent / "content"),
    )

Making it reads no file. What reads the log alone needs no content; a table that cannot be read stops only who plays by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bus.emitters import Emitters
from bus.errors import BadSettings
from bus.handler import ByWorld, Subsystem
from bus.played import Played
from bus.subjects import check_token
from handlers import rights
from worldbus.emitters import EDGES

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from handlers.content import Content
    from projections.projection import Projection


@dataclass(frozen=True, kw_only=True)
class Game:
    """Everything that one game is made of.

    name         a subject token
    handlers     its subsystems. Those that play by content are given it here
    projections  its read models
    content      of every world that has none of its own
    worlds       world -> its own content
    plays        the worlds that it plays on a bus that it shares with other games; None: every world
    mark         stands before the names of its consumers; None: its name, and empty for a game that was on its bus before games had names
    edges        subsystem outside the bus -> the event types that it alone may say
    may_not      (subsystem, full type name) -> the reason why it may not say that type; empty: it may
    engine_line  the engine whose releases the version monitor is told about
    """

    name: str
    handlers: tuple[Subsystem, ...]
    projections: tuple[Projection, ...]
    content: Content
    worlds: Mapping[str, Content] = field(default_factory=dict)
    plays: frozenset[str] | None = None
    mark: str | None = None
    edges: Mapping[str, tuple[type[Message], ...]] = field(default_factory=lambda: EDGES)
    may_not: Callable[[str, str], str] = rights.problem
    engine_line: str = "unreal"

    def __post_init__(self) -> None:
        check_token(self.name, "name of a game")
        _once("handlers", [one.name for one in self.handlers])
        _once("projections", [one.name for one in self.projections])
        if strange := sorted(set(self.worlds) - (self.plays or set(self.worlds))):
            raise ValueError(f"wanted content of worlds that {self.name} plays, found content of {', '.join(strange)}: add them to `plays`")
        given = (one.under(self.content, self.worlds) if isinstance(one, ByWorld) else one for one in self.handlers)
        object.__setattr__(self, "handlers", tuple(replace(one, played=self.played) for one in given))

    @cached_property
    def played(self) -> Played:
        """The share of a bus that it plays."""
        return Played(self.name if self.mark is None else self.mark, self.plays)

    def check_plays(self, world: str) -> None:
        """Raise `BadSettings` where another game plays that world."""
        if not self.played.has(world):
            worlds = ", ".join(sorted(self.plays or ()))
            raise BadSettings(
                f"wanted a world that {self.name} plays ({worlds}), found {world!r}: name one by --world, or its game by --game"
            )

    def content_of(self, world: str) -> Content:
        """The content that a world is played by."""
        return self.worlds.get(world, self.content)

    def handler(self, name: str) -> Subsystem:
        """The subsystem of that name. Raises `KeyError`."""
        return self.by_name[name]

    @cached_property
    def by_name(self) -> Mapping[str, Subsystem]:
        """Every subsystem under its name, which is the subsystem token of what it says."""
        return {one.name: one for one in self.handlers}

    @cached_property
    def emitters(self) -> Emitters:
        """The event types that each subsystem may emit."""
        return Emitters(self.handlers, self.edges, self.may_not)


def _once(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"wanted {what} of different names, found {', '.join(twice)} more than once")
