"""Engines: which feature is in which version, and what a newer one would bring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.capability_registry.services import MAX_REQUEST_ID, refused
from handlers.capability_registry.state import Registry
from handlers.capability_registry.tables import Feature, Line, Numbers, Tables
from handlers.names import NAME_RULE, is_token
from handlers.versions import VERSION_RULE, Version, parse
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said
from schemas.gen.worldbus.capability.v1 import types_pb2 as parts
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import EngineVersionAnnounced

MAX_ASKED: Final = 64  # features in one wish
MAX_UPGRADES: Final = 16  # in one answer

Said = Sequence[Message]
Problem = tuple[str, str]


def features(tables: Tables, event: Event, it: said.FeatureQueryRequested, registry: Registry) -> Said:
    """Answer what a version has, and what newer ones would bring."""
    adopted = registry.adopted
    if problem := _wrong(tables, event, it.version, it.platform, it.features, it.request_id):
        return refused(event, *problem)
    version = parse(it.version) or (adopted.version if adopted else None)
    if version is None:
        return refused(
            event, "NOT_ADOPTED", f"no version of {event.entity} was named and none is in use: name one, or say EngineAdoptRequested"
        )
    line = tables[event.entity]
    asked = tuple(dict.fromkeys(it.features)) or tuple(line.features)
    return (
        said.FeatureQueryAnswered(
            request_id=it.request_id or event.id,
            requester_subsystem=event.subsystem,
            requester_entity=event.entity,
            version=str(version),
            platform=it.platform,
            features=[_answer(name, line.features.get(name), version.numbers, it.platform) for name in asked],
            upgrades=_upgrades(line, registry, version, it.platform, asked),
        ),
    )


def adopt(tables: Tables, event: Event, it: said.EngineAdoptRequested, registry: Registry) -> Said:
    """Remember what the game runs on; the newest release that would bring something is suggested at once."""
    if problem := _wrong(tables, event, it.version, it.platform, it.features):
        return refused(event, *problem)
    version = parse(it.version)
    if version is None:
        return refused(event, "BAD_VERSION", f"wanted {VERSION_RULE}, found nothing: name the version in use")
    line, wanted = tables[event.entity], tuple(sorted(set(it.features)))
    adopted = said.EngineVersionAdopted(version=str(version), platform=it.platform, features=wanted)
    upgrades = _upgrades(line, registry, version, it.platform, wanted or tuple(line.features))
    best = [upgrade for upgrade in upgrades if upgrade.enables][-1:]
    return (adopted, *(_suggested(str(version), it.platform, upgrade) for upgrade in best))


def announced(tables: Tables, event: Event, it: EngineVersionAnnounced, registry: Registry) -> Said:
    """Take up a version that the monitor announced; a release that brings what is waited for is suggested, once."""
    line, version = tables.get(event.entity), parse(it.version)
    if line is None or version is None:
        return ()  # a line of which no table knows anything: nothing to say about its features
    fresh = version not in line.versions and version not in registry.known
    listed = (said.EngineVersionListed(version=str(version), channel=version.channel),) if fresh else ()
    return (*listed, *_suggestion(line, version, registry))


def _suggestion(line: Line, version: Version, registry: Registry) -> Said:
    adopted = registry.adopted
    if adopted is None or not version.is_release or version <= adopted.version or version in registry.suggested:
        return ()
    upgrade = _upgrade(line.features, adopted.version, version, adopted.platform, adopted.features or line.features)
    return (_suggested(str(adopted.version), adopted.platform, upgrade),) if upgrade.enables else ()


def _suggested(version: str, platform: str, upgrade: parts.Upgrade) -> said.EngineUpgradeSuggested:
    return said.EngineUpgradeSuggested(from_version=version, platform=platform, upgrade=upgrade)


def _answer(name: str, feature: Feature | None, numbers: Numbers, platform: str) -> parts.FeatureAnswer:
    if feature is None:
        return parts.FeatureAnswer(feature=name, standing="unknown")
    since, until = feature.since(platform), feature.until
    available = feature.in_version(numbers, platform)
    return parts.FeatureAnswer(
        feature=name,
        standing=_standing(feature, numbers, platform),
        since=_written(since),
        until=_written(until),
        requirement=feature.requirement,
        maturity=feature.maturity_in(numbers) if available else "",
    )


def _standing(feature: Feature, numbers: Numbers, platform: str) -> str:
    since = feature.since(platform)
    if feature.until is not None and feature.until <= numbers:
        return "removed"
    if since is None:
        return "other_platform"
    return "available" if since <= numbers else "not_yet"


def _written(numbers: Numbers | None) -> str:
    return "" if numbers is None else str(Version(numbers))


def _upgrades(line: Line, registry: Registry, version: Version, platform: str, asked: Iterable[str]) -> list[parts.Upgrade]:
    """The changes that the newest known releases above `version` would bring, oldest first."""
    newer = sorted({other for other in (*line.versions, *registry.known) if other > version and other.is_release})
    known = [name for name in asked if name in line.features]
    upgrades = [_upgrade(line.features, version, other, platform, known) for other in newer[-MAX_UPGRADES:]]
    return [upgrade for upgrade in upgrades if upgrade.enables or upgrade.removes]


def _upgrade(known: Mapping[str, Feature], version: Version, other: Version, platform: str, asked: Iterable[str]) -> parts.Upgrade:
    enables: list[str] = []
    removes: list[str] = []
    for name in sorted(set(asked) & known.keys()):
        now, then = (known[name].in_version(at.numbers, platform) for at in (version, other))
        if now != then:
            (enables if then else removes).append(name)
    return parts.Upgrade(version=str(other), enables=enables, removes=removes)


def _wrong(tables: Tables, event: Event, version: str, platform: str, asked: Sequence[str], request_id: str = "") -> Problem | None:
    if event.entity not in tables:
        return "UNKNOWN_LINE", f"wanted one of {', '.join(sorted(tables))}, found {event.entity}: add it to engines.toml"
    if version and parse(version) is None:
        return "BAD_VERSION", f"wanted {VERSION_RULE}; found {ascii(version)[:80]}"
    if len(request_id) > MAX_REQUEST_ID:
        return "TOO_LONG", f"request_id may have {MAX_REQUEST_ID} characters, found {len(request_id)}"
    if len(asked) > MAX_ASKED:
        return "TOO_MANY", f"at most {MAX_ASKED} features in one wish, found {len(asked)}"
    if wrong := next((name for name in (*asked, platform or "any") if not is_token(name)), None):
        return "BAD_NAME", f"features and platforms must be {NAME_RULE}, found {ascii(wrong)[:80]}"
    return None
