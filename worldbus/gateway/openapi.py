"""The gateway as an OpenAPI 3.1 document, made here and nowhere else: served at `/openapi.json`, kept in docs/reference/openapi.yaml.

`worldbus gateway openapi` writes it. What an event may carry is not repeated here: docs/reference/asyncapi.yaml
has the schema of every event's `data`, and the registry checks it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from bus.check import MAX_ID
from worldbus import __version__
from worldbus.gateway.bodies import JSON, JSON_BATCH, PLAIN_JSON, PROTOBUF, PROTOBUF_BATCH
from worldbus.gateway.limits import Limits
from worldbus.gateway.problem import CONTENT_TYPE as PROBLEM
from worldbus.gateway.stream import CONTENT_TYPE as STREAM

Schema = dict[str, Any]

TOKEN: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
ID: Final[Schema] = {"type": "string", "pattern": "^[\\x21-\\x7e]+$", "minLength": 1, "maxLength": MAX_ID}
POSITION: Final[Schema] = {"type": "integer", "format": "int64", "minimum": 1, "description": "Where the event is in the log, for ever."}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TEXT: Final[Schema] = {"type": "string", "maxLength": 255}

EXAMPLE: Final = {
    "specversion": "1.0",
    "id": "unreal-eu-1-000017",
    "source": "/worldbus/game",
    "type": "worldbus.player.v1.PlayerJoined",
    "subject": "mira",
    "world": "main",
    "time": "2026-11-22T12:00:00Z",
    "data": {"display_name": "Mira", "zone": "quay"},
}
ABOUT: Final = """Events of a game world over HTTP, for engines and tools that speak no NATS.

An event's `id` is its idempotency key, for ever: the same event again answers the same position with `Idempotent-Replayed: true`;
another event under the same id is a 409 problem. So whatever a request ended with (a timeout, a 503, no answer at all), sending it again
with the same ids is safe. Errors are RFC 9457 problem documents; `code` is stable and meant for programs, `detail` says what was wanted,
what was found and what to do next."""


def document() -> dict[str, Any]:
    """The document as plain data."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "worldbus gateway",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8088"}],
        "security": [{"token": []}],
        "paths": {
            "/v1/events": {"post": _publish()},
            "/v1/events/{position}": {"get": _look()},
            "/v1/subscribe": {"get": _subscribe()},
            "/v1/signals": {"get": _signals()},
            "/v1/clock": {"get": _clock()},
            "/v1/search": {"get": _search_get(), "post": _search_post()},
            "/v1/webhooks/payments": {"post": _webhook()},
            "/openapi.json": {"get": _open("openapi", "This document.", {"application/json": {"schema": {"type": "object"}}})},
            "/metrics": {"get": _open("metrics", "Counters in Prometheus' text format.", {"text/plain": {"schema": {"type": "string"}}})},
            "/healthz": {"get": _open("healthz", "The process runs.", {"application/json": {"schema": _ref("Health")}})},
            "/readyz": {"get": _readyz()},
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": _schemas()},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _problems(**which: str) -> dict[str, Any]:
    """Answers that are problems: status (`s400`) and when."""
    later = {"Retry-After": {"description": "Seconds until it is worth trying again.", "schema": {"type": "integer", "minimum": 1}}}
    return {
        status[1:]: {
            "description": words,
            "content": {PROBLEM: {"schema": _ref("Problem")}},
            **({"headers": later} if status in ("s429", "s503") else {}),
        }
        for status, words in which.items()
    }


_GUARDED: Final = _problems(
    s400="The request cannot be read.", s401="No token, or one that this gateway does not know.", s431="Too many or too long headers."
)


def _open(name: str, words: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": words,
        "security": [],
        "responses": {"200": {"description": words, "content": content}, **_problems(s400="The request cannot be read.")},
    }


def _publish() -> dict[str, Any]:
    body = {"application/json": {"schema": {"oneOf": [_ref("Recorded"), _ref("BatchRecorded")]}}}
    limits = Limits()
    return {
        "operationId": "publish",
        "summary": "Record events.",
        "description": (
            f"One event, or a batch of up to {limits.batch}, in order. The answer comes when they are in the log. A batch with "
            "anything wrong in it is refused as a whole before anything is recorded, with `errors` for each of its faults. Where "
            "the log itself fails half-way, the answer is a problem whose `results` tell of each event; send the whole batch again. "
            "`atomic=true` records all or nothing, next to one another. A token with one world may leave `world` out; without "
            "`source` the event is the game's; without `time` it is now."
        ),
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The id of an event that has none; in a batch, `<key>.<index>`.",
                "schema": ID,
            },
            {
                "name": "atomic",
                "in": "query",
                "description": "Of a batch: all or nothing.",
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref("CloudEvent"), "examples": {"join": {"value": EXAMPLE}}},
                JSON_BATCH: {"schema": _ref("CloudEventBatch"), "examples": {"one": {"value": [EXAMPLE]}}},
                PLAIN_JSON: {
                    "schema": {"oneOf": [_ref("CloudEvent"), _ref("CloudEventBatch")]},
                    "examples": {"join": {"value": EXAMPLE}, "several": {"value": [EXAMPLE]}},
                },
                PROTOBUF: {"schema": {"type": "string", "contentMediaType": PROTOBUF, "description": "An `io.cloudevents.v1.CloudEvent`."}},
                PROTOBUF_BATCH: {
                    "schema": {
                        "type": "string",
                        "contentMediaType": PROTOBUF_BATCH,
                        "description": "An `io.cloudevents.v1.CloudEventBatch`.",
                    }
                },
            },
        },
        "responses": {
            "200": {
                "description": "Everything was recorded by an earlier request; the positions are the same.",
                "headers": {"Idempotent-Replayed": {"schema": {"type": "string", "const": "true"}}},
                "content": body,
            },
            "201": {
                "description": "Recorded. In a batch, what was recorded before has `replayed: true`.",
                "headers": {"Location": {"description": "Of a single event.", "schema": {"type": "string"}}},
                "content": body,
            },
            **_GUARDED,
            **_problems(
                s403="The token may not speak in that world, or for that subsystem.",
                s408="The body came too slowly.",
                s409="The id is taken by another event.",
                s413="The body, the batch or an event is too large.",
                s415="Not a format that is understood.",
                s417="An `Expect` header other than 100-continue.",
                s422="An event that breaks a rule, or whose type is not known.",
                s429="Too many events for this token.",
                s503="The log does not answer; what was sent may be recorded or not. Send it again with the same ids.",
            ),
        },
    }


