"""`gateway`: events over HTTP, one by one and in batches, against a bare aiohttp that only echoes, and nats-py publishing without HTTP.

The gateway is one process, so one core at most; "per core" is its events per second of its own CPU time. It does all that it does in
earnest: tokens, rates, the strict parser, the registry, and for every id a look into an archive of some thousand events.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import nats as nats_py

from bench.harness import Result, main, nats, postgres
from bench.peers.http_load import Load, drive, post
from bench.publish import messages
from bus.connection import connect
from bus.event import Draft, new_id
from bus.log import open_log
from bus.publisher import open_publisher
from migrations import migrate
from projections import Projector
from projections.checkpoints import Checkpoints
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from worldbus.gateway.bodies import JSON, JSON_BATCH, PROTOBUF_BATCH
from worldbus.gateway.grants import mint

ROUNDS = 3
CONNECTIONS = 32
BATCH = 250
SEEDED = 5000  # events that the archive has before it begins
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens."""

    port: int
    pid: int

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@asynccontextmanager
async def _process(*command: str, port: Callable[[str], str | None], **environment: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        said = []
        while line := (await process.stdout.readline()).decode():
            said.append(line)
            if (found := port(line)) is not None:
                break
        else:
            raise RuntimeError(f"{' '.join(command)} ended without a port: {''.join(said)[-2000:]}")
        yield Server(int(found), process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _said(line: str) -> str | None:
    found = re.search(r"gateway of \d+ tokens at \S+:(\d+)", line)
    return found[1] if found else None


def document(number: int, entity: str, message: object) -> dict[str, object]:
    """One CloudEvent as JSON."""
    return {
        "specversion": "1.0",
        "id": f"{new_id()}",
        "source": "/worldbus/game",
        "type": "worldbus.player.v1.PlayerMoved",
        "subject": entity,
        "world": "bench",
        "time": "2026-11-22T12:00:00.25Z",
        "data": {"zone": f"zone-{number % 50}", "x": number * 0.5, "y": 1.0, "z": number * -0.25},
    }


def singles(count: int, token: str) -> list[bytes]:
    """Requests with one event each."""
    return [post(json.dumps(document(n, entity, message)).encode(), JSON, token) for n, (entity, message) in enumerate(messages(count))]


def json_batches(count: int, token: str) -> list[bytes]:
    """Requests with a JSON array of events each."""
    documents = [document(n, entity, message) for n, (entity, message) in enumerate(messages(count))]
    return [post(json.dumps(documents[at : at + BATCH]).encode(), JSON_BATCH, token) for at in range(0, count, BATCH)]


def protobuf_batches(count: int, token: str) -> list[bytes]:
    """Requests with a CloudEventBatch each."""
    events = [CloudEvent.FromString(Draft(data=message, world="bench", entity=entity).encode()) for entity, message in messages(count)]
    return [
        post(CloudEventBatch(events=events[at : at + BATCH]).SerializeToString(), PROTOBUF_BATCH, token) for at in range(0, count, BATCH)
    ]


async def _seed(nats_url: str, dsn: str) -> None:
    """An archive that knows some events already, and no projector beside us."""
    await asyncio.to_thread(migrate, dsn)
    async with connect(nats_url, name="bench-seed") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            drafts = [Draft(data=message, world="bench", entity=entity) for entity, message in messages(SEEDED)]
            last = (await publisher.publish_many(drafts))[-1]
        projector = asyncio.create_task(Projector(dsn, ()).run(log))
        async with Checkpoints.open(dsn) as checkpoints:
            await checkpoints.wait_for(last, 30)
        projector.cancel()
        await asyncio.gather(projector, return_exceptions=True)
        await log.aclose()


async def _measured(server: Server, requests: list[bytes], events: int, connections: int) -> tuple[float, float, Load]:
    """Events per second, and per second of the server's CPU."""
    before = server.cpu_s
    load = await drive(server.port, requests, connections)
    assert set(load.statuses) == {201}, load.statuses
    return events / load.took_s, events / (server.cpu_s - before), load


async def _nats_py(url: str, count: int) -> float:
    """Events per second of nats-py's own publish, as many at once as there are connections to the gateway."""
    client = await nats_py.connect(url)
    jetstream = client.jetstream()
    left = iter([(entity, Draft(data=message, world="bench", entity=entity)) for entity, message in messages(count)])

    async def work() -> None:
        for entity, draft in left:
            await jetstream.publish(f"evt.bench.game.{entity}.PlayerMoved", draft.encode(), headers={"Nats-Msg-Id": draft.id})

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    rate = count / (time.perf_counter() - began)
    await client.close()
    return rate


async def run(scale: float = 1.0) -> Sequence[Result]:
    """Rates in turn, and their ratios."""
    count, batched = int(6000 * scale), max(BATCH, int(30_000 * scale) // BATCH * BATCH)
    token, digest = mint()
    found: dict[str, list[tuple[float, float]]] = {}
    latencies: list[float] = []
    async with nats(strict=False) as server, postgres() as database:
        dsn = database.address("worldbus_owner")
        await _seed(server.url, dsn)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(f'[bench]\nsha256 = "{digest}"\nworlds = ["*"]\nevents_per_second = 1e8\nburst = 1e8\n')
            file.flush()
            command = (
                sys.executable,
                "-c",
                "from worldbus.cli import main; main()",
                "gateway",
                "--tokens",
                file.name,
                "--listen",
                "127.0.0.1:0",
                "--durability",
                "relaxed",
            )
            places = {"WORLDBUS_NATS_URL": server.url, "WORLDBUS_POSTGRES_DSN": dsn}
            async with (
                _process(*command, port=_said, **places) as gateway,
                _process(sys.executable, "-m", "bench.peers.http_echo", port=lambda line: line.strip() or None) as echo,
            ):
                await asyncio.sleep(1)
                await drive(gateway.port, singles(200, token), CONNECTIONS)
                for _ in range(ROUNDS):
                    rate, per_core, load = await _measured(gateway, singles(count, token), count, CONNECTIONS)
                    latencies += load.latencies
                    found.setdefault("single", []).append((rate, per_core))
                    found.setdefault("echo", []).append((await _measured(echo, singles(count, token), count, CONNECTIONS))[:2])
                    found.setdefault("nats-py", []).append((await _nats_py(server.url, count), 0.0))
                    found.setdefault("json", []).append((await _measured(gateway, json_batches(batched, token), batched, 4))[:2])
                    found.setdefault("protobuf", []).append((await _measured(gateway, protobuf_batches(batched, token), batched, 4))[:2])
    return list(_results(found, latencies))


def _results(found: dict[str, list[tuple[float, float]]], latencies: list[float]) -> Sequence[Result]:
    rates = {name: median(one[0] for one in rounds) for name, rounds in found.items()}
    per_core = {name: median(one[1] for one in rounds) for name, rounds in found.items()}
    centiles = quantiles(latencies, n=100)
    echo, direct = rates["echo"], rates["nats-py"]
    return [
        Result(
            name="gateway-single",
            value=rates["single"],
            unit="events/s",
            against=f"aiohttp echo: {echo:.0f}/s",
            ratio=rates["single"] / echo,
        ),
        Result(
            name="gateway-single",
            value=rates["single"],
            unit="events/s",
            against=f"nats-py publish: {direct:.0f}/s",
            ratio=rates["single"] / direct,
        ),
        Result(
            name="gateway-single-core",
            value=per_core["single"],
            unit="events/core-s",
            against=f"aiohttp echo: {per_core['echo']:.0f}/core-s",
            ratio=per_core["single"] / per_core["echo"],
        ),
        Result(name="gateway-single-p50", value=centiles[49] * 1e3, unit="ms", against=f"{CONNECTIONS} connections", ratio=None),
        Result(name="gateway-single-p99", value=centiles[98] * 1e3, unit="ms", against=f"{CONNECTIONS} connections", ratio=None),
        *(
            Result(
                name=f"gateway-{kind}",
                value=rates[kind],
                unit="events/s",
                against=f"nats-py publish: {direct:.0f}/s; {per_core[kind]:.0f} events/core-s",
                ratio=rates[kind] / direct,
            )
            for kind in ("json", "protobuf")
        ),
    ]


if __name__ == "__main__":
    main(run)
