"""A game as one value: who acts in it, what is read from its log, and the content that each world is played by.

    game = Game(
        name="spaceport",
        handlers=(*STANDARD, docking, customs),
        projections=(*STANDARD_PROJECTIONS, berths),
        content=Content(Path(__file__).parent / "content"),
        packages=("spaceport.gen",),
    )

Making it imports its packages, whose types are known to every part of worldbus from then on, and reads no other file. What reads the log
alone needs no content; a table that cannot be read stops only who plays by it.
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
from handlers.rights import RIGHTS, Rights
from schemas import registry, upcast
from schemas.errors import BadPackage
from worldbus.emitters import EDGES

if TYPE_CHECKING:
    from types import ModuleType

    from google.protobuf.message import Message

    from handlers.content import Content
    from handlers.permissions import Right
    from projections.projection import Projection
    from schemas.upcast import Upcast
    from worldbus.demo.bots import Bots, Stage


@dataclass(frozen=True, kw_only=True)
class Game:
    """The parts of one game.

    name         a subject token
    handlers     its subsystems. Those that play by content are given it here
    projections  its read models
    content      of every world that has none of its own
    worlds       world -> its own content
    plays        the worlds that it plays on a bus that it shares with other games; None: every world
    mark         stands before the names of its consumers; None: its name, and empty for a game that was on its bus before games had names
    packages     its own event types: generated modules, or Python packages of such, or their names (`schemas.registry.add`)
    upcasts      steps from old types of these packages to new ones (`schemas.upcast`)
    rights       type of these packages -> who may say it. A type without a row may be said by game servers, and by no client
    edges        subsystem outside the bus -> the event types that it alone may say
    may_not      (subsystem, full type name) -> the reason why it may not say that type; empty: it may. None: the rights say it
    engine_line  the engine whose releases the version monitor is told about
    bots         what makes those who play its demo, when it is played (`worldbus.demo.Bots`). None: it has no demo
    """

    name: str
    handlers: tuple[Subsystem, ...]
    projections: tuple[Projection, ...]
    content: Content
    worlds: Mapping[str, Content] = field(default_factory=dict)
    plays: frozenset[str] | None = None
    mark: str | None = None
    packages: tuple[ModuleType | str, ...] = ()
    upcasts: tuple[Upcast, ...] = ()
    rights: Mapping[type[Message], Right] = field(default_factory=dict)
    edges: Mapping[str, tuple[type[Message], ...]] = field(default_factory=lambda: EDGES)
    may_not: Callable[[str, str], str] | None = None
    engine_line: str = "unreal"
    bots: Callable[[Stage], Bots] | None = None

    def __post_init__(self) -> None:
        check_token(self.name, "name of a game")
        _once("handlers", [one.name for one in self.handlers])
        _once("projections", [one.name for one in self.projections])
        if strange := sorted(set(self.worlds) - (self.plays or set(self.worlds))):
            raise ValueError(f"wanted content of worlds that {self.name} plays, found content of {', '.join(strange)}: add them to `plays`")
        mine = registry.add(*self.packages)
        upcast.add(self.upcasts)
        self._check_types()
        object.__setattr__(self, "projections", tuple(one.among(mine) for one in self.projections))
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
    def allowed(self) -> Rights:
        """The rows of the standard subsystems, and its own."""
        return Rights({**RIGHTS, **self.rights})

    @cached_property
    def emitters(self) -> Emitters:
        """The event types that each subsystem may emit."""
        return Emitters(self.handlers, self.edges, self.may_not or self.allowed.problem)

    def _check_types(self) -> None:
        """Raise `BadPackage` for a type that would be unknown when its first event is read, and for a row that nobody would go by."""
        uses = [(one.name, kind) for one in self.handlers for kind in (*one.listens_to, *one.emits, *one.retired)]
        uses += [(one.name, kind) for one in self.projections for kind in one.on]
        uses += [(name, kind) for name, kinds in self.edges.items() for kind in kinds]
        uses += [("rights", kind) for kind in self.rights]
        for name, kind in uses:
            if not registry.knows(kind):
                full_name = kind.DESCRIPTOR.full_name
                raise BadPackage(
                    f"{name} names {full_name}, which is in no package of the game {self.name}: add {kind.__module__!r} to them"
                )
        for kind in self.rights:
            if registry.is_ours(kind):
                raise BadPackage(
                    f"rights: {kind.DESCRIPTOR.full_name} is worldbus's own, and its subsystem goes by the row that comes along"
                )


def _once(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"wanted {what} of different names, found {', '.join(twice)} more than once")
