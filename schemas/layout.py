"""The places where a repository keeps its events: worldbus's own, and that of a game."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders of one repository.

    root      its folder; messages name paths from here
    proto     the .proto sources
    gen       generated classes and type stubs
    module    the Python package that `gen` is
    corpus    recorded events
    released  the promises of the last release
    command   what brings all of it in step, for messages
    better    dataclasses of betterproto2; None: none are generated
    of_a_game its sources may import worldbus's own, whose code lies elsewhere
    """

    root: Path
    proto: Path
    gen: Path
    module: str
    corpus: Path
    released: Path
    command: str
    better: Path | None = None
    of_a_game: bool = True

    def shown(self, path: Path) -> str:
        """A path as messages name it."""
        return path.relative_to(self.root).as_posix()


OURS: Final = Layout(
    root=HERE.parent,
    proto=HERE / "proto",
    gen=HERE / "gen",
    module="schemas.gen",
    corpus=HERE / "corpus",
    released=HERE / "released.txt",
    command="make proto",
    better=HERE.parent / "clients" / "python" / "worldbus_client" / "gen",
    of_a_game=False,
)
