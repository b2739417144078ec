"""The document, of its parts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from google.protobuf.message import Message

from bus.draft import EDGE
from schemas.registry import all_events
from worldbus import __version__
from worldbus.games import current
from worldbus.gateway.openapi import clock, publishing, reading, searching
from worldbus.gateway.openapi.events import event_schemas
from worldbus.gateway.openapi.parts import PROBLEM_SCHEMA

ABOUT: Final = """Events of a game world over HTTP, for engines and tools that speak no NATS.

An event's `id` is its idempotency key, for ever: the same event again answers the same position with `Idempotent-Replayed: true`;
another event under the same id is a 409 problem. So whatever a request ended with (a timeout, a 503, no answer at all), sending it again
with the same ids is safe. Errors are RFC 9457 problem documents; `code` is stable and meant for programs, `detail` says what was wanted,
what was found and what to do next."""


def outside_events() -> list[type[Message]]:
    """The events that a game server may publish."""
    emitters = current().emitters  # a game's types are known once it is loaded
    return [cls for cls in all_events() if emitters.may(EDGE, cls.DESCRIPTOR.full_name)]


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
            "/v1/events": {"post": publishing.publish()},
            "/v1/batches": {"post": publishing.publish_batch()},
            "/v1/events/{position}": {"get": reading.look()},
            "/v1/subscribe": {"get": reading.subscribe()},
            "/v1/signals": {"get": reading.signals()},
            "/v1/tickets": {"post": reading.ticket()},
            "/v1/clock": {"get": clock.show()},
            "/v1/search": {"get": searching.search_get(), "post": searching.search_post()},
            "/v1/webhooks/payments": {"post": publishing.webhook()},
            **reading.own_paths(),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Recorded": publishing.RECORDED,
                "BatchRecorded": publishing.BATCH_RECORDED,
                "Question": searching.QUESTION,
                "Found": searching.FOUND,
                "Hit": searching.HIT,
                "Problem": PROBLEM_SCHEMA,
                "Signal": reading.SIGNAL,
                "Ticket": reading.TICKET,
                "Clock": clock.CLOCK,
                "Health": reading.HEALTH,
                **event_schemas(outside_events()),
            },
        },
    }


@cache
def to_json() -> str:
    """The document as JSON text."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def to_yaml() -> str:
    """The document as YAML text. Needs PyYAML, of the extra `gateway`."""
    import yaml

    class Plain(yaml.SafeDumper):
        """Writes what stands in several places in each of them, instead of pointing at the first."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(document(), Dumper=Plain, sort_keys=False, allow_unicode=True, width=140)
    return text
