"""The registry's knowledge, folded from its own events: the services on the lane `registry`, an engine's line on a lane of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bus.event import Event
from handlers.versions import Version, parse
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said
from schemas.gen.worldbus.capability.v1 import types_pb2 as parts
from schemas.gen.worldbus.time.v1.time_pb2 import WakeRequested

REGISTRY: Final = "registry"  # the lane of all services
MAX_KNOWN: Final = 64  # announced versions that a line remembers besides its table
_LEASE: Final = "lease-"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One capability of a service. `version` None: not told. No platforms: all."""

    capability: str
    version: Version | None
    written: str
    platforms: tuple[str, ...]
    labels: Labels

    @classmethod
    def of(cls, it: parts.Offer) -> Offer:
        return cls(
            capability=it.capability,
            version=parse(it.version),
            written=it.version,
            platforms=tuple(it.platforms),
            labels=tuple((label.name, label.text) for label in it.labels),
        )

    def to_proto(self) -> parts.Offer:
        return parts.Offer(
            capability=self.capability,
            version=self.written,
            platforms=self.platforms,
            labels=[parts.Label(name=name, text=text) for name, text in self.labels],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One listed service. `seen`: a sign of life since the lease was last checked."""

    endpoint: str
    offers: Mapping[str, Offer]  # by capability
    ttl_ms: int
    lease: int
    seen: bool = False
    registrant: str = ""  # source that registered it; empty: unknown

    def belongs_to(self, source: str) -> bool:
        """True if a source may speak for it."""
        return self.registrant in ("", source) or source == "operator"

    @property
    def capabilities(self) -> list[str]:
        """The names of what it offers, sorted."""
        return sorted(self.offers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """The engine version of the game, and the features that its team waits for (none named: all)."""

    version: Version
    platform: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """One lane: services and leases on `registry`, the rest on an engine's line."""

    services: Mapping[str, Service] = field(default_factory=dict)
    leases: int = 0  # so far
    adopted: Adopted | None = None
    known: tuple[Version, ...] = ()  # heard of, rising; those of the table are not repeated here
    suggested: tuple[Version, ...] = ()  # since the last adoption


def lease_wake(lease: int) -> str:
    """Name of the wake that checks a lease; each lease has its own, so that one still under way cannot end the next."""
    return f"{_LEASE}{lease}"


def leased(registry: Registry, wake: str) -> str | None:
    """The service whose lease the wake of this name checks, or None if that lease is over."""
    return next((name for name, service in registry.services.items() if lease_wake(service.lease) == wake), None)


def evolve(registry: Registry, event: Event) -> Registry:
    """The registry after it said `event`."""
    match event.data:
        case said.ServiceSeen() as it:
            return _seen(registry, it.service, seen=True)
        case WakeRequested() as it:
            return _seen(registry, leased(registry, it.name), seen=False)
        case said.ServiceRegistered() as it:
            offers = {offer.capability: Offer.of(offer) for offer in it.offers}
            service = Service(endpoint=it.endpoint, offers=offers, ttl_ms=it.ttl_ms, lease=it.lease, registrant=it.registrant)
            return replace(_with(registry, it.service, service), leases=it.lease)
        case said.ServiceUnregistered() | said.ServiceExpired() as it:
            return replace(registry, services={name: service for name, service in registry.services.items() if name != it.service})
        case said.EngineVersionListed() as it:
            return replace(registry, known=_known(registry.known, it.version))
        case said.EngineUpgradeSuggested() as it:
            return replace(registry, suggested=_known(registry.suggested, it.upgrade.version))
        case said.EngineVersionAdopted() as it:
            return replace(registry, adopted=_adopted(it), suggested=())
        case _:
            return registry


def _with(registry: Registry, name: str, service: Service) -> Registry:
    return replace(registry, services={**registry.services, name: service})


def _seen(registry: Registry, name: str | None, *, seen: bool) -> Registry:
    service = registry.services.get(name) if name else None
    return registry if name is None or service is None else _with(registry, name, replace(service, seen=seen))


def _adopted(it: said.EngineVersionAdopted) -> Adopted | None:
    version = parse(it.version)
    return None if version is None else Adopted(version=version, platform=it.platform, features=tuple(it.features))


def _known(versions: Sequence[Version], text: str) -> tuple[Version, ...]:
    """With one more, the lowest forgotten when there are too many."""
    version = parse(text)
    return tuple(sorted({*versions, version} if version else versions))[-MAX_KNOWN:]
