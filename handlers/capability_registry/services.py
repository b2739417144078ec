"""Services: who is listed, for how long, and who meets a need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from google.protobuf.message import Message

from bus.event import Event
from handlers.capability_registry.state import Labels, Offer, Registry, Service, lease_wake, leased
from handlers.names import NAME_RULE, is_token
from handlers.versions import VERSION_RULE, Version, parse
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said
from schemas.gen.worldbus.capability.v1 import types_pb2 as parts
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

DEFAULT_TTL_MS: Final = 30_000
MIN_TTL_MS: Final = 1_000
MAX_TTL_MS: Final = 86_400_000
MAX_SERVICES: Final = 256
MAX_OFFERS: Final = 32  # per service
MAX_PLATFORMS: Final = 16  # per offer
MAX_LABELS: Final = 16  # per offer or need
MAX_NEEDS: Final = 16  # per query
MAX_FOUND: Final = 64  # per answer
DEFAULT_FOUND: Final = 16
MAX_TEXT: Final = 256  # characters of an endpoint, a label or a reason
MAX_REQUEST_ID: Final = 64

Said = Sequence[Message]
Problem = tuple[str, str]  # (code, reason)


class Wanted(NamedTuple):
    """A need, read once for many services."""

    capability: str
    least: Version | None
    platform: str
    labels: Labels

    @classmethod
    def of(cls, need: parts.Need) -> Wanted:
        labels = tuple((label.name, label.text) for label in need.labels)
        return cls(need.capability, parse(need.min_version), need.platform, labels)

    def met_by(self, service: Service) -> bool:
        """Return whether the service offers it: capability, platform, labels and version."""
        offer = service.offers.get(self.capability)
        if offer is None or (self.platform and offer.platforms and self.platform not in offer.platforms):
            return False
        if any(label not in offer.labels for label in self.labels):
            return False
        return self.least is None or (offer.version is not None and offer.version >= self.least)


def refused(event: Event, code: str, reason: str) -> Said:
    """A "no" that says why."""
    return (
        said.CapabilityRequestRefused(request=event.name, request_event_id=event.id, request_entity=event.entity, code=code, reason=reason),
    )


def register(event: Event, it: said.ServiceRegisterRequested, registry: Registry) -> Said:
    """List the service; the same wish again is a sign of life."""
    if problem := _wrong_registration(it) or _no_room(event.entity, registry):
        return refused(event, *problem)
    ttl_ms = it.ttl_ms or DEFAULT_TTL_MS
    before = registry.services.get(event.entity)
    if before is not None and not before.belongs_to(event.subsystem):
        return _not_yours(event, before)
    if before is not None and _same(before, it, ttl_ms):
        return _sign(event.entity, before)
    lease = registry.leases + 1
    dropped = sorted(set(before.offers if before else ()) - {offer.capability for offer in it.offers})
    listed = said.ServiceRegistered(
        service=event.entity,
        endpoint=it.endpoint,
        offers=it.offers,
        ttl_ms=ttl_ms,
        lease=lease,
        dropped=dropped,
        registrant=event.subsystem,
    )
    old = (WakeCancelRequested(name=lease_wake(before.lease)),) if before is not None else ()
    return (*old, listed, WakeRequested(name=lease_wake(lease), in_real_ms=ttl_ms))


def heartbeat(event: Event, registry: Registry) -> Said:
    """Only the first sign of life of a period is said."""
    service = registry.services.get(event.entity)
    if service is None:
        return refused(event, "NOT_REGISTERED", f"service {event.entity} is not listed (any more): say ServiceRegisterRequested first")
    return _sign(event.entity, service) if service.belongs_to(event.subsystem) else _not_yours(event, service)


def _not_yours(event: Event, service: Service) -> Said:
    whose = f"service {event.entity} was registered by {service.registrant}, found {event.subsystem}"
    return refused(event, "NOT_YOURS", f"{whose}: register one under another name, or let an operator remove it")


def unregister(event: Event, it: said.ServiceUnregisterRequested, registry: Registry) -> Said:
    """Take the service off the list."""
    service = registry.services.get(event.entity)
    if service is None:
        return ()
    if not service.belongs_to(event.subsystem):
        return _not_yours(event, service)
    if len(it.reason) > MAX_TEXT:
        return refused(event, "TOO_LONG", f"reason may have {MAX_TEXT} characters, found {len(it.reason)}")
    gone = said.ServiceUnregistered(service=event.entity, lease=service.lease, capabilities=service.capabilities, reason=it.reason)
    return gone, WakeCancelRequested(name=lease_wake(service.lease))


def looked(it: WakeFired, registry: Registry) -> Said:
    """The clock's look at a lease: it goes on after a sign of life, and ends after silence."""
    name = leased(registry, it.name)
    if name is None:
        return ()  # of a lease that is over
    service = registry.services[name]
    if service.seen:
        return (WakeRequested(name=it.name, in_real_ms=service.ttl_ms),)
    return (said.ServiceExpired(service=name, lease=service.lease, capabilities=service.capabilities, ttl_ms=service.ttl_ms),)


