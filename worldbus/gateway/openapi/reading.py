"""The operations that read: one event, streams of events and signals, and how the gateway is."""

from __future__ import annotations

from typing import Any, Final

from worldbus.gateway.bodies import JSON
from worldbus.gateway.openapi.parts import GUARDED, OPEN, TOKEN, Schema, problems, ref, several
from worldbus.gateway.stream import CONTENT_TYPE as STREAM

HEALTH: Final[Schema] = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "enum": ["ok", "ready"]},
        "checks": {"type": "object", "additionalProperties": {"type": "boolean"}},
    },
}
SIGNAL: Final[Schema] = {
    "type": "object",
    "description": "`data` where the form of the payload is known, as of words that are spoken; else its bytes as `base64`.",
    "required": ["subject"],
    "properties": {"subject": {"type": "string"}, "data": OPEN, "base64": {"type": "string", "contentEncoding": "base64"}},
}
_FROM: Final[Schema] = {"type": "string", "pattern": "^(now|[0-9]{1,18})$"}


def look() -> dict[str, Any]:
    """One event."""
    return {
        "operationId": "look",
        "summary": "The event at a position.",
        "parameters": [
            {"name": "position", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}}
        ],
        "responses": {
            "200": {"description": "The event.", "content": {JSON: {"schema": ref("RecordedEvent")}}},
            **GUARDED,
            **problems(
                s403="The token may not listen.",
                s404="None there that this token may see.",
                s422="It cannot be read.",
                s503="The log does not answer.",
            ),
        },
    }


def _stream(name: str, words: str, parameters: list[dict[str, Any]], data: Schema) -> dict[str, Any]:
    """A stream whose blocks hold `data`: what a generator gives to its caller who knows server-sent events; for others it is text.

    A ticket is no security scheme of its own here: generated clients would send the token in its place as well, and in the address.
    """
    return {
        "operationId": name,
        "summary": words,
        "description": "By the address that `POST /v1/tickets` answers, a reader that cannot send headers needs no token.",
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Server-sent events; `event: end` says why a stream ends.",
                "content": {STREAM: {"schema": {"anyOf": [data, {"type": "string"}]}}},
            },
            **GUARDED,
            **problems(
                s403="The token may not listen, or not to that world.",
                s429="Too many streams of this token.",
                s503="The log does not answer.",
            ),
        },
    }


def subscribe() -> dict[str, Any]:
    """Events as they come."""
    found = _stream(
        "subscribe",
        "Recorded events, as server-sent events.",
        [
            several("world", "Needed unless the token has one world.", TOKEN),
            several("subsystem", "Who says it; all if left out.", TOKEN),
            several("entity", "Who or what it is about; all if left out.", TOKEN),
            several("event", "Event types, simple or full; all if left out.", {"type": "string", "examples": ["PlayerJoined"]}),
            {"name": "after", "in": "query", "description": "A position, or `now`.", "schema": _FROM},
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "As `after`, and stronger: the position of the last event received. Nothing between is lost.",
                "schema": _FROM,
            },
        ],
        ref("RecordedEvent"),
    )
    found["description"] = (
        "Each event's `id` is its position, its `data` a `RecordedEvent` as JSON. Signs of life move `Last-Event-ID` on as well. An event "
        "that cannot be read comes as `event: damaged`."
    )
    return found


def signals() -> dict[str, Any]:
    """The stream of signals, which are never recorded."""
    return _stream(
        "signals",
        "What is worth knowing only now: the words of a line while they are spoken.",
        [
            {"name": "world", "in": "query", "description": "Needed unless the token has one world.", "schema": TOKEN},
            {
                "name": "topic",
                "in": "query",
                "description": "Tokens with dots between them; `*` stands for one, `>` for all behind.",
                "schema": {"type": "string", "default": "tokens.*", "maxLength": 180},
            },
        ],
        ref("Signal"),
    )


TICKET: Final[Schema] = {
    "type": "object",
    "required": ["ticket", "url", "expires_in_s", "position"],
    "properties": {
        "ticket": {"type": "string"},
        "url": {"type": "string", "description": "The path that was asked for, with the ticket: good for one request."},
        "expires_in_s": {"type": "integer", "minimum": 1, "description": "Seconds."},
        "position": {"type": "integer", "minimum": 0, "description": "Where the log ended: a stream from `now` begins there or later."},
    },
}


def ticket() -> dict[str, Any]:
    """A ticket for a stream."""
    path = {"type": "string", "maxLength": 4000, "examples": ["/v1/subscribe?event=NpcSpoke&after=now"]}
    return {
        "operationId": "ticket",
        "summary": "A ticket for one stream, for readers that cannot send a header, as a browser's EventSource.",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"type": "object", "required": ["path"], "properties": {"path": path}}}},
        },
        "responses": {
            "201": {"description": "The ticket.", "content": {JSON: {"schema": ref("Ticket")}}},
            **GUARDED,
            **problems(s403="The token may not listen, or not to that world.", s429="Too many unused tickets, or too many requests."),
        },
    }


def _open(name: str, words: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": words,
        "security": [],
        "responses": {"200": {"description": words, "content": content}, **problems(s400="The request cannot be read.")},
    }


def own_paths() -> dict[str, Any]:
    """The gateway about itself."""
    ready = _open("readyz", "Events can be recorded.", {"application/json": {"schema": ref("Health")}})
    ready["responses"] |= problems(s503="They cannot, at the moment.")
    return {
        "/openapi.json": {"get": _open("openapi", "This document.", {"application/json": {"schema": OPEN}})},
        "/metrics": {"get": _open("metrics", "Counters in Prometheus' text format.", {"text/plain": {"schema": {"type": "string"}}})},
        "/healthz": {"get": _open("healthz", "The process runs.", {"application/json": {"schema": ref("Health")}})},
        "/readyz": {"get": ready},
    }
