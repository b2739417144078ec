"""The offers of services and the abilities of engine versions, as a handler, `capability`.

    ServiceRegisterRequested ──▶ ServiceRegistered, WakeRequested      silence for one to two times to live ──▶ ServiceExpired
    ServiceHeartbeat ──▶ ServiceSeen (the first of a period)           ServiceQueryRequested ──▶ ServiceQueryAnswered
    EngineAdoptRequested ──▶ EngineVersionAdopted [, EngineUpgradeSuggested]     FeatureQueryRequested ──▶ FeatureQueryAnswered
    EngineVersionAnnounced (uemonitor) ──▶ [EngineVersionListed] [, EngineUpgradeSuggested]

All services of a world share the lane `registry`, so an answer fits everything heard before; each engine's line has a lane of its own.
The features are data: `capability_registry(tables)` makes the handler under given ones; a game gives `capability` its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import ByWorld, Handler
from handlers.answering import ANSWERS, answering
from handlers.capability_registry import engines, services
from handlers.capability_registry.state import REGISTRY, Registry, evolve
from handlers.capability_registry.tables import Tables
from handlers.plausible import UNBOUNDED, Bounds
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import EngineVersionAnnounced

if TYPE_CHECKING:
    from handlers.content import Content


def decide(tables: Tables, event: Event, registry: Registry) -> Sequence[Message]:
    """The answer to a word of a service, a question about an engine, or the clock."""
    match event.data:
        case said.ServiceHeartbeat():
            return services.heartbeat(event, registry)
        case WakeFired() as it:
            return services.looked(it, registry)
        case said.ServiceQueryRequested() as it:
            return services.query(event, it, registry)
        case said.ServiceRegisterRequested() as it:
            return services.register(event, it, registry)
        case said.ServiceUnregisterRequested() as it:
            return services.unregister(event, it, registry)
        case said.FeatureQueryRequested() as it:
            return engines.features(tables, event, it, registry)
        case EngineVersionAnnounced() as it:
            return engines.announced(tables, event, it, registry)
        case said.EngineAdoptRequested() as it:
            return engines.adopt(tables, event, it, registry)
        case _:
            return ()


def entities(event: Event) -> Sequence[str]:
    """Words of and about services concern the registry, those about an engine its line."""
    match event.data:
        case WakeFired() as woken:
            return (woken.entity,) if woken.subsystem == "capability" and event.subsystem == "time" else ()
        case EngineVersionAnnounced():
            return (event.entity,) if event.subsystem == "uemonitor" else ()
        case said.FeatureQueryRequested() | said.EngineAdoptRequested():
            return (event.entity,)
        case _:
            return (REGISTRY,)


capability: Final[ByWorld[Content]] = ByWorld(
    name="capability",
    listens_to=(
        said.ServiceRegisterRequested,
        said.ServiceHeartbeat,
        said.ServiceUnregisterRequested,
        said.ServiceQueryRequested,
        said.FeatureQueryRequested,
        said.EngineAdoptRequested,
        EngineVersionAnnounced,
        WakeFired,
    ),
    emits=(
        said.ServiceRegistered,
        said.ServiceSeen,
        said.ServiceUnregistered,
        said.ServiceExpired,
        said.ServiceQueryAnswered,
        said.FeatureQueryAnswered,
        said.EngineVersionAdopted,
        said.EngineVersionListed,
        said.EngineUpgradeSuggested,
        said.CapabilityRequestRefused,
        WakeRequested,
        WakeCancelRequested,
        *ANSWERS,
    ),
    make=lambda content: capability_registry(content.engines, content.bounds),
)


def capability_registry(tables: Tables, bounds: Bounds = UNBOUNDED) -> Handler[Registry]:
    """The handler under the given tables."""
    handler = capability.with_rules(
        initial=lambda entity: Registry(),
        decide=partial(decide, tables),
        evolve=evolve,
        entities=entities,
    )
    return answering(handler, bounds)
