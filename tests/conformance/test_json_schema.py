"""Our check of answers beside the reference implementation, `jsonschema`, which is in vLLM's environment: both say the same."""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import PromptRejected
from inference.json_schema import fits, schema

HERE = importlib.util.find_spec("jsonschema") is not None
needs_reference = pytest.mark.skipif(not HERE, reason="jsonschema is not in this environment: 'make test-vllm' runs this in its own")

TEXTS = st.sampled_from(["", "a", "bc", "say"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 1.5, -2.5]), TEXTS)
NAMES = st.sampled_from(["say", "action", "x"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)
KEYWORDS = st.sampled_from(
    ["type", "enum", "required", "properties", "items", "anyOf", "minLength", "maximum", "pattern", "additionalProperties"]
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
COUNTS = st.integers(0, 3)
BOUNDS = st.sampled_from([-2, 0, 1, 1.5, 2])


def _shapes(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            **dict.fromkeys(("anyOf", "oneOf", "allOf"), some),
            "not": inner,
            **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), COUNTS),
            **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), BOUNDS),
        },
    )


SCHEMAS = _shapes(st.recursive(st.booleans(), _shapes, max_leaves=5)).filter(bool)


@needs_reference
@given(SCHEMAS, VALUES)
def test_a_value_fits_exactly_if_the_reference_says_so(shape: dict[str, Any], value: Any) -> None:
    reference = importlib.import_module("jsonschema")

    assert fits(value, schema(json.dumps(shape))) == reference.Draft202012Validator(shape).is_valid(value)


@needs_reference
@given(st.dictionaries(KEYWORDS, VALUES, min_size=1, max_size=3))
def test_what_the_reference_calls_no_schema_is_refused(shape: dict[str, Any]) -> None:
    """Some that it takes are refused as well: lengths like 1.0, an enumeration of nothing."""
    reference = importlib.import_module("jsonschema")

    try:
        reference.Draft202012Validator.check_schema(shape)
    except reference.SchemaError:
        with pytest.raises(PromptRejected):
            schema(json.dumps(shape))
