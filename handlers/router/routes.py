"""Calls of services: who is listed, who is well, and who takes the next call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import log
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.names import NAME_RULE
from handlers.router.state import CLOSED, HALF_OPEN, OPEN, Route, Routing, open_wake, trial_wake
from handlers.router.tables import Circuit
from handlers.versions import VERSION_RULE, parse
from schemas.gen.worldbus.capability.v1.capability_pb2 import ServiceRegistered
from schemas.gen.worldbus.capability.v1.types_pb2 import Offer
from schemas.gen.worldbus.router.v1 import router_pb2 as said
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeFired, WakeRequested

DEFAULT_WEIGHT: Final = 10
MAX_WEIGHT: Final = 100
MAX_TEXT: Final = 64  # characters of a request id or a key
MAX_EXCLUDED: Final = 16
MAX_ERROR: Final = 256

Said = Sequence[Message]


def registered(it: ServiceRegistered, routing: Routing) -> Said:
    """Take a service up, or what it says anew; drop it if it no longer offers the capability."""
    offer = next((offer for offer in it.offers if offer.capability == routing.lane), None)
    if offer is None:
        return removed(it.service, routing)
    before, weight = routing.routes.get(it.service), _weight(offer)
    if before is not None and (before.endpoint, before.written, before.weight) == (it.endpoint, offer.version, weight):
        return ()
    number = routing.numbers + 1
    return (
        *(_stop(before) if before else ()),
        said.RouteAdded(service=it.service, endpoint=it.endpoint, version=offer.version, weight=weight, number=number),
    )


def removed(service: str, routing: Routing) -> Said:
    """The registry lists the service no longer."""
    route = routing.routes.get(service)
    return () if route is None else (said.RouteRemoved(service=service), *_stop(route))


def choose(circuit: Circuit, event: Event, it: said.RouteRequested, routing: Routing) -> Said:
    """Answer which service takes a call. A half-open circuit gets the next call, as its trial."""
    if problem := _wrong(it, routing):
        return _refused(event, it, *problem)
    least = parse(it.min_version)
    fit = {
        name: route
        for name, route in routing.routes.items()
        if name not in it.exclude and (least is None or (route.version is not None and route.version >= least))
    }
    if not fit:
        return _refused(event, it, "NO_SERVICE", f"no listed service offers {it.capability} as wanted: register one, or ask for less")
    well = {name: route for name, route in fit.items() if route.takes_calls}
    if not well:
        return _refused(event, it, "ALL_OPEN", f"the circuits of all {len(fit)} services for {it.capability} are open: ask again later")
    return _chosen(circuit, event, it, fit, well)


def _chosen(circuit: Circuit, event: Event, it: said.RouteRequested, fit: Mapping[str, Route], well: Mapping[str, Route]) -> Said:
    on_trial = sorted(name for name, route in well.items() if route.circuit == HALF_OPEN)
    service = on_trial[0] if on_trial else rendezvous(it.key or it.request_id or event.id, well)
    answer = said.RouteChosen(
        request_id=it.request_id or event.id,
        requester_subsystem=event.subsystem,
        requester_entity=event.entity,
        service=service,
        endpoint=well[service].endpoint,
        trial=bool(on_trial),
        reason=f"{len(well)} of {len(fit)} services that fit are well" + ("; the circuit of this one is tried" if on_trial else ""),
    )
    watch = (WakeRequested(name=trial_wake(well[service]), in_real_ms=circuit.trial_ms),) if on_trial else ()
    return (answer, *watch)


def rendezvous(key: str, routes: Mapping[str, Route]) -> str:
    """The service for a key: by weight, always the same one, and hardly any key moves when services come and go."""
    return max(sorted(routes), key=lambda name: _draw(key, name, routes[name].weight))


def _draw(key: str, service: str, weight: int) -> float:
    dice = int.from_bytes(blake2b(f"{key}\n{service}".encode(), digest_size=8).digest(), "big") >> 12
    return weight / -log((dice + 0.5) / 2**52)  # above 0 and below 1, exactly


def reported(circuit: Circuit, it: said.ServiceCallReported, routing: Routing) -> Said:
    """Count a call; late reports of calls made before a circuit opened say nothing about it."""
    route = routing.routes.get(it.service)
    if route is None or route.circuit == OPEN or (route.circuit == HALF_OPEN and not route.trial):
        return ()
    error = it.error[:MAX_ERROR]
    if route.circuit == HALF_OPEN:
        cancel = WakeCancelRequested(name=trial_wake(route))
        return (cancel, said.CircuitClosed(service=it.service)) if it.ok else (cancel, *_opened(circuit, it.service, route, error))
    if it.ok:
        return (said.CallFailuresForgotten(service=it.service),) if route.failures else ()
    counted = said.CallFailureCounted(service=it.service, failures=route.failures + 1)
    return (counted,) if route.failures + 1 < circuit.failures else (counted, *_opened(circuit, it.service, route, error))


def woken(circuit: Circuit, it: WakeFired, routing: Routing) -> Said:
    """The clock: an open circuit has waited long enough, or a trial call was never reported."""
    for service, route in routing.routes.items():
        if route.circuit == OPEN and it.name == open_wake(route):
            return (said.CircuitHalfOpened(service=service),)
        if route.trial and it.name == trial_wake(route):
            return _opened(circuit, service, route, f"the trial call was not reported within {circuit.trial_ms} ms")
    return ()


def _opened(circuit: Circuit, service: str, route: Route, error: str) -> Said:
    times = route.times + 1
    open_ms = circuit.open_for(times)
    opened = said.CircuitOpened(service=service, failures=route.failures + 1, open_ms=open_ms, times=times, error=error)
    return opened, WakeRequested(name=f"open-{route.number}-{times}", in_real_ms=open_ms)


def _stop(route: Route) -> Said:
    """Wakes of a route that goes."""
    if route.circuit == OPEN:
        return (WakeCancelRequested(name=open_wake(route)),)
    return (WakeCancelRequested(name=trial_wake(route)),) if route.circuit != CLOSED and route.trial else ()


def _weight(offer: Offer) -> int:
    text = next((label.text for label in offer.labels if label.name == "weight"), "")
    return min(int(text), MAX_WEIGHT) or 1 if text.isascii() and text.isdigit() and len(text) < 10 else DEFAULT_WEIGHT


def _refused(event: Event, it: said.RouteRequested, code: str, reason: str) -> Said:
    return (
        said.RouteRefused(
            request_id=it.request_id[:MAX_TEXT] or event.id,
            requester_subsystem=event.subsystem,
            requester_entity=event.entity,
            code=code,
            reason=reason,
        ),
    )


def _wrong(it: said.RouteRequested, routing: Routing) -> tuple[str, str] | None:
    if it.capability != routing.lane:
        return "BAD_NAME", f"a capability must be {NAME_RULE}, found {ascii(it.capability)[:80]}"
    if len(it.request_id) > MAX_TEXT or len(it.key) > MAX_TEXT:
        return "TOO_LONG", f"request_id and key may have {MAX_TEXT} characters, found {len(it.request_id)} and {len(it.key)}"
    if len(it.exclude) > MAX_EXCLUDED:
        return "TOO_MANY", f"at most {MAX_EXCLUDED} services may be left out, found {len(it.exclude)}"
    if it.min_version and parse(it.min_version) is None:
        return "BAD_VERSION", f"wanted {VERSION_RULE}; found {ascii(it.min_version)[:80]}"
    return None
