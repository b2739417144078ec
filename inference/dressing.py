"""The shape that a request wants its answer in: checking what an engine said, and dressing a plain line for the lower rungs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from inference import json_schema
from inference.errors import PromptRejected

SAY: Final = "say"
MOST_ITEMS: Final = 16
_QUIET: Final = ("none", "neutral")  # what an enumeration is filled with when nobody chose


def plain(text: str) -> str:
    """The text without control characters, and without marks that turn the direction of what follows; line ends become spaces.

    >>> plain("a\\x00b\\nc")
    'ab c'
    """
    return "".join(" " if char in "\n\r\t" else char for char in text if char in "\n\r\t" or not _control(char))


def _control(char: str) -> bool:
    code = ord(char)
    return code < 32 or 127 <= code < 160 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or 0xD800 <= code <= 0xDFFF


def fits(text: str, schema: str, choices: Sequence[str]) -> bool:
    """Whether an answer is what was asked for; what that means for a schema says `inference.json_schema`."""
    if choices:
        return text in choices
    if not schema:
        return bool(text.strip())
    try:
        return json_schema.fits(json.loads(text), json_schema.schema(schema))
    except (ValueError, RecursionError, PromptRejected):
        return False


def spoken_of(text: str, schema: str) -> str:
    """What of an answer is spoken: the property `say` of an object, otherwise all of it."""
    if schema:
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return plain(text)
        if isinstance(parsed, dict):
            say = parsed.get(SAY)
            return plain(say) if isinstance(say, str) else ""
    return plain(text)


def dressed(line: str, schema: str, choices: Sequence[str], prepared: Sequence[str]) -> str:
    """`line` in the shape that was asked for. `prepared` are whole answers by the author: their other properties are taken."""
    if choices:
        return line if line in choices else choices[0]
    if not schema or fits(line, schema, ()):
        return line
    for whole in prepared:
        try:
            answer = json.loads(whole)
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict) and SAY in answer:
            dressed_ = json.dumps(answer | {SAY: line}, ensure_ascii=False)
            if fits(dressed_, schema, ()):
                return dressed_
    return json.dumps(_filled(json_schema.schema(schema), line, 0), ensure_ascii=False)


def _filled(schema: Any, line: str, depth: int) -> Any:
    """The plainest value of a schema that says `line`."""
    if not isinstance(schema, dict) or depth > 8:
        return line
    if "const" in schema:
        return schema["const"]
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return next((quiet for quiet in _QUIET if quiet in enum), enum[0])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _filled(schema[key][0], line, depth + 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    match kinds if isinstance(kinds, str) else kinds[0]:
        case "object":
            properties = schema.get("properties", {})
            return {name: _filled(properties.get(name), line, depth + 1) for name in schema.get("required", list(properties))}
        case "array":
            return [_filled(schema.get("items"), line, depth + 1) for _ in range(min(schema.get("minItems", 0), MOST_ITEMS))]
        case "integer" | "number":
            return min(max(0, schema.get("minimum", 0)), schema.get("maximum", math.inf))
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return line[: schema.get("maxLength", len(line))]
