"""The exporter: what the workers of this process count and time, over HTTP, for Prometheus to fetch.

It serves Prometheus' default registry, so what vLLM and Python itself count comes along. No authentication: bind it where only the
scraper comes. Names no players, worlds or prompts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bus.errors import BadSettings
from inference.metrics import Metrics, families

if TYPE_CHECKING:
    from aiohttp import web

PATH: Final = "/metrics"
Gauges = Callable[[], Mapping[str, float]]


class Workers(Collector):
    """The workers of this process, as one collector: a family stands once in the text, whoever has it. `describe` is left out on purpose:
    which families there are depends on who works."""

    def __init__(self) -> None:
        self._shown: dict[Metrics, Gauges] = {}

    def add(self, metrics: Metrics, gauges: Gauges) -> None:
        """Show a worker; `gauges` gives its figures of the moment."""
        self._shown[metrics] = gauges

    def remove(self, metrics: Metrics) -> None:
        """Show it no longer."""
        self._shown.pop(metrics, None)

    def collect(self) -> Iterator[Metric]:
        return families([(metrics, gauges()) for metrics, gauges in self._shown.items()])


WORKERS: Final = Workers()
"""Metrics of this process's workers; registered with Prometheus' default registry."""
REGISTRY.register(WORKERS)


@asynccontextmanager
async def exporting(address: str, registry: CollectorRegistry = REGISTRY) -> AsyncIterator[str]:
    """Serve `registry` at HOST:PORT for the block; gives the URL. Port 0 takes a free one. Raises `BadSettings` if that is impossible.

    Needs the extra `inference`.
    """
    from aiohttp import web

    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")

    async def show(request: web.Request) -> web.Response:
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": kind})

    app = web.Application()
    app.router.add_get(PATH, show)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, int(port)).start()
        except OSError as error:
            raise BadSettings(f"metrics: cannot listen on {address}: {error.strerror or error}: give another address") from error
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}{PATH}"
    finally:
        await runner.cleanup()
