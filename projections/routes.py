"""The router as tables: routes with their circuits, and where requests for inference went."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.router.v1 import router_pb2 as said

ROUTES = Table("routes", key=("world", "capability", "service"), adds=("chosen", "failures", "opened"))
REFUSALS = Table("route_refusals", key=("world", "capability", "code"), adds=("refused",))
TIERS = Table("inference_routing", key=("world", "asked", "tier", "code"), adds=("requests",))
WORKERS = Table("inference_workers", key=("world", "tier", "worker"))


def added(event: Event, it: said.RouteAdded) -> Change:
    return ROUTES.put(
        *(event.world, event.entity, it.service),
        listed=True, endpoint=it.endpoint, version=it.version, weight=it.weight, circuit="closed", in_a_row=0, error=None,
        since=event.time_ns,
    )  # fmt: skip


def removed(event: Event, it: said.RouteRemoved) -> Change:
    return ROUTES.put(event.world, event.entity, it.service, listed=False, since=event.time_ns)


def chosen(event: Event, it: said.RouteChosen) -> Change:
    return ROUTES.put(event.world, event.entity, it.service, chosen=1)


def refused(event: Event, it: said.RouteRefused) -> Change:
    return REFUSALS.put(event.world, event.entity, it.code, refused=1, reason=it.reason, at=event.time_ns)


def failed(event: Event, it: said.CallFailureCounted) -> Change:
    return ROUTES.put(event.world, event.entity, it.service, failures=1, in_a_row=it.failures)


def forgotten(event: Event, it: said.CallFailuresForgotten) -> Change:
    return ROUTES.put(event.world, event.entity, it.service, in_a_row=0)


def opened(event: Event, it: said.CircuitOpened) -> Change:
    return ROUTES.put(
        event.world, event.entity, it.service, circuit="open", in_a_row=it.failures, error=it.error, since=event.time_ns, opened=1
    )


def half_opened(event: Event, it: said.CircuitHalfOpened) -> Change:
    return ROUTES.put(event.world, event.entity, it.service, circuit="half_open", since=event.time_ns)


def closed(event: Event, it: said.CircuitClosed) -> Change:
    return ROUTES.put(event.world, event.entity, it.service, circuit="closed", in_a_row=0, error=None, since=event.time_ns)


def routed(event: Event, it: said.InferenceRouted) -> Change:
    return TIERS.put(event.world, it.asked, it.tier, it.code, requests=1, last_reason=it.reason)


def health(event: Event, it: said.TierHealthChanged) -> Change | None:
    if event.entity != f"inference-{it.tier}":
        return None  # each of the tiers' lanes remembers every worker; one of them counts here
    return WORKERS.put(event.world, it.tier, it.worker, pool=it.pool, ready=it.ready, free=it.free, since=event.time_ns)


routes = Projection(
    name="routes",
    version=1,
    said_by="router",
    schema=sql_beside(__file__),
    tables=(ROUTES, REFUSALS, TIERS, WORKERS),
    on={
        said.RouteAdded: added,
        said.RouteRemoved: removed,
        said.RouteChosen: chosen,
        said.RouteRefused: refused,
        said.CallFailureCounted: failed,
        said.CallFailuresForgotten: forgotten,
        said.CircuitOpened: opened,
        said.CircuitHalfOpened: half_opened,
        said.CircuitClosed: closed,
        said.InferenceRouted: routed,
        said.TierHealthChanged: health,
    },
)