def query(event: Event, it: said.ServiceQueryRequested, registry: Registry) -> Said:
    """Name the services that meet every need."""
    if problem := _wrong_query(it):
        return refused(event, *problem)
    wanted = [Wanted.of(need) for need in it.needs]
    met = [[name for name, service in registry.services.items() if need.met_by(service)] for need in wanted]
    names = sorted(set.intersection(*map(set, met)))
    return (
        said.ServiceQueryAnswered(
            request_id=it.request_id or event.id,
            requester_subsystem=event.subsystem,
            requester_entity=event.entity,
            found=[_found(name, registry.services[name], it.needs) for name in names[: it.limit or DEFAULT_FOUND]],
            total=len(names),
            unmet=[need.capability for need, services in zip(it.needs, met, strict=True) if not services],
        ),
    )


def _sign(name: str, service: Service) -> Said:
    return () if service.seen else (said.ServiceSeen(service=name, lease=service.lease),)


def _same(service: Service, it: said.ServiceRegisterRequested, ttl_ms: int) -> bool:
    offers = {offer.capability: Offer.of(offer) for offer in it.offers}
    return (service.endpoint, service.ttl_ms, service.offers) == (it.endpoint, ttl_ms, offers)


def _found(name: str, service: Service, needs: Iterable[parts.Need]) -> parts.Found:
    wanted = dict.fromkeys(need.capability for need in needs)
    return parts.Found(service=name, endpoint=service.endpoint, offers=[service.offers[capability].to_proto() for capability in wanted])


def _no_room(name: str, registry: Registry) -> Problem | None:
    if name in registry.services or len(registry.services) < MAX_SERVICES:
        return None
    return "TOO_MANY", f"{MAX_SERVICES} services are listed already: let one of them unregister"


def _wrong_registration(it: said.ServiceRegisterRequested) -> Problem | None:
    if it.ttl_ms and not MIN_TTL_MS <= it.ttl_ms <= MAX_TTL_MS:
        return "BAD_TTL", f"ttl_ms must be 0 or {MIN_TTL_MS} to {MAX_TTL_MS}, found {it.ttl_ms}"
    if len(it.endpoint) > MAX_TEXT:
        return "TOO_LONG", f"endpoint may have {MAX_TEXT} characters, found {len(it.endpoint)}"
    if not 1 <= len(it.offers) <= MAX_OFFERS:
        return "BAD_OFFER", f"wanted 1 to {MAX_OFFERS} offers, found {len(it.offers)}"
    if len({offer.capability for offer in it.offers}) < len(it.offers):
        return "BAD_OFFER", "a capability may be offered once per service: put what differs into labels"
    return next(filter(None, map(_wrong_offer, it.offers)), None)


def _wrong_offer(offer: parts.Offer) -> Problem | None:
    name = ascii(offer.capability)[:80]
    if not is_token(offer.capability):
        return "BAD_OFFER", f"a capability must be {NAME_RULE}, found {name}"
    if offer.version and parse(offer.version) is None:
        return "BAD_VERSION", f"version of {name}: wanted {VERSION_RULE}; found {ascii(offer.version)[:80]}"
    if len(offer.platforms) > MAX_PLATFORMS or not all(map(is_token, offer.platforms)):
        return "BAD_OFFER", f"{name} may name {MAX_PLATFORMS} platforms of {NAME_RULE}, found {list(offer.platforms[:MAX_PLATFORMS])}"
    return _wrong_labels("BAD_OFFER", name, offer.labels)


def _wrong_labels(code: str, name: str, labels: Sequence[parts.Label]) -> Problem | None:
    if len(labels) > MAX_LABELS or len({label.name for label in labels}) < len(labels):
        return code, f"{name} may have {MAX_LABELS} labels, each name once; found {len(labels)}"
    for label in labels:
        if not is_token(label.name) or len(label.text) > MAX_TEXT:
            return code, f"a label of {name} needs a name of {NAME_RULE} and at most {MAX_TEXT} characters, found {ascii(label.name)[:80]}"
    return None


def _wrong_query(it: said.ServiceQueryRequested) -> Problem | None:
    if len(it.request_id) > MAX_REQUEST_ID:
        return "TOO_LONG", f"request_id may have {MAX_REQUEST_ID} characters, found {len(it.request_id)}"
    if not 1 <= len(it.needs) <= MAX_NEEDS:
        return "BAD_NEED", f"wanted 1 to {MAX_NEEDS} needs, found {len(it.needs)}"
    if not 0 <= it.limit <= MAX_FOUND:
        return "BAD_NEED", f"limit must be 0 to {MAX_FOUND}, found {it.limit}"
    return next(filter(None, map(_wrong_need, it.needs)), None)


def _wrong_need(need: parts.Need) -> Problem | None:
    name = ascii(need.capability)[:80]
    if not is_token(need.capability) or (need.platform and not is_token(need.platform)):
        return "BAD_NEED", f"a capability and a platform must be {NAME_RULE}, found {name} on {ascii(need.platform)[:80]}"
    if need.min_version and parse(need.min_version) is None:
        return "BAD_VERSION", f"min_version of {name}: wanted {VERSION_RULE}; found {ascii(need.min_version)[:80]}"
    return _wrong_labels("BAD_NEED", name, need.labels)
