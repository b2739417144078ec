"""The content that no handler plays by: what is answered without a model, and the lore. A digest of each says whether it is another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from bus.errors import Rejected
from worldbus.dev.change import ANSWERS, LORE
from worldbus.dev.told import near, told

if TYPE_CHECKING:
    from pathlib import Path

    from handlers.content import Content
    from worldbus.game import Game

STOPPED: Final = {ANSWERS: "nobody could be answered without a model", LORE: "the knowledge base would not hold it"}


def parts(game: Game, world: str, known: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The digest of each part that the game has in this world, and a line for each thing that is wrong with those that are not `known`."""
    content = game.content_of(world)
    reads: dict[str, Callable[[str], str]] = {ANSWERS: partial(_answers, content)}
    if any(one.name == "knowledge" for one in game.projections) and (content.folder / LORE).is_dir():
        reads[LORE] = partial(_lore, content)
    found: dict[str, str] = {}
    broken: list[str] = []
    for name, read in reads.items():
        try:
            found[name] = read(known.get(name, ""))
        except Exception as error:  # whatever a file makes its reader raise
            broken += [f"{line} ({STOPPED[name]})" for line in _lines(error, content)]
    return found, broken


def _lines(error: Exception, content: Content) -> list[str]:
    """The mistakes in a part, in one line each."""
    if not isinstance(error, Rejected) or error.code != "BAD_LORE":
        return [told(error)]
    from worldbus.edges.lore import BadDocuments  # late: a game without lore needs nothing that reads documents

    problems = error.problems if isinstance(error, BadDocuments) else []
    return [f"{near(str(content.folder / LORE / one.file))}:{one.line or 1}: {one.reason}" for one in problems] or [told(error)]


def _answers(content: Content, known: str) -> str:
    """By what the tables mean: a comment changes nothing."""
    from worldbus.tiers import answers

    return _digest([repr(answers(content)).encode()])


def _lore(content: Content, known: str) -> str:
    """By the bytes of the files: reading documents takes longer than all else that a save of something else needs."""
    from worldbus.edges.lore import documents

    folder = content.folder / LORE
    digest = _digest(_bytes(folder))
    if digest != known:
        documents(folder, content.calendar)
    return digest


def _bytes(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix().encode()
            yield path.read_bytes()


def _digest(said: Iterable[bytes]) -> str:
    digest = blake2b(digest_size=6)
    for one in said:
        digest.update(len(one).to_bytes(8, "big"))
        digest.update(one)
    return digest.hexdigest()
