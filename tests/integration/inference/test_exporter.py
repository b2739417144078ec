"""What Prometheus fetches from a process with workers: in both of its formats, each family once, with buckets that see a promise."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from bus.connection import Connection
from bus.errors import BadSettings
from bus.log import Log
from bus.publisher import Publisher
from inference.tiers import TIERS
from tests.exposition import faults
from tests.integration.inference.conftest import Game
from worldbus.exporter import exporting
from worldbus.settings import Settings
from worldbus.tiers import run_tiers


async def _fetch(url: str, accept: str = "") -> tuple[str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": accept}) as answer:
        assert answer.status == 200
        return await answer.text(), answer.headers["Content-Type"]


async def _families(url: str) -> dict[str, Metric]:
    text, _ = await _fetch(url)
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found), "a family that stands twice is no valid text"
    return {family.name: family for family in found}


async def test_the_workers_of_a_process_are_shown_while_they_work(
    connection: Connection, log: Log, publisher: Publisher, game: Game, tmp_path: Path
) -> None:
    tables = tmp_path / "tiers.toml"
    tables.write_text('[gold]\nengine = "timed"\nslots = 2\n[silver]\nengine = "timed"\nslots = 3\n')
    async with exporting("127.0.0.1:0") as url:
        async with run_tiers(connection, log, publisher, Settings(inference=tables), ["gold", "silver", "ladder"]):
            while not any(one.value for one in (await _families(url))["worldbus_inference_up"].samples if one.labels["tier"] == "gold"):
                pass  # its engine warms up
            await game.ask(budget_ms=5000)
            await game.ends(1)
            families = await _families(url)
            text, _ = await _fetch(url)
        after = await _families(url)

    slots = {one.labels["tier"]: one.value for one in families["worldbus_inference_slots"].samples if one.value}
    offered = [one for one in families["worldbus_inference_requests"].samples if one.labels["what"] == "offered" and one.value]
    assert slots == {"gold": 2, "silver": 3}
    assert [(one.name, one.labels["tier"], one.value) for one in offered] == [("worldbus_inference_requests_total", "gold", 1)]
    assert faults(text, "worldbus_") == []
    ours = [one for name, family in families.items() if name.startswith("worldbus_") for one in family.samples]
    assert not [one for one in ours if str(os.getpid()) in one.labels["worker"]], "a restart makes no new series"
    assert "python_info" in families, "what the process itself counts comes along"
    assert not after["worldbus_inference_requests"].samples


async def test_the_buckets_see_what_the_tiers_promise(connection: Connection, log: Log, publisher: Publisher, tmp_path: Path) -> None:
    tables = tmp_path / "tiers.toml"
    tables.write_text('[gold]\nengine = "timed"\n')
    async with exporting("127.0.0.1:0") as url, run_tiers(connection, log, publisher, Settings(inference=tables), ["gold"]):
        families = await _families(url)

    for name in ("queue", "first_token", "first_chunk", "per_token", "total", "record", "stop"):
        samples = families[f"worldbus_inference_{name}_seconds"].samples
        edges = sorted({float(one.labels["le"]) for one in samples if one.name.endswith("_bucket")})
        inside = [edge for edge in edges if 0.005 <= edge <= 0.2]
        assert inside[0] == 0.005
        assert inside[-1] == 0.2
        assert all(after / before <= 2 for before, after in pairwise(inside)), "no edge is worth less than a factor of two"
        assert all(tier.first_chunk_ms / 1000 in edges for tier in TIERS.values() if tier.first_chunk_ms)


async def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    async with exporting("127.0.0.1:0") as url:
        text, kind = await _fetch(url, "application/openmetrics-text; version=1.0.0")

    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


async def test_a_taken_address_is_said_with_the_next_step() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadSettings, match="cannot listen on .* give another address"):
            async with exporting(f"127.0.0.1:{taken.getsockname()[1]}"):
                raise AssertionError("it cannot listen there")


@pytest.mark.parametrize("given", ["9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:٣"])
def test_a_wrong_address_is_refused(given: str) -> None:
    with pytest.raises(BadSettings, match="HOST:PORT"):
        Settings.read({"WORLDBUS_METRICS": given})
