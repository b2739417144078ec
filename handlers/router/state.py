"""The state of one lane of the router, folded from its events: the routes of a capability, or the workers behind the tiers of inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bus.event import Event
from handlers.versions import Version, parse
from schemas.gen.worldbus.router.v1 import router_pb2 as said

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"
MAX_WORKERS: Final = 768
"""Workers of models that a lane remembers: a process that serves three tiers is three of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One service that offers the capability. `trial`: the call that tries a half-open circuit is under way."""

    number: int
    endpoint: str
    version: Version | None
    written: str
    weight: int
    circuit: str = CLOSED
    failures: int = 0  # in a row
    times: int = 0  # opened in a row
    trial: bool = False

    @property
    def takes_calls(self) -> bool:
        """True if the next call may go there."""
        return self.circuit == CLOSED or (self.circuit == HALF_OPEN and not self.trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker of a tier, as it last told. `failures`: reports of failures in a row; `times`: its circuit was opened in a row."""

    tier: str
    pool: str
    ready: bool
    free: bool
    failures: int = 0
    times: int = 0
    open_until_ms: int = 0

    def takes_work(self, now_ms: int) -> bool:
        """Return whether requests of other tiers may go there: its engine is up and its circuit closed, or due for a trial."""
        return self.ready and now_ms >= self.open_until_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """One lane. `lane` is its capability; routes by service, workers by `worker_key`."""

    lane: str = ""
    routes: Mapping[str, Route] = field(default_factory=dict)
    numbers: int = 0  # so far
    workers: Mapping[str, Worker] = field(default_factory=dict)


def worker_key(tier: str, worker: str) -> str:
    """The key of a worker in `Routing.workers`: one process serves several tiers under one name, and each has its own health."""
    return f"{tier}/{worker}"


def open_wake(route: Route) -> str:
    """Name of the wake that ends an open circuit; one still under way cannot end the next."""
    return f"open-{route.number}-{route.times}"


def trial_wake(route: Route) -> str:
    """Name of the wake that ends a trial call nobody reports."""
    return f"trial-{route.number}-{route.times}"


def evolve(routing: Routing, event: Event) -> Routing:
    """The lane after the router said `event`."""
    match event.data:
        case said.RouteChosen() as it:
            return _changed(routing, it.service, trial=True) if it.trial else routing
        case said.CallFailureCounted() as it:
            return _changed(routing, it.service, failures=it.failures)
        case said.CallFailuresForgotten() as it:
            return _changed(routing, it.service, failures=0)
        case said.CircuitOpened() as it:
            return _changed(routing, it.service, circuit=OPEN, failures=it.failures, times=it.times, trial=False)
        case said.CircuitHalfOpened() as it:
            return _changed(routing, it.service, circuit=HALF_OPEN, trial=False)
        case said.CircuitClosed() as it:
            return _changed(routing, it.service, circuit=CLOSED, failures=0, times=0, trial=False)
        case said.RouteAdded() as it:
            return _added(routing, it)
        case said.RouteRemoved() as it:
            return replace(routing, routes={name: route for name, route in routing.routes.items() if name != it.service})
        case said.TierHealthChanged() as it:
            worker = Worker(
                tier=it.tier, pool=it.pool, ready=it.ready, free=it.free,
                failures=it.failures, times=it.times, open_until_ms=it.open_until_ms,
            )  # fmt: skip
            return replace(routing, workers=_with(routing.workers, worker_key(it.tier, it.worker), worker))
        case _:
            return routing


def _with(workers: Mapping[str, Worker], key: str, worker: Worker) -> Mapping[str, Worker]:
    """Remember one; of too many, forget one that is down, else the one that changed longest ago."""
    kept = {other: known for other, known in workers.items() if other != key}
    if len(kept) >= MAX_WORKERS:
        del kept[next((other for other, known in kept.items() if not known.ready), next(iter(kept)))]
    return {**kept, key: worker}


def _added(routing: Routing, it: said.RouteAdded) -> Routing:
    route = Route(number=it.number, endpoint=it.endpoint, version=parse(it.version), written=it.version, weight=it.weight)
    return replace(routing, routes={**routing.routes, it.service: route}, numbers=max(routing.numbers, it.number))


def _changed(routing: Routing, service: str, **fields: object) -> Routing:
    route = routing.routes.get(service)
    if route is None:
        return routing
    return replace(routing, routes={**routing.routes, service: replace(route, **fields)})  # type: ignore[arg-type]
