"""Front matter: the lines of YAML between two `---` at the beginning of a document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from worldbus.edges.lore.errors import BadLore
from worldbus.edges.lore.marks import KEYS, misspelt

MAX_CHARACTERS: Final = 65_536
MAX_TITLE: Final = 200
LOOKED_THROUGH: Final = 40
"""Lines of a document's beginning in which front matter that is none is looked for."""
DESCRIBING: Final = ("description", "summary", "abstract", "subtitle", "excerpt")
"""Keys whose text is part of the document: what it is about, said before it begins."""
PROSE: Final = 5  # words from which on the text of another key is more than a name or a date
_FENCE: Final = "---"
_NULL: Final = "tag:yaml.org,2002:null"
_STRING: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_COMMENT: Final = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
_STRAY: Final = re.compile(r"^[^\w\n]*(audience|since)[\"'\s]*[:=]", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """The contents of the front matter. `lines` is how many lines of the file it takes, `at` the line of each key.

    `texts` are what it tells of the document, each with its line; `unread` the keys of other text, which nobody will find.
    """

    title: str = ""
    said: dict[str, Sequence[str]] = field(default_factory=dict)
    lines: int = 0
    at: dict[str, int] = field(default_factory=dict)
    texts: tuple[tuple[int, str], ...] = ()
    unread: tuple[str, ...] = ()


def front_matter(lines: Sequence[str]) -> FrontMatter:
    """Read it; a document that begins with text has none. Raises `BadLore` with the line.

    Anything that begins like front matter has to be whole: what it says about the audience must not be lost. So a document whose text
    begins with such words, be it behind a wrong fence or without one, is refused as well.
    """
    found = _fenced(lines)
    _check_stray(lines, found.lines)
    return found


def _fenced(lines: Sequence[str]) -> FrontMatter:
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


def _check_stray(lines: Sequence[str], begin: int) -> None:
    """Refuse text before the first heading that looks like front matter and was not taken for it."""
    end = next((number for number in range(begin, len(lines)) if lines[number].startswith("#")), len(lines))
    text = "\n".join(lines[begin : min(end, begin + LOOKED_THROUGH)])
    text = _COMMENT.sub(lambda comment: "\n" * comment.group().count("\n"), text)
    found = _STRAY.search(text)
    if found is not None:
        raise BadLore(
            f"`{found[1]}` looks like front matter, which is YAML between two lines `---` before anything else: put it there, "
            "or, if it is text, behind a heading",
            code="BAD_FRONT_MATTER",
            line=begin + text.count("\n", 0, found.start(1)) + 1,
        )


def _mapping(text: str, offset: int) -> tuple[dict[str, yaml.Node], dict[str, int]]:
    """The mapping that `text` is, and the line of each key. Values stay as they are written: `007` is no 7, `yes` no True."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise BadLore("wanted `key: value` lines in the front matter, found something else", code="BAD_FRONT_MATTER", line=offset)
        at: dict[str, int] = {}
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            line = offset + key.start_mark.line
            if key.tag == _MERGE:
                raise BadLore(
                    "front matter takes nothing over from elsewhere (`<<`): write the keys out", code="BAD_FRONT_MATTER", line=line
                )
            if key.value in at:
                raise BadLore(f"{ascii(key.value)[:60]} stands twice in the front matter: keep one", code="BAD_FRONT_MATTER", line=line)
            at[key.value], values[key.value] = line, value
        yaml.load(text, Loader=yaml.SafeLoader)  # for its faults
        return values, at
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


def _checked(values: dict[str, yaml.Node], at: dict[str, int], lines: int) -> FrontMatter:
    for key in values:
        if (meant := misspelt(key)) is not None:
            raise BadLore(f"front matter says {ascii(key)[:60]}: did you mean {meant}?", code="BAD_FRONT_MATTER", line=at[key])
    named = {key.lower(): key for key in reversed(values)}  # `Title` is a title as well
    title = _title(values[named["title"]], at[named["title"]]) if "title" in named else ""
    said: dict[str, Sequence[str]] = {key: _words(values[key], key, at[key]) for key in KEYS if key in values}
    texts = [(at[named[key]], text) for key in DESCRIBING if key in named and (text := " ".join(_prose(values[named[key]])))]
    known = {"title", *KEYS, *(key for key in DESCRIBING if key in named)}
    unread = [key for key, value in values.items() if key.lower() not in known and len(" ".join(_prose(value)).split()) >= PROSE]
    return FrontMatter(title=title, said=said, lines=lines, at=at, texts=tuple(sorted(texts)), unread=tuple(unread))


def _prose(node: yaml.Node) -> list[str]:
    """The texts in a value, however deep, each on one line."""
    texts: list[str] = []
    waiting: list[yaml.Node] = [node]
    met: set[int] = set()  # aliases may go round in a circle
    while waiting:
        one = waiting.pop()
        if id(one) in met:
            continue
        met.add(id(one))
        if isinstance(one, yaml.ScalarNode):
            texts += [" ".join(one.value.split())] if one.tag == _STRING and one.value.strip() else []
        elif isinstance(one, yaml.SequenceNode):
            waiting += reversed(one.value)
        elif isinstance(one, yaml.MappingNode):
            waiting += [value for _, value in reversed(one.value)]
    return texts


def _title(node: yaml.Node, line: int) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise BadLore("title wants a text", code="BAD_FRONT_MATTER", line=line)
    title = "" if node.tag == _NULL else " ".join(node.value.split())
    if len(title) > MAX_TITLE:
        raise BadLore(f"title has {len(title)} characters, wanted at most {MAX_TITLE}", code="BAD_FRONT_MATTER", line=line)
    return title


def _words(node: yaml.Node, key: str, line: int) -> Sequence[str]:
    """A list of words, a text with commas, or nothing."""
    parts: list[str]
    if isinstance(node, yaml.ScalarNode):
        parts = [] if node.tag == _NULL else node.value.split(",")
    elif isinstance(node, yaml.SequenceNode) and all(isinstance(one, yaml.ScalarNode) and one.tag != _NULL for one in node.value):
        parts = [one.value for one in node.value]
    else:
        what = "a mapping" if isinstance(node, yaml.MappingNode) else "a list of something else"
        raise BadLore(f"{key} wants words, or a list of them, found {what}", code="BAD_FRONT_MATTER", line=line)
    return [word for part in parts if (word := part.strip())]
