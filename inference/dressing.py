"""The shape that a request wants its answer in: checking what an engine said, and dressing a plain line for the lower rungs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

SAY: Final = "say"
_QUIET: Final = ("none", "neutral")  # what an enumeration is filled with when nobody chose
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
    "null": (type(None),),
}  # fmt: skip


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
    """Whether an answer is what was asked for. Of a schema: types, required and closed properties, enumerations, lengths, items."""
    if choices:
        return text in choices
    if not schema:
        return bool(text.strip())
    try:
        return _fits(json.loads(text), _parsed(schema))
    except (ValueError, RecursionError):
        return False


@lru_cache(maxsize=1024)
def _parsed(schema: str) -> dict[str, Any]:
    parsed = json.loads(schema)
    return parsed if isinstance(parsed, dict) else {}


def _fits(value: Any, schema: Any) -> bool:
    if not isinstance(schema, dict):
        return schema is not False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    wanted = schema.get("type")
    kinds = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    if kinds and not any(_is(value, kind) for kind in kinds):
        return False
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    if isinstance(value, list):
        return all(_fits(item, schema.get("items", True)) for item in value)
    if isinstance(value, dict):
        return _fits_object(value, schema)
    return True


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS.get(kind, ()))


def _fits_object(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    if any(name not in value for name in schema.get("required", ())):
        return False
    if schema.get("additionalProperties") is False and any(name not in properties for name in value):
        return False
    return all(_fits(item, properties.get(name, True)) for name, item in value.items())


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
    return json.dumps(_filled(_parsed(schema), line, 0), ensure_ascii=False)


def _filled(schema: Any, line: str, depth: int) -> Any:
    """The plainest value of a schema that says `line`."""
    if not isinstance(schema, dict) or depth > 8:
        return line
    if "const" in schema:
        return schema["const"]
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return next((quiet for quiet in _QUIET if quiet in enum), enum[0])
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: _filled(properties.get(name), line, depth + 1) for name in schema.get("required", list(properties))}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return line[: schema.get("maxLength", len(line))]
