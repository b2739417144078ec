"""The operations that record events, and the payment provider's webhook."""

from __future__ import annotations

from typing import Any, Final

from worldbus.gateway.bodies import JSON, JSON_BATCH
from worldbus.gateway.expected import LANE, MOST_LANES
from worldbus.gateway.limits import Limits
from worldbus.gateway.openapi.events import EXAMPLE
from worldbus.gateway.openapi.parts import COUNTS, GUARDED, ID, OPEN, POSITION, Schema, problems, ref, several

RECORDED: Final[Schema] = {
    "type": "object",
    "required": ["id", "position", "subject", "replayed"],
    "properties": {
        "id": ID,
        "position": POSITION,
        "subject": {"type": "string"},
        "replayed": {"type": "boolean", "description": "Whether an earlier request recorded it."},
        "status": {"type": "integer", "description": "In a batch: 200 or 201, as a request of its own would be answered."},
    },
}
BATCH_RECORDED: Final[Schema] = {
    "type": "object",
    "required": ["results", "recorded", "replayed", "failed"],
    "properties": {"results": {"type": "array", "items": ref("Recorded")}, **COUNTS},
}
_SAME: Final = (
    "The answer comes when it is in the log. Sending the same again is safe, now and for ever: an event that is there already is answered "
    "with its position. A token with one world may leave `world` out."
)
_EXPECTED: Final = several(
    "expected",
    "Lanes that must not have moved: `<subsystem>/<entity>:<position>` of their last event, 0 for none; before the subsystem the world, "
    "where it is another one. All are looked at in the moment of recording; where one is elsewhere, the answer is 409 and nothing is "
    "recorded. At most as many lanes as the request has events, those with an attribute `expected` included.",
    {"type": "string", "pattern": f"^{LANE}$", "examples": ["game/mira:17"]},
) | {"schema": {"type": "array", "items": {"type": "string", "pattern": f"^{LANE}$"}, "minItems": 1, "maxItems": MOST_LANES}}


def _key(words: str) -> dict[str, Any]:
    return {"name": "Idempotency-Key", "in": "header", "description": words, "schema": ID}


def _answers(schema: Schema, batch: bool) -> dict[str, Any]:
    body = {"application/json": {"schema": schema}}
    return {
        "200": {
            "description": "Recorded by an earlier request; the positions are the same.",
            "headers": {"Idempotent-Replayed": {"schema": {"type": "string", "const": "true"}}},
            "content": body,
        },
        "201": {
            "description": "Recorded. What was recorded before has `replayed: true`." if batch else "Recorded.",
            **({} if batch else {"headers": {"Location": {"schema": {"type": "string"}}}}),
            "content": body,
        },
        **GUARDED,
        **problems(
            s403="The token may not speak in that world, for that subsystem, or in events of that type.",
            s408="The body came too slowly.",
            s409="The id is taken by another event, or a lane is not at the position where it was expected.",
            s413="The body, the batch or an event is too large.",
            s415="Not a format that is understood.",
            s417="An `Expect` header other than 100-continue.",
            s422="An event that breaks a rule, or whose type is not known.",
            s429="Too many events for this token.",
            s503="The log does not answer; what was sent may be recorded or not. Send it again with the same ids.",
        ),
    }


def publish() -> dict[str, Any]:
    """One event."""
    return {
        "operationId": "publish",
        "summary": "Record one event.",
        "description": (
            f"{_SAME} Besides the format listed, it takes the same under `application/json`, in protobuf "
            "(`application/cloudevents+protobuf`) and in CloudEvents' binary mode, and what `/v1/batches` takes. `type` may be a simple "
            "name, `PlayerJoined`."
        ),
        "parameters": [_key("The event's id, where it has none of its own."), _EXPECTED],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": ref("CloudEvent"), "examples": {"join": {"value": EXAMPLE}}}},
        },
        "responses": _answers(ref("Recorded"), batch=False),
    }


def publish_batch() -> dict[str, Any]:
    """Several events."""
    return {
        "operationId": "publishBatch",
        "summary": "Record several events, in order.",
        "description": (
            f"Up to {Limits().batch} events. {_SAME} A batch with anything wrong in it is refused as a whole before anything is recorded, "
            "with `errors` for each of its faults. Where the log itself fails half-way, the answer is a problem whose `results` tell of "
            "each event; send the whole batch again. Protobuf goes as `application/cloudevents-batch+protobuf`."
        ),
        "parameters": [
            _key("The ids of events that have none: `<key>.<index>`."),
            {
                "name": "atomic",
                "in": "query",
                "description": "All or nothing, next to one another. Needed to expect lanes.",
                "schema": {"type": "boolean", "default": False},
            },
            _EXPECTED,
        ],
        "requestBody": {
            "required": True,
            "content": {JSON_BATCH: {"schema": ref("CloudEventBatch"), "examples": {"one": {"value": [EXAMPLE]}}}},
        },
        "responses": _answers(ref("BatchRecorded"), batch=True),
    }


def webhook() -> dict[str, Any]:
    """A payment provider's word."""
    return {
        "operationId": "paymentWebhook",
        "summary": "A payment provider's signed webhook.",
        "description": "Signed as Stripe documents it. Anything but 200 makes the provider send it again.",
        "security": [],
        "parameters": [{"name": "Stripe-Signature", "in": "header", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": OPEN}}},
        "responses": {
            "200": {
                "description": "Recorded, once and for ever, or of no concern.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **problems(
                s400="Not signed, or not what the provider documents.",
                s404="No provider is configured here.",
                s408="The body came too slowly.",
                s409="This webhook was recorded with another body.",
                s413="Too large.",
                s503="It cannot be recorded at the moment.",
            ),
        },
    }
