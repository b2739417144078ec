"""The shape that a request wants its answer in: checking an engine's answer, and putting a line into that shape for the lower rungs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from inference import json_schema
from inference.errors import PromptRejected

SAY: Final = "say"
QUIET: Final = ("none", "neutral")  # values of an enumeration that decide nothing
_LEFT_OUT: Final = object()


def plain(text: str) -> str:
    """The text without control characters, and without marks that turn the direction of what follows; line ends become spaces.

    >>> plain("a\\x00b\\nc")
    'ab c'
    """
    return "".join(" " if char in "\n\r\t" else char for char in text if char in "\n\r\t" or not _control(char))


def _control(char: str) -> bool:
    code = ord(char)
    return code < 32 or 127 <= code < 160 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or 0xD800 <= code <= 0xDFFF


def speakable(declared: Sequence[str]) -> tuple[str, ...]:
    """The properties of an answer that are spoken: those that the request declares, else `say`."""
    return tuple(declared) or (SAY,)


def fits(text: str, schema: str, choices: Sequence[str]) -> bool:
    """Return whether an answer has the form that was asked for; for a schema, `inference.json_schema` decides."""
    if choices:
        return text in choices
    if not schema:
        return bool(text.strip())
    try:
        return json_schema.fits(json.loads(text), json_schema.schema(schema))
    except (ValueError, RecursionError, PromptRejected):
        return False


def spoken_of(text: str, schema: str, names: Sequence[str] = (SAY,)) -> str:
    """The spoken part of an answer: the texts of the properties `names` of an object in its order, otherwise all of it."""
    if schema:
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return plain(text)
        if isinstance(parsed, dict):
            return plain(" ".join(value for name, value in parsed.items() if name in names and isinstance(value, str) and value))
    return plain(text)


def dressed(line: str, schema: str, choices: Sequence[str], prepared: Sequence[str], names: Sequence[str] = (SAY,)) -> str:
    """`line` in the shape that was asked for, with nothing decided.

    `prepared` are whole answers by the author: their other properties are taken. Where there are none, constants and quiet values
    (`none`, `neutral`) fill what is required; what would decide something is left out, also where the schema requires it.
    """
    if choices:
        return line if line in choices else next((one for one in prepared if one in choices), choices[0])
    if not schema or fits(line, schema, ()):
        return line
    for whole in prepared:
        try:
            answer = json.loads(whole)
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict) and (said := [name for name in answer if name in names]):
            dressed_ = json.dumps(
                {key: value for key, value in answer.items() if key not in said[1:]} | {said[0]: line}, ensure_ascii=False
            )
            if fits(dressed_, schema, ()):
                return dressed_
    return json.dumps(_undecided(json_schema.schema(schema), line, names), ensure_ascii=False)


def _undecided(shape: json_schema.JsonSchema, line: str, names: Sequence[str]) -> Any:
    """The outermost value of a schema, saying `line`."""
    if "properties" not in shape and "object" not in _kinds(shape):
        return line
    value = _object(shape, 0)
    name = next((one for one in names if one in shape.get("properties", {})), names[0])
    most = shape.get("properties", {}).get(name)
    return {name: line[: most.get("maxLength", len(line))] if isinstance(most, dict) else line} | {
        key: inner for key, inner in value.items() if key not in names
    }


def _kinds(shape: json_schema.JsonSchema) -> list[str]:
    kinds = shape.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _object(shape: json_schema.JsonSchema, depth: int) -> dict[str, Any]:
    properties = shape.get("properties", {})
    filled = {name: _quiet(properties.get(name), depth + 1) for name in shape.get("required", ())}
    return {name: value for name, value in filled.items() if value is not _LEFT_OUT}


def _quiet(shape: Any, depth: int) -> Any:
    """The value of a schema that decides nothing, `_LEFT_OUT` if it has none."""
    if not isinstance(shape, dict) or depth > json_schema.MAX_NESTING:
        return _LEFT_OUT
    if "const" in shape:
        return shape["const"]
    if "enum" in shape:
        only = shape["enum"]
        return only[0] if len(only) == 1 else next((quiet for quiet in QUIET if quiet in only), _LEFT_OUT)
    kinds = _kinds(shape)
    if "null" in kinds:
        return None
    if "object" in kinds or "properties" in shape:
        return _object(shape, depth)
    return [] if kinds == ["array"] and not shape.get("minItems") else _LEFT_OUT
