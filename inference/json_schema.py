"""JSON Schema, as far as answers need it: refusing what is none before anybody works with it, and checking values against what is one.

What is checked of a value: types, enumerations, constants, required and closed properties, lengths, bounds, items, `anyOf`, `oneOf`,
`allOf` and `not`. `$ref`, `pattern`, `format` and conditions are the engine's business; where one ignores them, the answer passes here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from inference.errors import PromptRejected

MAX_SCHEMA: Final = 16_384  # characters
MAX_NESTING: Final = 32
MAX_OBJECTS: Final = 512
CODE: Final = "BAD_SCHEMA"

JsonSchema = dict[str, Any]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip
_ONE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SOME: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_TEXTS: Final = ("pattern", "format", "title", "description", "$ref")


@lru_cache(maxsize=1024)  # characters share their schemas
def schema(text: str) -> JsonSchema:
    """The JSON Schema that `text` is; the value is shared, so leave it as it is. Raises `PromptRejected` with code `BAD_SCHEMA`."""
    if len(text) > MAX_SCHEMA:
        raise PromptRejected(f"wanted a schema of at most {MAX_SCHEMA} characters, found {len(text)}: ask for less at once", code=CODE)
    if max(text.count("{"), text.count("[")) > MAX_OBJECTS:
        raise PromptRejected(f"wanted a schema of at most {MAX_OBJECTS} objects and as many lists: ask for less at once", code=CODE)
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise PromptRejected(f"wanted a JSON Schema, found no JSON: {ascii(str(error))[:200]}", code=CODE) from error
    if not isinstance(value, dict) or not value:
        raise PromptRejected(f"wanted a JSON Schema that is an object and says something, found {ascii(text)[:200]}", code=CODE)
    if _depth(value) > MAX_NESTING:
        raise PromptRejected(f"wanted a schema nested at most {MAX_NESTING} deep, found {ascii(text)[:80]}", code=CODE)
    if fault := next(_faults(value, "$"), None):
        raise PromptRejected(f"schema: {fault}", code=CODE)
    return value


def fits(value: Any, shape: Any) -> bool:
    """Return whether a JSON value fits a schema (one that `schema` has let pass, or a part of it)."""
    if not isinstance(shape, dict):
        return shape is not False
    if "enum" in shape and not any(_same(value, one) for one in shape["enum"]):
        return False
    if "const" in shape and not _same(value, shape["const"]):
        return False
    kinds = _kinds(shape)
    if kinds and not any(_is(value, kind) for kind in kinds):
        return False
    return _fits_kind(value, shape) and _fits_some(value, shape)


def _fits_kind(value: Any, shape: JsonSchema) -> bool:
    match value:
        case bool() | None:
            return True
        case str():
            return _within(len(value), shape, "minLength", "maxLength")
        case int() | float():
            low, high = shape.get("exclusiveMinimum", -math.inf), shape.get("exclusiveMaximum", math.inf)
            return (
                _within(value, shape, "minimum", "maximum")
                and (low < value or "exclusiveMinimum" not in shape)
                and (value < high or "exclusiveMaximum" not in shape)
            )
        case list():
            return _within(len(value), shape, "minItems", "maxItems") and all(fits(item, shape.get("items", True)) for item in value)
        case _:
            return _fits_object(value, shape)


def _fits_object(value: dict[str, Any], shape: JsonSchema) -> bool:
    properties, others = shape.get("properties", {}), shape.get("additionalProperties", True)
    if any(name not in value for name in shape.get("required", ())) or not _within(len(value), shape, "minProperties", "maxProperties"):
        return False
    return all(fits(item, properties.get(name, others)) for name, item in value.items())


def _fits_some(value: Any, shape: JsonSchema) -> bool:
    if "anyOf" in shape and not any(fits(value, one) for one in shape["anyOf"]):
        return False
    if "oneOf" in shape and not _strange(shape["oneOf"]) and sum(fits(value, one) for one in shape["oneOf"]) != 1:
        return False
    if "not" in shape and not _strange([shape["not"]]) and fits(value, shape["not"]):
        return False
    return all(fits(value, one) for one in shape.get("allOf", ()))


def _strange(shapes: list[Any]) -> bool:
    """Return whether one of the schemas has a rule that is not checked here: then a value may seem to fit that does not."""
    return any(
        key in json.dumps(shapes) for key in ('"$ref"', '"pattern', '"format"', '"if"', '"contains"', '"multipleOf"', '"prefixItems"')
    )


def _within(size: float, shape: JsonSchema, least: str, most: str) -> bool:
    return bool(shape.get(least, -math.inf) <= size <= shape.get(most, math.inf))


def _same(value: Any, wanted: Any) -> bool:
    """Equality of JSON: true is not 1, and 1.0 is."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_same(value[name], wanted[name]) for name in value)
    return bool(value == wanted)


def _kinds(shape: JsonSchema) -> list[str]:
    wanted = shape.get("type", [])
    return [wanted] if isinstance(wanted, str) else wanted


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _faults(shape: object, at: str) -> Iterator[str]:
    """The faults of a schema, from the outside in."""
    if isinstance(shape, bool):
        return
    if not isinstance(shape, dict):
        yield f"wanted an object at {ascii(at)[:100]}, found {ascii(shape)[:100]}"
        return
    yield from (f"wanted {wish} as {key} at {ascii(at)[:100]}, found {ascii(shape[key])[:100]}" for key, wish in _wrong(shape))
    for key in _ONE:
        if key in shape:
            yield from _faults(shape[key], f"{at}.{key}")
    for key in _SOME:
        for index, inner in enumerate(shape.get(key, ())):
            yield from _faults(inner, f"{at}.{key}[{index}]")
    for key in _NAMED:
        for name, inner in shape.get(key, {}).items():
            yield from _faults(inner, f"{at}.{name}")


def _wrong(shape: JsonSchema) -> Iterator[tuple[str, str]]:
    kinds = shape.get("type", "object")
    if not kinds or not all(isinstance(kind, str) and kind in _TYPES for kind in (kinds if isinstance(kinds, list) else [kinds])):
        yield "type", f"one or some of {', '.join(_TYPES)}"
    if "enum" in shape and (not isinstance(shape["enum"], list) or not shape["enum"]):
        yield "enum", "a list with something in it"
    if not isinstance(names := shape.get("required", []), list) or not all(isinstance(name, str) for name in names):
        yield "required", "a list of names"
    yield from ((key, "a list of schemas") for key in _SOME if key in shape and (not isinstance(shape[key], list) or not shape[key]))
    yield from ((key, "an object of schemas") for key in _NAMED if key in shape and not isinstance(shape[key], dict))
    yield from ((key, "a whole number of 0 or more") for key in _COUNTS if key in shape and not _whole(shape[key]))
    yield from ((key, "a number") for key in _BOUNDS if key in shape and not _number(shape[key]))
    yield from ((key, "a text") for key in _TEXTS if key in shape and not isinstance(shape[key], str))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _depth(value: object) -> int:
    deepest, open_ = 0, [(value, 1)]
    while open_:
        one, depth = open_.pop()
        deepest = max(deepest, depth)
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        open_.extend((item, depth + 1) for item in inner)
    return deepest