def _look() -> dict[str, Any]:
    return {
        "operationId": "look",
        "summary": "The event at a position.",
        "parameters": [
            {"name": "position", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}}
        ],
        "responses": {
            "200": {"description": "The event.", "content": {JSON: {"schema": _ref("RecordedEvent")}}},
            **_GUARDED,
            **_problems(
                s403="The token may not listen.",
                s404="None there that this token may see.",
                s422="It cannot be read.",
                s503="The log does not answer.",
            ),
        },
    }


def _several(name: str, words: str, schema: Schema) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": words,
        "schema": {"type": "array", "items": schema, "maxItems": 32},
        "explode": False,
    }


def _stream(name: str, words: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": words,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Server-sent events; `event: end` says why a stream ends.",
                "content": {STREAM: {"schema": {"type": "string"}}},
            },
            **_GUARDED,
            **_problems(
                s403="The token may not listen, or not to that world.",
                s429="Too many streams of this token.",
                s503="The log does not answer.",
            ),
        },
    }


def _subscribe() -> dict[str, Any]:
    found = _stream(
        "subscribe",
        "Recorded events, as server-sent events.",
        [
            _several("world", "Needed unless the token has one world.", TOKEN),
            _several("subsystem", "Who says it; all if left out.", TOKEN),
            _several("entity", "Who or what it is about; all if left out.", TOKEN),
            _several("event", "Event types, simple or full; all if left out.", {"type": "string", "examples": ["PlayerJoined"]}),
            {
                "name": "after",
                "in": "query",
                "description": "A position, or `now`.",
                "schema": {"type": "string", "pattern": "^(now|[0-9]{1,18})$"},
            },
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "As `after`, and stronger: the position of the last event received. Nothing between is lost.",
                "schema": {"type": "string", "pattern": "^(now|[0-9]{1,18})$"},
            },
        ],
    )
    found["description"] = (
        "Each event's `id` is its position, its `data` a CloudEvent as JSON. Signs of life move `Last-Event-ID` on as well. An event that "
        "cannot be read comes as `event: damaged`."
    )
    return found


def _signals() -> dict[str, Any]:
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
    )


