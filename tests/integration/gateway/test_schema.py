"""schemathesis reads the OpenAPI document and tries the gateway with what it allows and with what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
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
from tests.integration.gateway.conftest import TOKEN, Open, recorded
from tests.laws import examples
from worldbus.embedded import NatsServer
from worldbus.gateway.openapi import document

STREAMS = {"/v1/subscribe", "/v1/signals"}  # those go on for ever: tests/integration/gateway/test_streams.py
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    ignored_auth,
    unsupported_method,
    missing_required_header,
    negative_data_rejection,
]
SEARCH = {not_a_server_error, negative_data_rejection}
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
