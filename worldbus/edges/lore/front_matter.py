"""Front matter: the lines of YAML between two `---` at the beginning of a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from worldbus.edges.lore.errors import BadLore
from worldbus.edges.lore.marks import KEYS, misspelt

MAX_CHARACTERS: Final = 65_536
MAX_TITLE: Final = 200
_FENCE: Final = "---"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """What the front matter says. `lines` is how many lines of the file it takes, `at` the line of each key."""

    title: str = ""
    said: dict[str, Sequence[str]] = field(default_factory=dict)
    lines: int = 0
    at: dict[str, int] = field(default_factory=dict)


def front_matter(lines: Sequence[str]) -> FrontMatter:
    """Read it; a document that begins with text has none. Raises `BadLore` with the line.

    Anything that begins like front matter has to be whole: what it says about the audience must not be lost.
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    opening = lines[first].rstrip() if lines else ""
    if opening == "+++":
        raise BadLore(
            "wanted front matter in YAML between two lines `---`, found `+++`: write it in YAML", code="BAD_FRONT_MATTER", line=first + 1
        )
    if opening != _FENCE:
        return FrontMatter()
    end = next((number for number in range(first + 1, len(lines)) if lines[number].rstrip() in (_FENCE, "...")), None)
    if end is None:
        raise BadLore("wanted a line `---` that ends the front matter, found none", code="BAD_FRONT_MATTER", line=first + 1)
    text = "\n".join(lines[first + 1 : end])
    if len(text) > MAX_CHARACTERS:
        raise BadLore(f"front matter has {len(text)} characters, wanted at most {MAX_CHARACTERS}", code="BAD_FRONT_MATTER", line=first + 1)
    values, at = _mapping(text, offset=first + 2)
    return _checked(values, at, end + 1)


def _mapping(text: str, offset: int) -> tuple[dict[str, Any], dict[str, int]]:
    """The mapping that `text` is, and the line of each key."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise BadLore("wanted `key: value` lines in the front matter, found something else", code="BAD_FRONT_MATTER", line=offset)
        at: dict[str, int] = {}
        for key, _ in node.value:
            line = offset + key.start_mark.line
            if key.value in at:
                raise BadLore(f"{ascii(key.value)[:60]} stands twice in the front matter: keep one", code="BAD_FRONT_MATTER", line=line)
            at[key.value] = line
        return dict(yaml.load(text, Loader=yaml.SafeLoader)), at
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context
        raise BadLore(
            f"wanted YAML in the front matter, found a fault: {problem}", code="BAD_FRONT_MATTER", line=offset + (mark.line if mark else 0)
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError) as error:
        raise BadLore(
            f"wanted YAML in the front matter, found a fault: {str(error)[:200]}", code="BAD_FRONT_MATTER", line=offset
        ) from error


def _checked(values: dict[str, Any], at: dict[str, int], lines: int) -> FrontMatter:
    for key in values:
        if (meant := misspelt(str(key))) is not None:
            raise BadLore(f"front matter says {ascii(key)[:60]}: did you mean {meant}?", code="BAD_FRONT_MATTER", line=at.get(str(key)))
    title = values.get("title")
    if title is not None and not isinstance(title, (str, int, float)):
        raise BadLore("title wants a text", code="BAD_FRONT_MATTER", line=at["title"])
    title = " ".join(str(title if title is not None else "").split())
    if len(title) > MAX_TITLE:
        raise BadLore(f"title has {len(title)} characters, wanted at most {MAX_TITLE}", code="BAD_FRONT_MATTER", line=at["title"])
    said: dict[str, Sequence[str]] = {key: _list(values[key], key, at[key]) for key in KEYS if key in values}
    return FrontMatter(title=title, said=said, lines=lines, at=at)


def _list(value: Any, key: str, line: int) -> Sequence[str]:
    """A list of words, a text with commas, or nothing."""
    if value is None:
        return ()
    parts = value if isinstance(value, list) else str(value).split(",") if isinstance(value, (str, int, float)) else None
    if parts is None or not all(isinstance(part, (str, int, float)) and not isinstance(part, bool) for part in parts):
        raise BadLore(f"{key} wants words, or a list of them, found {type(value).__name__}", code="BAD_FRONT_MATTER", line=line)
    return [word for part in parts if (word := str(part).strip())]
