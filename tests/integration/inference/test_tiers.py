"""The workers of a process as `worldbus up` and `worldbus run` start them, and the signs of life by which they know each other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from bus.connection import Connection
from bus.errors import BadSettings
from bus.log import Log
from bus.publisher import Publisher
from bus.signals import signal
from inference import vitals as vitals_
from inference.vitals import Vitals
from schemas.gen.worldbus.inference.v1.types_pb2 import WorkerStands
from tests.integration.inference.conftest import Game, Until
from worldbus.settings import Settings
from worldbus.tiers import LADDER, run_tiers


async def test_the_ladder_answers_every_tier_and_guards_what_nobody_takes(
    game: Game, connection: Connection, log: Log, publisher: Publisher
) -> None:
    async with run_tiers(connection, log, publisher, Settings(), [LADDER]):
        asked = [await game.ask(tier=tier, budget_ms=3000) for tier in ("gold", "silver", "bronze")]
        ends = await game.ends(3)

    assert {ends[one.request_id].name for one in asked} == {"InferenceDegraded"}
    assert [cast(Any, ends[one.request_id].data).tier for one in asked] == ["gold", "silver", "bronze"]


async def test_a_pool_does_not_start_on_another_kind_of_machine(
    connection: Connection, log: Log, publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "tiers.toml"
    file.write_text('[gold]\nengine = "timed"\nnode_label = "gpu=a10g"\n')
    with pytest.raises(BadSettings, match="wanted a machine labelled gpu=a10g, found the labels gpu=h200"):
        async with run_tiers(connection, log, publisher, Settings(inference=file, node_labels={"gpu": "h200"}), ["gold"]):
            raise AssertionError("it started")


async def test_whoever_falls_silent_is_lost_and_whoever_leaves_is_not(
    connection: Connection, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    vitals, silent_s = Vitals(connection), vitals_.SILENT_S
    await vitals.open()
    monkeypatch.setattr(vitals_, "SILENT_S", 3600.0)  # whoever is slow here is not silent
    for name in ("a", "b", "c"):
        vitals.tell(WorkerStands(tier="gold", worker=name, up=name != "c"))
    signal(connection, "sig.system.workers.gold", b"\xff no sign at all")
    await until(lambda: vitals.alive("gold", "c"))

    assert sorted(one.worker for one in vitals.up()) == ["a", "b"]
    assert not vitals.alive("silver", "a")
    assert not vitals.lost_lately("gold")
    vitals.tell(WorkerStands(tier="gold", worker="a", leaving=True))
    await until(lambda: not vitals.alive("gold", "a"))
    assert not vitals.lost_lately("gold")

    vitals.tell(WorkerStands(tier="gold", worker="c"))
    monkeypatch.setattr(vitals_, "SILENT_S", silent_s)
    telling = asyncio.create_task(vitals.keep_telling(lambda: WorkerStands(tier="gold", worker="b", up=True)))
    await until(lambda: vitals.lost_lately("gold"))  # c is silent
    await until(lambda: [one.worker for one in vitals.up()] == ["b"])
    assert not vitals.lost_lately("silver")
    telling.cancel()
    monkeypatch.setattr(vitals_, "MOST_WORKERS", 1)
    await until(lambda: not list(vitals.up()))
    vitals.tell(WorkerStands(tier="gold", worker="d", up=True))
    await until(lambda: [one.worker for one in vitals.up()] == ["d"])
    await vitals.aclose()
