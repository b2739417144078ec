"""A tier's queue that somebody deletes or rewrites is as the workers want it again, and every request has its one end."""

from __future__ import annotations

from typing import Any

import pytest

from bus.connection import ApiError
from bus.consumer_config import config_of, differences
from inference.queue import queue_config, queue_name
from inference.tiers import TIERS
from tests.integration.inference.conftest import Game, Run

NAME = queue_name("gold")
CHANGES: list[dict[str, Any]] = [
    {"filter_subject": None, "filter_subjects": ["evt.*.*.*.*.PlayerMoved"]},
    {"max_deliver": 1},
    {"max_ack_pending": 1},
    {"priority_policy": None, "priority_groups": None},
    {"ack_policy": "none"},
    {"mem_storage": True},
]


async def _info(game: Game) -> dict[str, Any]:
    return await game.log.connection.api(f"CONSUMER.INFO.{game.log.name}.{NAME}")


async def _rewrite(game: Game, changes: dict[str, Any]) -> None:
    config = {name: value for name, value in ((await _info(game))["config"] | changes).items() if value is not None}
    body = {"stream_name": game.log.name, "config": config}
    while True:
        try:
            await game.log.connection.api(f"CONSUMER.CREATE.{game.log.name}.{NAME}", body)
            return
        except ApiError:  # not in place, or the worker has made it anew since it was deleted
            await game.log.connection.api(f"CONSUMER.DELETE.{game.log.name}.{NAME}")


@pytest.mark.parametrize("changes", [None, *CHANGES], ids=str)
async def test_a_rewritten_queue_is_mended_under_a_running_worker(
    game: Game, run: Run, changes: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.queue.CHECK_S", 0.1)
    async with run(None):
        await game.ask(budget_ms=3000)
        await game.ends(1)
        if changes is None:
            await game.log.connection.api(f"CONSUMER.DELETE.{game.log.name}.{NAME}")
        else:
            await _rewrite(game, changes)
        await game.ask(budget_ms=3000)
        await game.ends(2)

        while not await _sound(game):
            pass


async def _sound(game: Game) -> bool:
    try:
        return not differences(queue_config(TIERS["gold"]), config_of(await _info(game)))
    except ApiError:
        return False
