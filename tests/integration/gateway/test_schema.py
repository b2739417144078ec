"""schemathesis reads the OpenAPI document and tries the gateway with what it allows and with what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, Phase, core, given, settings
from hypothesis.internal.conjecture import engine
from hypothesis.strategies._internal import collections
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from bus.log import Log
from handlers.rights import owner_field
from schemas.examples import example
from tests.integration.gateway.conftest import OWNER, TOKEN, Caller, Open, joined, recorded
from tests.laws import examples
from worldbus.embedded import NatsServer
from worldbus.gateway.openapi import document
from worldbus.gateway.openapi.document import outside_events

STREAMS = {"/v1/subscribe", "/v1/signals"}  # those go on for ever: tests/integration/gateway/test_streams.py
VALIDATOR = jsonschema_rs.validator_for({**document(), "$ref": "#/components/schemas/CloudEventBatch"})
LENIENT = {"/v1/events", "/v1/batches"}


def _plain(event: Any) -> Any:
    """An event without what reading forgives (the document says so): attributes that are null, and spellings of the payload."""
    if not isinstance(event, dict):
        return event
    return {name: {} if name == "data" and isinstance(value, dict) else value for name, value in event.items() if value is not None}


def refused_unless_forgiven(context: Any, response: Any, case: Any) -> bool | None:
    """`negative_data_rejection`, where JSON's form of protobuf forgives more than a document should invite to."""
    if case.path in LENIENT and response.status_code in (200, 201):
        events = case.body if isinstance(case.body, list) else [case.body]
        if VALIDATOR.is_valid([_plain(event) for event in events]):
            return None
    return negative_data_rejection(context, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    ignored_auth,
    unsupported_method,
    missing_required_header,
    refused_unless_forgiven,
]
SEARCH = {not_a_server_error, refused_unless_forgiven}
"""Not for /v1/search: nobody serves it here, which is a 503, and questions that are too long for an address are a 431."""
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
RUNS = [
    (path, method, mode)
    for path, item in document()["paths"].items()
    if path not in STREAMS
    for method, operation in item.items()
    for mode in ([POSITIVE, NEGATIVE] if operation.keys() & {"parameters", "requestBody"} else [POSITIVE])
]


SWAPPED = ((core, "RepresentationPrinter"), (core, "BUFFER_SIZE"), (engine, "BUFFER_SIZE"), (collections, "BUFFER_SIZE"))


@pytest.fixture(autouse=True, scope="module")
def lent() -> Iterator[None]:
    """schemathesis swaps these parts of Hypothesis for the whole process: every law behind it would try other examples, and show none."""
    own = [getattr(module, name) for module, name in SWAPPED]
    yield
    for (module, name), value in zip(SWAPPED, own, strict=True):
        setattr(module, name, value)


@pytest.mark.hypothesis  # `make laws` searches here too
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("path", "method", "mode"), RUNS)
async def test_the_gateway_does_what_its_document_says(
    open_caller: Open, nats_server: NatsServer, log: Log, path: str, method: str, mode: Any
) -> None:
    schema = schemathesis.openapi.from_dict(document())
    operation = schema[path][method]

    async with open_caller(nats_server.url) as caller:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples(25),
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: Any) -> None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            checks = [check for check in CHECKS if path != "/v1/search" or check not in SEARCH]
            case.call_and_validate(base_url=caller.base, headers=headers, checks=checks)

        await asyncio.to_thread(holds)

        assert (await caller.ask("GET", "/readyz")).status == 200
    assert all(event.world == "main" for event in await recorded(log))


def _about_mira(cls: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    """What only the player may say whom the payload names is said by mira."""
    field = owner_field(cls.DESCRIPTOR.full_name)
    return {**data, field: "mira"} if field else data


async def test_every_type_of_the_document_is_published_as_the_document_says(caller: Caller, log: Log) -> None:
    events = [
        {
            "id": f"e{number}",
            "type": cls.DESCRIPTOR.full_name,
            "subject": "mira",
            "data": _about_mira(cls, MessageToDict(example(cls), preserving_proto_field_name=True)),
        }
        for number, cls in enumerate(outside_events())
    ]
    for event in events:
        VALIDATOR.validate([event])
        assert not VALIDATOR.is_valid([{**event, "type": "worldbus.player.v1.NoSuchType"}])

    for first in range(0, len(events), 50):
        assert (await caller.publish(events[first : first + 50], path="/v1/batches", token=OWNER)).status == 201
    assert [event.type for event in await recorded(log)] == [event["type"] for event in events]


async def test_a_batch_has_a_path_of_its_own_and_nothing_else_goes_there(caller: Caller, log: Log) -> None:
    batch = await caller.publish([joined("e1"), joined("e2")], path="/v1/batches")
    as_before = await caller.publish([joined("e1"), joined("e2")])
    single = await caller.publish(joined("e3"), path="/v1/batches")

    assert (batch.status, as_before.status, as_before.body["replayed"]) == (201, 200, 2)
    assert (single.status, single.code) == (400, "BAD_PAYLOAD")
    assert (await log.state()).last == 2


async def test_what_is_read_is_what_the_document_says(caller: Caller) -> None:
    await caller.publish(joined("e1", causationid="c", deadline="2026-11-22T12:00:00Z", depth=2))
    read = (await caller.ask("GET", "/v1/events/1")).body

    jsonschema_rs.validator_for({**document(), "$ref": "#/components/schemas/RecordedEvent"}).validate(read)
    assert set(read) <= set(document()["components"]["schemas"]["RecordedEvent"]["properties"])


def test_the_examples_of_the_document_are_valid() -> None:
    whole = document()
    found = 0
    for item in whole["paths"].values():
        for operation in item.values():
            for kind in operation.get("requestBody", {}).get("content", {}).values():
                for one in kind.get("examples", {}).values():
                    jsonschema_rs.validator_for({**whole, "$ref": kind["schema"]["$ref"]}).validate(one["value"])
                    found += 1
    assert found == 2