def _clock() -> dict[str, Any]:
    return {
        "operationId": "clock",
        "summary": "What a world's clock shows now.",
        "description": (
            "`now` is the moment of the answer. A client counts on from `anchor` by itself: while `running`, world time is `world_ms` + "
            "(`owed_thousandths` + `scale` times the milliseconds since `at`, at most `rests_ms` of them) / 1000."
        ),
        "parameters": [{"name": "world", "in": "query", "description": "Needed unless the token has one world.", "schema": TOKEN}],
        "responses": {
            "200": {"description": "The present moment.", "content": {"application/json": {"schema": _ref("Clock")}}},
            **_GUARDED,
            **_problems(
                s403="The token may not listen, or not in that world.",
                s404="No clock was started in that world.",
                s429="Too many questions for this token.",
                s503="The log cannot be read at the moment.",
            ),
        },
    }


_QUESTION: Final[dict[str, Schema]] = {
    "text": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "The question."},
    "world": {**TOKEN, "description": "Needed unless the token has one world."},
    "tokens": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 64,
        "description": "Who asks; left out, the token's whole audience.",
    },
    "mode": {"enum": ["hybrid", "vector", "text"]},
    "most": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
    "as_of": {"type": "integer", "minimum": 0, "maximum": 2**53, "description": "What was known at this position; left out, now."},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 64},
    "kinds": {"type": "array", "items": {"enum": ["lore", "memory"]}, "maxItems": 2},
    "owner": {**TOKEN, "description": "Whose memories."},
    "rerank": {"type": "boolean", "default": False, "description": "Look at the best hits sentence by sentence."},
    "asker": {**TOKEN, "description": "Under whose name the question is recorded."},
}
_FOUND: Final = {
    "200": {"description": "Passages, best first.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Found"}}}}
}


def _searching() -> dict[str, Any]:
    return {
        **_FOUND,
        **_GUARDED,
        **_problems(
            s403="The token may not listen, or not in that world, or not for those who ask.",
            s408="The body came too slowly.",
            s413="Too large.",
            s417="An `Expect` header other than 100-continue.",
            s422="Not a question that can be searched for.",
            s429="Too many questions for this token.",
            s503="The knowledge base does not answer.",
        ),
    }


def _search_get() -> dict[str, Any]:
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
    return {"operationId": "search", "summary": "Search the knowledge base.", "parameters": parameters, "responses": _searching()}


def _search_post() -> dict[str, Any]:
    return {
        "operationId": "searchByBody",
        "summary": "Search the knowledge base, with the question in the body.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Question")}}},
        "responses": _searching(),
    }


def _webhook() -> dict[str, Any]:
    return {
        "operationId": "paymentWebhook",
        "summary": "A payment provider's signed webhook.",
        "description": "Signed as Stripe documents it. Anything but 200 makes the provider send it again.",
        "security": [],
        "parameters": [{"name": "Stripe-Signature", "in": "header", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": {
                "description": "Recorded, once and for ever, or of no concern.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **_problems(
                s400="Not signed, or not what the provider documents.",
                s404="No provider is configured here.",
                s408="The body came too slowly.",
                s409="This webhook was recorded with another body.",
                s413="Too large.",
                s503="It cannot be recorded at the moment.",
            ),
        },
    }


def _readyz() -> dict[str, Any]:
    found = _open("readyz", "Events can be recorded.", {"application/json": {"schema": _ref("Health")}})
    found["responses"] |= _problems(s503="They cannot, at the moment.")
    return found


