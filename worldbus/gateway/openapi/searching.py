"""The operations that search the knowledge base."""

from __future__ import annotations

from typing import Any, Final

from worldbus.gateway.openapi.parts import COUNT, GUARDED, TOKEN, Schema, problems, ref

_QUESTION: Final[dict[str, Schema]] = {
    "text": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "The question."},
    "world": {**TOKEN, "description": "Needed unless the token has one world."},
    "tokens": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 64,
        "description": "Who asks; left out, the token's whole audience.",
    },
    "mode": {"type": "string", "enum": ["hybrid", "vector", "text"]},
    "most": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
    "as_of": {"type": "integer", "minimum": 0, "maximum": 2**53, "description": "What was known at this position; left out, now."},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 64},
    "kinds": {"type": "array", "items": {"type": "string", "enum": ["lore", "memory"]}, "maxItems": 2},
    "owner": {**TOKEN, "description": "Whose memories."},
    "asker": {**TOKEN, "description": "Under whose name the question is recorded."},
}
QUESTION: Final[Schema] = {"type": "object", "required": ["text"], "properties": _QUESTION, "additionalProperties": False}

_TEXTS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
HIT: Final[Schema] = {
    "type": "object",
    "description": "A passage, and where it stands.",
    "required": ["passage_id", "kind", "document", "title", "heading", "body", "snippet", "score", "position"],
    "properties": {
        "passage_id": {"type": "string"},
        "kind": {"type": "string", "description": "`lore` or `memory`."},
        "document": {"type": "string"},
        "title": {"type": "string"},
        "heading": _TEXTS,
        "line_from": COUNT,
        "line_to": COUNT,
        "snippet": {"type": "string"},
        "body": {"type": "string"},
        "content_hash": {"type": "string"},
        "tags": _TEXTS,
        "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "How likely the passage answers the question."},
        "ranks": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "Its rank by `text` and by `vector`."},
        "position": {**COUNT, "description": "At which it was recorded."},
    },
}
FOUND: Final[Schema] = {
    "type": "object",
    "required": ["hits", "answered", "mode", "as_of"],
    "properties": {
        "hits": {"type": "array", "items": ref("Hit")},
        "answered": {
            "type": "boolean",
            "description": "Whether one of the hits probably answers (has a score of 0.5 or more); else they are what comes nearest.",
        },
        "mode": {"type": "string"},
        "model": {"type": "string", "description": "Of the vectors; empty: by words alone."},
        "as_of": {**COUNT, "description": "The position that the answer is true at."},
        "took_us": {**COUNT, "description": "Microseconds."},
        "embed_us": {**COUNT, "description": "Of these, for the question's vector."},
    },
}


def search_get() -> dict[str, Any]:
    """With the question in the address."""
    parameters = [
        {
            "name": name,
            "in": "query",
            "schema": schema,
            **({"explode": False} if schema.get("type") == "array" else {}),
            "required": name == "text",
        }
        for name, schema in _QUESTION.items()
    ]
    return {"operationId": "search", "summary": "Search the knowledge base.", "parameters": parameters, "responses": _answers()}


def search_post() -> dict[str, Any]:
    """With the question in the body."""
    return {
        "operationId": "searchByBody",
        "summary": "Search the knowledge base, with the question in the body.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Question")}}},
        "responses": _answers(),
    }


def _answers() -> dict[str, Any]:
    return {
        "200": {
            "description": "Passages, best first; none where nothing fits, or where nothing is known yet.",
            "content": {"application/json": {"schema": ref("Found")}},
        },
        **GUARDED,
        **problems(
            s403="The token may not listen, or not in that world, or not for those who ask.",
            s408="The body came too slowly.",
            s413="Too large.",
            s417="An `Expect` header other than 100-continue.",
            s422="Not a question that can be searched for.",
            s429="Too many questions for this token.",
            s503="The knowledge base does not answer.",
        ),
    }
