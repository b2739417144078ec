"""A world in lockstep: the same seed gives the same log, and what the log holds can be proven again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.envelope import decode
from bus.errors import BadSettings
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryFactEstablished
from worldbus.demo.lockstep import Wanted, run
from worldbus.demo.report import Report
from worldbus.opening import open_bus
from worldbus.settings import Settings

BUSY = {"time", "weather", "player", "capability", "uemonitor", "router", "models", "payment", "npc", "narrative"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because sockets have a limit, and passable for the user that Postgres runs as."""
    path = Path(tempfile.mkdtemp(prefix="wb-lock-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


def settings(folder: Path, name: str) -> Settings:
    return Settings(data=folder / name, durability="relaxed", world="duskmarket")


async def lived(folder: Path, name: str, seed: int, *, prove: bool = False) -> Report:
    """Four minutes of the world with a few players."""
    wanted = Wanted(players=8, hours=0.07, seed=seed, prove=prove)
    return await run(settings(folder, name), wanted, lambda _words, _share: None)


@asynccontextmanager
async def log_of(folder: Path, name: str) -> AsyncIterator[list[tuple[int, str, bytes]]]:
    async with open_bus(settings(folder, name), postgres=False) as bus:
        yield [(event.position, str(event.subject), event.raw) async for events in bus.log.read() for event in events]


@pytest.mark.timeout(180)
async def test_the_same_seed_gives_the_same_log_byte_for_byte(folder: Path) -> None:
    first = await lived(folder, "a", 4, prove=True)
    await lived(folder, "b", 4)

    async with log_of(folder, "a") as one, log_of(folder, "b") as two:
        assert one == two
    assert first.problems == []
    facts = [StoryFactEstablished.FromString(decode(raw).proto_data.value) for _, _, raw in one if b"StoryFactEstablished" in raw]
    assert not [fact for fact in facts if fact.source == "narration"]  # no model runs here: nobody narrated anything
    assert {name for name, share in first.per_handler.items() if share.events_out} >= BUSY
    proof = first.proof
    assert proof is not None
    assert (proof.identical_percent, proof.different, proof.open, proof.rebuilds_differing) == (100.0, 0, 0, [])
    assert proof.decisions > 100
    assert proof.ledger_sums == {"duskmarket/crowns": 0, "duskmarket/teeth": 0}
    with pytest.raises(BadSettings, match="wanted an empty one"):
        await lived(folder, "a", 4)
