"""Parts that several operations share: names, numbers, answers that are problems."""

from __future__ import annotations

from typing import Any, Final

from bus.check import MAX_ID
from worldbus.gateway.problem import CONTENT_TYPE as PROBLEM

Schema = dict[str, Any]

TOKEN: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
ID: Final[Schema] = {"type": "string", "pattern": "^[\\x21-\\x7e]+$", "minLength": 1, "maxLength": MAX_ID}
POSITION: Final[Schema] = {"type": "integer", "format": "int64", "minimum": 1, "description": "Where the event is in the log, for ever."}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
OPEN: Final[Schema] = {"type": "object", "additionalProperties": True}
"""An object of whatever members: without the second line, generators of clients take it for one that is always empty."""
COUNTS: Final[Schema] = {"recorded": COUNT, "replayed": COUNT, "failed": COUNT}


def ref(name: str) -> Schema:
    """A schema of this document."""
    return {"$ref": f"#/components/schemas/{name}"}


def problems(**which: str) -> dict[str, Any]:
    """Answers that are problems: status (`s400`) and when."""
    later = {"Retry-After": {"description": "Seconds until it is worth trying again.", "schema": {"type": "integer", "minimum": 1}}}
    return {
        status[1:]: {
            "description": words,
            "content": {PROBLEM: {"schema": ref("Problem")}},
            **({"headers": later} if status in ("s429", "s503") else {}),
        }
        for status, words in which.items()
    }


GUARDED: Final = problems(
    s400="The request cannot be read.", s401="No token, or one that this gateway does not know.", s431="Too many or too long headers."
)


def several(name: str, words: str, schema: Schema) -> dict[str, Any]:
    """A parameter of the address with several values, separated by commas."""
    return {
        "name": name,
        "in": "query",
        "description": words,
        "schema": {"type": "array", "items": schema, "maxItems": 32},
        "explode": False,
    }


PROBLEM_SCHEMA: Final[Schema] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was wanted, what was found, and the next step."},
        "code": {"type": "string", "description": "Stable: docs/reference/errors.md."},
        "errors": {
            "type": "array",
            "description": "Of a batch that was refused: each fault, with `index`.",
            "items": OPEN,
        },
        "results": {
            "type": "array",
            "description": "Of a batch that is recorded in part: each event.",
            "items": OPEN,
        },
        **COUNTS,
        "world": {"type": "string", "description": "Of a conflict: the world of the lane that is not where it was expected."},
        "subsystem": {"type": "string", "description": "Of a conflict: the lane's subsystem."},
        "entity": {"type": "string", "description": "Of a conflict: the lane's entity."},
        "expected": {**COUNT, "description": "Of a conflict: the position that was expected."},
        "found": {"description": "Of a conflict: the position where the lane is, 0 if it has no event; of a limit: what was found."},
    },
}
