"""LiteLLM's proxy as a peer: one worker, default settings, no database, no cache, in the environment that `make litellm` makes.

Its master key is made for the run and thrown away. It reads its table of prices from the package instead of the network.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

PROGRAM: Final = Path(__file__).parents[2] / ".venv-litellm" / "bin" / "litellm"
START_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of the proxy."""

    url: str
    key: str


@asynccontextmanager
async def proxy(upstream: str, model: str) -> AsyncIterator[Proxy | None]:
    """The proxy in front of an endpoint, once it answers; None where it is not installed."""
    if not PROGRAM.exists():
        print("compare: LiteLLM is not here: 'make litellm' installs it", file=sys.stderr)
        yield None
        return
    key, port = f"sk-{secrets.token_hex(16)}", _free_port()
    with tempfile.TemporaryDirectory(prefix="wb-litellm-") as folder:
        config = Path(folder, "config.yaml")
        _configure(config, upstream, model, key)
        environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        arguments = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False")
        process = await asyncio.create_subprocess_exec(
            str(PROGRAM), *arguments, cwd=folder, env=environment, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await _until_alive(url)
            yield Proxy(f"{url}/v1", key)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _configure(path: Path, upstream: str, model: str, key: str) -> None:
    path.write_text(
        f"model_list:\n  - model_name: {model}\n    litellm_params:\n      model: openai/{model}\n      api_base: {upstream}\n"
        f"      api_key: none\ngeneral_settings:\n  master_key: {key}\n",
        encoding="utf-8",
    )


async def _until_alive(url: str) -> None:
    until = time.monotonic() + START_S
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/health/liveliness") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            if time.monotonic() > until:
                raise RuntimeError(f"wanted LiteLLM's proxy within {START_S:g} s, found no answer: run {PROGRAM} by hand to see why")
            await asyncio.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
