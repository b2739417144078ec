"""The capability registry as tables: services and what they offer, engine versions and what an upgrade would bring."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said

SERVICES = Table("services", key=("world", "service"), keeps=("first_seen",), adds=("registrations", "expiries"))
OFFERS = Table("service_offers", key=("world", "service", "capability"))
ENGINES = Table("engines", key=("world", "line"))
VERSIONS = Table("engine_versions", key=("world", "line", "version"))
UPGRADES = Table("engine_upgrades", key=("world", "line", "from_version", "version"))


def registered(event: Event, it: said.ServiceRegistered) -> list[Change]:
    service = SERVICES.put(
        *(event.world, it.service),
        listed=True, endpoint=it.endpoint, ttl_ms=it.ttl_ms, lease=it.lease, gone_because=None, registrations=1,
        first_seen=event.time_ns, last_seen=event.time_ns,
    )  # fmt: skip
    offers = [
        OFFERS.put(
            *(event.world, it.service, offer.capability),
            version=offer.version, platforms=list(offer.platforms), labels={label.name: label.text for label in offer.labels},
        )
        for offer in it.offers
    ]  # fmt: skip
    return [service, OFFERS.drop(event.world, it.service), *offers]


def seen(event: Event, it: said.ServiceSeen) -> Change:
    return SERVICES.put(event.world, it.service, last_seen=event.time_ns)


def expired(event: Event, it: said.ServiceExpired) -> list[Change]:
    return [SERVICES.put(event.world, it.service, listed=False, gone_because="expired", expiries=1), OFFERS.drop(event.world, it.service)]


def unregistered(event: Event, it: said.ServiceUnregistered) -> list[Change]:
    return [SERVICES.put(event.world, it.service, listed=False, gone_because="unregistered"), OFFERS.drop(event.world, it.service)]


def adopted(event: Event, it: said.EngineVersionAdopted) -> Change:
    return ENGINES.put(
        event.world, event.entity, version=it.version, platform=it.platform, waits_for=list(it.features), adopted_at=event.time_ns
    )


def listed(event: Event, it: said.EngineVersionListed) -> Change:
    return VERSIONS.put(event.world, event.entity, it.version, channel=it.channel, listed_at=event.time_ns)


def suggested(event: Event, it: said.EngineUpgradeSuggested) -> Change:
    return UPGRADES.put(
        *(event.world, event.entity, it.from_version, it.upgrade.version),
        platform=it.platform, enables=list(it.upgrade.enables), removes=list(it.upgrade.removes), suggested_at=event.time_ns,
    )  # fmt: skip


capabilities = Projection(
    name="capabilities",
    version=1,
    said_by="capability",
    schema=sql_beside(__file__),
    tables=(SERVICES, OFFERS, ENGINES, VERSIONS, UPGRADES),
    on={
        said.ServiceRegistered: registered,
        said.ServiceSeen: seen,
        said.ServiceExpired: expired,
        said.ServiceUnregistered: unregistered,
        said.EngineVersionAdopted: adopted,
        said.EngineVersionListed: listed,
        said.EngineUpgradeSuggested: suggested,
    },
)
