"""JSON of a wanted shape, made of authored text: how a grammar answers a request for structured output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from inference.dressing import QUIET
from inference.errors import PromptRejected
from inference.json_schema import MAX_NESTING, JsonSchema, fits

Text = Callable[[str], str | None]  # name of a property → its text, None if there is no rule of that name

_THOUGHT: Final = ("$ref", "allOf", "format", "if", "multipleOf", "not", "pattern", "patternProperties")  # cannot be met without thinking


def fill(shape: JsonSchema, text: Text, most_words: int, die: int = 0) -> str:
    """Compact JSON that fits `shape`. Texts come from `text`; optional properties for which it has none are left out.

    A required enumeration for which `text` names no value has its quiet one (`none`, `neutral`), else one by `die`: of such an answer
    nobody may take a fact. Texts hold at most `most_words` words together. Raises `PromptRejected` for schemas that cannot be filled
    without thinking.
    """
    value = _value(shape, "", text, [most_words], die, 0)
    if not fits(value, shape):
        raise _cannot("", "what contradicts itself or needs thinking")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def crop(text: str, words: int, characters: int | None = None) -> str:
    """`text` cut to so many words and characters, between words."""
    kept = " ".join(text.split(" ")[: max(words, 0)])
    if characters is not None and len(kept) > characters:
        kept = kept[:characters]
        kept = kept.rpartition(" ")[0] or kept
    return kept


def _value(shape: JsonSchema | bool, name: str, text: Text, left: list[int], die: int, depth: int) -> object:
    if depth > MAX_NESTING:
        raise _cannot(name, "endless nesting")
    if isinstance(shape, bool):
        return text(name) or ""
    if thought := [key for key in _THOUGHT if key in shape]:
        raise _cannot(name, ", ".join(thought))
    if "const" in shape:
        return shape["const"]
    if "enum" in shape:
        values = shape["enum"]
        return next((value for value in (text(name), *QUIET) if value in values), values[die % len(values)])
    for key in ("anyOf", "oneOf"):
        if shape.get(key):
            return _value(shape[key][0], name, text, left, die, depth + 1)
    return _typed(shape, name, text, left, die, depth)


def _typed(shape: JsonSchema, name: str, text: Text, left: list[int], die: int, depth: int) -> object:
    kinds = shape.get("type", "object" if "properties" in shape else "string")
    match kinds[0] if isinstance(kinds, list) else kinds:
        case "object":
            required = shape.get("required", ())
            properties = {**{key: {"type": "string"} for key in required}, **shape.get("properties", {})}
            wanted = {key: inner for key, inner in properties.items() if key in required or text(key) is not None}
            return {key: _value(inner, key, text, left, die, depth + 1) for key, inner in wanted.items()}
        case "array":
            return [
                _value(shape.get("items", True), name, text, left, die, depth + 1) for _ in range(min(_whole(shape, "minItems", name), 64))
            ]
        case "string":
            return _string(shape, name, text, left)
        case "integer" | "number":
            return _number(shape, name)
        case "boolean":
            return False
        case _:
            return None


def _string(shape: JsonSchema, name: str, text: Text, left: list[int]) -> str:
    most = _whole(shape, "maxLength", name) if "maxLength" in shape else None
    said = crop(text(name) or text("") or "", left[0], most)
    left[0] -= len(said.split())
    if len(said) < _whole(shape, "minLength", name):
        raise _cannot(name, f"at least {shape['minLength']} characters")
    return said


def _number(shape: JsonSchema, name: str) -> int | float:
    bounds = {key: shape[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if key in shape}
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds.values()):
        raise PromptRejected(f"schema: wanted numbers as bounds of {name or 'the answer'}, found {bounds}", code="BAD_SCHEMA")
    low = max([bounds.get("minimum", float("-inf")), bounds.get("exclusiveMinimum", float("-inf")) + 1])
    high = min([bounds.get("maximum", float("inf")), bounds.get("exclusiveMaximum", float("inf")) - 1])
    if low > high:
        raise _cannot(name, f"a number from {low} to {high}")
    return int(value) if (value := min(max(0, low), high)) == int(value) else value


def _whole(shape: JsonSchema, key: str, name: str) -> int:
    value = shape.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PromptRejected(f"schema: wanted a whole number as {key} of {name or 'the answer'}, found {value!r:.80}", code="BAD_SCHEMA")
    return value


def _cannot(name: str, what: str) -> PromptRejected:
    return PromptRejected(f"schema: {name or 'the answer'} asks for {what}, which grammars cannot make: use a model", code="BAD_SCHEMA")
