"""Changes between two saves: files, and the handlers and projections that are other ones because of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, Final, Protocol

from worldbus.dev.told import near

NAMED: Final = 4  # changed files
ANSWERS: Final = "answers"
LORE: Final = "lore"
PARTS: Final = {  # of the content that no handler plays by
    ANSWERS: "answers without a model: other ladders or grammars than before",
    LORE: "lore: other documents than before",
}
AGO_S: Final = 1.0  # that a save is seen at the latest; what is older was moved here


class Game(Protocol):
    """A game that was loaded before: the hash of each handler's rules, the digest of each projection and of each part of its content."""

    rules: dict[str, str]
    views: dict[str, str]
    parts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Changed:
    """The handlers, projections and parts of content that are not what they were; `came` and `went` are handlers."""

    rules: list[str]
    views: list[str]
    parts: list[str]
    came: list[str]
    went: list[str]

    @classmethod
    def between(cls, old: Game | None, loaded: dict[str, Any]) -> Changed:
        """The difference between the game that plays and one that was loaded; none from nothing."""
        if old is None:
            return cls([], [], [], [], [])
        rules, views = loaded["rules"], loaded["views"]
        return cls(
            rules=[name for name, hashed in rules.items() if old.rules.get(name, hashed) != hashed],
            views=[name for name in {**old.views, **views} if old.views.get(name) != views.get(name)],
            parts=[name for name in {**old.parts, **loaded["parts"]} if old.parts.get(name) != loaded["parts"].get(name)],
            came=[name for name in rules if name not in old.rules],
            went=[name for name in old.rules if name not in rules],
        )

    @property
    def any(self) -> bool:
        """True if anything is."""
        return bool(self.rules or self.views or self.parts or self.came or self.went)

    def lines(self, old: Game | None, loaded: dict[str, Any]) -> list[str]:
        """The differences from before, in words."""
        if old is None:
            return []
        told = [f"rules of {name}: {old.rules[name]} → {loaded['rules'][name]}" for name in self.rules]
        told += [f"handler {name} is new" for name in self.came]
        told += [f"handler {name} is gone; what it said stays in the log" for name in self.went]
        told += [PARTS[name] for name in self.parts]
        return told or ([] if self.views else ["the rules of every handler are the same"])


def saved(files: Sequence[str]) -> float:
    """The moment at which these files were saved, in monotonic seconds; now, where their times say nothing of that."""
    times = []
    for file in files:
        with suppress(OSError):
            times.append(Path(file).stat().st_mtime)
    ago = time.time() - max(times, default=0.0)
    return time.monotonic() - (ago if 0 <= ago < AGO_S else 0.0)


def is_code(file: str) -> bool:
    """True for a file that may do something although no rule and no projection reaches it."""
    return file.endswith((".py", "pyproject.toml"))


def forget_compiled(file: str) -> None:
    """Python takes compiled code for up to date by the second of the change and the size: two quick saves may agree in both."""
    if file.endswith(".py"):
        with suppress(OSError, NotImplementedError):
            Path(cache_from_source(file)).unlink()


def names_of(files: Sequence[str]) -> str:
    """The first few files, as one types them."""
    shown = ", ".join(near(file) for file in files[:NAMED])
    return f"{shown} and {len(files) - NAMED} more" if len(files) > NAMED else shown


def counted(number: int, word: str) -> str:
    """A number and its word, one or several."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def listed(word: str, names: Sequence[str]) -> str:
    """Names behind what they name, one or several."""
    return f"{word}{'' if len(names) == 1 else 's'} {', '.join(names)}"
