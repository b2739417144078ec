"""Routing as a handler, `router`: which service takes a call, and which tier takes a request for inference.

    ServiceRegistered, ServiceExpired … (capability) ──▶ RouteAdded, RouteRemoved         RouteRequested ──▶ RouteChosen │ RouteRefused
    ServiceCallReported ──▶ CallFailureCounted … CircuitOpened ─ real time ─▶ CircuitHalfOpened ─ one trial ─▶ CircuitClosed │ CircuitOpened
    InferenceRouteRequested ──▶ InferenceRouted     ModelHealthReported ──▶ TierHealthChanged (when it changed)

A lane is a capability; the lanes `inference-<tier>` and `inference-<tier>-<number>` route requests to models, in the world of the workers'
reports, `system`. The rules are data: `router_of(tables)` makes the handler under given ones; a game gives `router` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.names import is_token
from handlers.plausible import UNBOUNDED, Bounds
from handlers.router import routes, tiers
from handlers.router.state import Routing, evolve
from handlers.router.tables import Tables
from handlers.router.tiers import ALL_LANES, LANES
from schemas.gen.worldbus.capability.v1.capability_pb2 import ServiceExpired, ServiceRegistered, ServiceUnregistered
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRouteRequested, ModelHealthReported
from schemas.gen.worldbus.router.v1 import router_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

if TYPE_CHECKING:
    from handlers.content import Content


def decide(tables: Tables, event: Event, routing: Routing) -> Sequence[Message]:
    """The router's events on one lane."""
    match event.data:
        case said.RouteRequested() as it:
            return routes.choose(tables.circuit, event, it, routing)
        case said.ServiceCallReported() as it:
            return routes.reported(tables.circuit, it, routing)
        case InferenceRouteRequested() as it:
            return tiers.routed(tables, event, it, routing)
        case ModelHealthReported() as it:
            return tiers.health(tables.circuit, event, it, routing)
        case WakeFired() as it:
            return routes.woken(tables.circuit, it, routing)
        case ServiceRegistered() as it:
            return routes.registered(it, routing)
        case ServiceUnregistered() | ServiceExpired() as it:
            return (*routes.removed(it.service, routing), *tiers.gone(it.service, routing))
        case _:
            return ()


def entities(event: Event) -> Sequence[str]:
    """Every event concerns the lanes of the capabilities it names; the workers of a tier concern all tiers, which help one another out."""
    match event.data:
        case said.RouteRequested() | said.ServiceCallReported() as it:
            return (it.capability if is_token(it.capability) else event.entity,)
        case InferenceRouteRequested() as it if event.subsystem == "inference" and it.asked in LANES:
            return (event.entity,) if event.entity in LANES[it.asked] else ()
        case ModelHealthReported():
            return ALL_LANES if event.subsystem == "inference" else ()
        case WakeFired() as woken:
            return (woken.entity,) if woken.subsystem == "router" and event.subsystem == "time" else ()
        case ServiceRegistered() as it if event.subsystem == "capability":
            return (*(offer.capability for offer in it.offers), *it.dropped)
        case ServiceUnregistered() | ServiceExpired() as it if event.subsystem == "capability":
            return _with_all_tiers(it.capabilities)
        case _:
            return ()


def _with_all_tiers(capabilities: Sequence[str]) -> Sequence[str]:
    serves = not frozenset(ALL_LANES).isdisjoint(capabilities)
    return tuple(dict.fromkeys((*capabilities, *ALL_LANES))) if serves else tuple(capabilities)


router: Final[ByWorld[Content]] = ByWorld(
    name="router",
    listens_to=(
        said.RouteRequested,
        said.ServiceCallReported,
        InferenceRouteRequested,
        ModelHealthReported,
        ServiceRegistered,
        ServiceUnregistered,
        ServiceExpired,
        WakeFired,
    ),
    emits=(
        said.RouteChosen,
        said.RouteRefused,
        said.RouteAdded,
        said.RouteRemoved,
        said.CallFailureCounted,
        said.CallFailuresForgotten,
        said.CircuitOpened,
        said.CircuitHalfOpened,
        said.CircuitClosed,
        said.InferenceRouted,
        said.TierHealthChanged,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: router_of(content.router, content.bounds),
)


def router_of(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Routing]:
    """The handler under the given tables."""
    handler = router.with_rules(
        initial=lambda entity: Routing(lane=entity),
        decide=partial(decide, tables),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