def _or_null(schema: Schema) -> Schema:
    """What may be left out may be null as well: CloudEvents' JSON format says so."""
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> dict[str, Schema]:
    event: Schema = {
        "type": "object",
        "description": "A CloudEvents 1.0 event. `data` is protobuf's JSON form of `type`, as docs/reference/asyncapi.yaml has it.",
        "required": ["type", "subject"],
        "properties": {
            "specversion": _or_null({"const": "1.0"}),
            "id": _or_null({**ID, "description": "Its idempotency key, for ever. Without one, sending again is another event."}),
            "source": _or_null({"type": "string", "pattern": "^/worldbus/[A-Za-z0-9_-]{1,64}$", "default": "/worldbus/game"}),
            "type": {"type": "string", "minLength": 1, "examples": ["worldbus.player.v1.PlayerJoined", "PlayerJoined"]},
            "subject": {**TOKEN, "description": "Who or what it is about: the entity."},
            "world": _or_null(TOKEN),
            "time": _or_null({"type": "string", "format": "date-time"}),
            "datacontenttype": _or_null({"type": "string", "pattern": "^application/(json|protobuf) *(;.*)?$"}),
            "dataschema": {},
            "causationid": _or_null(ID),
            "correlationid": _or_null(ID),
            "traceparent": _or_null(TEXT),
            "producerversion": _or_null(TEXT),
            "depth": _or_null({"type": "integer", "minimum": 0, "maximum": 2**31 - 1}),
            "deadline": _or_null({"type": "string", "format": "date-time"}),
            "position": {"description": "What a log once said of it; not looked at."},
            "partition": {"description": "Not looked at."},
            "recorded": {"description": "Not looked at."},
            "data": _or_null({"type": "object"}),
            "data_base64": _or_null(
                {
                    "type": "string",
                    "contentEncoding": "base64",
                    "description": "In place of `data`, with `datacontenttype: application/protobuf`: the payload's bytes.",
                }
            ),
        },
        "additionalProperties": False,
    }
    recorded: Schema = {
        "type": "object",
        "required": ["id", "position", "subject", "replayed"],
        "properties": {"id": ID, "position": POSITION, "subject": {"type": "string"}, "replayed": {"type": "boolean"}},
    }
    counts = {"recorded": COUNT, "replayed": COUNT, "failed": COUNT}
    return {
        "CloudEvent": event,
        "CloudEventBatch": {"type": "array", "items": _ref("CloudEvent"), "minItems": 1, "maxItems": Limits().batch},
        "Recorded": recorded,
        "BatchRecorded": {
            "type": "object",
            "required": ["results", "recorded", "replayed", "failed"],
            "properties": {"results": {"type": "array", "items": _ref("Recorded")}, **counts},
        },
        "RecordedEvent": {
            "type": "object",
            "required": ["specversion", "id", "source", "type", "subject", "world", "position", "partition", "recorded", "data"],
            "properties": {
                "position": POSITION,
                "partition": COUNT,
                "recorded": {"type": "string", "format": "date-time"},
                "data": {"type": "object"},
            },
        },
        "Question": {"type": "object", "required": ["text"], "properties": _QUESTION, "additionalProperties": False},
        "Found": {
            "type": "object",
            "required": ["hits", "mode", "as_of"],
            "properties": {
                "hits": {"type": "array", "items": {"type": "object"}},
                "mode": {"type": "string"},
                "model": {"type": "string"},
                "as_of": COUNT,
            },
        },
        "Clock": _clock_schema(),
        "Problem": {
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
                    "items": {"type": "object"},
                },
                "results": {
                    "type": "array",
                    "description": "Of a batch that is recorded in part: each event.",
                    "items": {"type": "object"},
                },
                **counts,
            },
        },
        "Health": {
            "type": "object",
            "required": ["status"],
            "properties": {"status": {"enum": ["ok", "ready"]}, "checks": {"type": "object"}},
        },
    }


def _clock_schema() -> Schema:
    def all_of(properties: Schema) -> Schema:
        return {"type": "object", "required": list(properties), "properties": properties}

    words, flag = {"type": "string"}, {"type": "boolean"}
    world_ms = {**COUNT, "description": "World milliseconds since the clock started."}
    moment = dict.fromkeys(("year", "day", "day_of_season", "hour", "minute", "season_ends_world_ms"), COUNT)
    anchor = {
        "at": {"type": "string", "format": "date-time", "description": "When the log took the clock's last step, by the log's own clock."},
        "world_ms": world_ms,
        "owed_thousandths": {**COUNT, "description": "Thousandths of a world millisecond that `world_ms` lacks."},
        "scale": {**COUNT, "description": "World milliseconds per real second."},
        "running": flag,
        "rests_ms": {**COUNT, "description": "For how many real milliseconds world time goes on without another step; 0: it stands."},
    }
    now = {"world_ms": world_ms, **moment, "season": words, "next_season": words, "time_of_day": words}
    asleep = {**flag, "description": "Nobody is about: the world's own life waits."}
    return all_of(
        {"world": words, "clock": words, "asleep": asleep, "now": all_of(now), "anchor": all_of(anchor), "calendar": {"type": "object"}}
    )


def to_json() -> str:
    """The document as JSON text."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def to_yaml() -> str:
    """The document as YAML text. Needs PyYAML, a development package."""
    import yaml

    text: str = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=140)
    return text
