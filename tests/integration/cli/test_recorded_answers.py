"""Answers of models are in the log: whatever reads it again calls no model, except `verify --reinfer`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bus.event import new_id
from inference.engines.timed import Pace
from tests.conformance.openai_server import Server, serving
from tests.engines import TimedEngine
from tests.integration.cli.conftest import COMMAND, call, environment, lines

WORDS = ("Good evening.", "What news from the harbour?")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder with a short path, passable for the user that Postgres runs as."""
    path = Path(tempfile.mkdtemp(prefix="wb-said-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


def _talk(folder: Path, pools: Path) -> None:
    """A world that is up until a player's words were answered by a model."""
    errors = pools.with_name("up.err")
    with errors.open("w") as said:
        up = subprocess.Popen([*COMMAND, "up", "--inference", str(pools)], env=environment(folder), stderr=said, stdin=subprocess.DEVNULL)
    try:
        while "engine_up" not in errors.read_text():
            assert up.poll() is None, errors.read_text()
            time.sleep(0.05)
        for words in WORDS:
            lines(call(folder, "publish", "-", "--json", given=_spoken(words)))
            count = WORDS.index(words) + 1
            while len(lines(call(folder, "replay", "--type", "NpcSpoke", "--json"))) < count:
                time.sleep(0.1)
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(100) == 0, errors.read_text()


def _spoken(words: str) -> str:
    """What a player says, with an hour for the answer: the second and a half that a character has by itself is not much on a busy machine,
    and then its own line is the answer instead of the model's.
    """
    deadline = datetime.now(UTC) + timedelta(hours=1)
    document = {
        "specversion": "1.0",
        "id": new_id(),
        "type": "worldbus.game.v1.PlayerSpoke",
        "subject": "eve",
        "deadline": deadline.isoformat().replace("+00:00", "Z"),
        "data": {"npc": "widow-hask", "text": words},
    }
    return json.dumps(document)


@pytest.mark.timeout(600)
async def test_only_reinfer_calls_a_model_and_it_writes_nothing(folder: Path, tmp_path: Path) -> None:
    async with serving(TimedEngine(Pace(first=0.001, per_token=0.001), slots=8)) as server:
        pools = tmp_path / "tiers.toml"
        text = f'engine = "openai"\nurl = "{server.url}"\nmodel = "timed"\nslots = 8\ndialect = "vllm"\nseeds = true\n'
        pools.write_text(f"[gold]\n{text}[silver]\n{text}")
        await asyncio.to_thread(_talk, folder, pools)
        calls, log = len(server.bodies), await _log(folder)
        assert calls >= len(WORDS)
        answers = [one for one in log if one["type"].endswith("InferenceCompleted")]
        assert len(answers) == len(WORDS)

        for verb in (["verify", "--json"], ["rebuild", "--all", "--json"]):
            done = await _call(folder, pools, *verb)
            assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.bodies) == calls, "nothing of this may ask a model"

        done = await _call(folder, pools, "verify", "--reinfer", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        again = json.loads(done.stdout)["reinfer"]
        assert (again["asked"], again["outcomes"], again["other_prompts"]) == (len(WORDS), {"same": len(WORDS)}, 0)
        assert all(one["recorded"] == one["today"] for one in again["requests"])
        assert len(server.bodies) > calls

        await _only_one(folder, pools, server, again["requests"][1]["request_id"])
        assert await _log(folder) == log, "not a word was added"


async def _only_one(folder: Path, pools: Path, server: Server, name: str) -> None:
    server.bodies.clear()
    done = await _call(folder, pools, "verify", "--reinfer", "--only", name, "--json")
    assert [one["request_id"] for one in json.loads(done.stdout)["reinfer"]["requests"]] == [name]
    assert len(server.bodies) == 1, "an endpoint of somebody else is asked the one question, and warmed up by nothing"

    unknown = await _call(folder, pools, "verify", "--handler", "npc", "--reinfer", "--only", "nobody")
    assert (unknown.returncode, "no model answered nobody" in unknown.stderr) == (2, True)
    alone = await _call(folder, pools, "verify", "--only", name)
    assert (alone.returncode, "--reinfer" in alone.stderr) == (2, True)


async def _call(folder: Path, pools: Path, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A verb with the engines at hand, if it takes them."""
    given = ["--inference", str(pools)] if verb == "verify" else []
    return await asyncio.to_thread(call, folder, verb, *given, *words)


async def _log(folder: Path) -> list[dict[str, Any]]:
    done = await asyncio.to_thread(call, folder, "replay", "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]
