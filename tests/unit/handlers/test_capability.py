"""The rules of the capability registry, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from bus.errors import BadSettings
from bus.testing import Case, Rehearsal, given
from handlers.capability_registry import REGISTRY, Registry, capability_registry
from handlers.capability_registry.services import DEFAULT_TTL_MS, MAX_SERVICES
from handlers.capability_registry.tables import lines
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said
from schemas.gen.worldbus.capability.v1.types_pb2 import FeatureAnswer, Label, Need, Offer, Upgrade
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone
from schemas.gen.worldbus.time.v1.time_pb2 import (
    ClockPauseRequested,
    ClockStartRequested,
    RealTimePassed,
    WakeCancelRequested,
    WakeFired,
    WakeRequested,
)
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import EngineVersionAnnounced
from tests.duskmarket import capability, time

TTS = Offer(capability="tts", version="1.10", platforms=["windows"], labels=[Label(name="lang", text="en")])
TABLE = {
    "lines": {
        "unreal": {
            "versions": ["5.2", "5.3", "5.4"],
            "features": {
                "nanite": {"on": {"windows": "5.0", "mac": "5.3"}, "requirement": "SM6", "maturity": {"beta": "5.0", "production": "5.2"}},
                "pcg": {"on": {"windows": "5.4"}},
                "rays": {"on": {"windows": "5.5"}},
                "physx": {"on": {"windows": "4.0"}, "until": "5.3"},
            },
        }
    }
}
engine = capability_registry(lines(TABLE, "test"))


def listed(*offers: Offer, service: str = "voice-1", **more: Any) -> Case[Registry]:
    wish = said.ServiceRegisterRequested(endpoint="http://voice", offers=offers or [TTS], **more)
    return given(capability, entity=REGISTRY).when(wish, entity=service)


def looked(case: Case[Registry], lease: int = 1) -> Case[Registry]:
    """The clock's wake for a lease."""
    woken = WakeFired(subsystem="capability", entity=REGISTRY, name=f"lease-{lease}")
    return case.when(woken, entity="clock", subsystem="time")


def refusal(case: Case[Any]) -> str:
    (no,) = case.said
    assert isinstance(no, said.CapabilityRequestRefused)
    assert no.request
    assert no.request_event_id
    assert len(no.reason) > 20
    return no.code


def ask(case: Case[Registry], *needs: Need, **more: Any) -> said.ServiceQueryAnswered:
    (answer,) = case.when(said.ServiceQueryRequested(needs=needs, **more), entity="mira", subsystem="npc").said
    assert isinstance(answer, said.ServiceQueryAnswered)
    return answer


def test_registering_lists_the_service_and_starts_its_lease() -> None:
    listed(ttl_ms=5000).then(
        said.ServiceRegistered(service="voice-1", endpoint="http://voice", offers=[TTS], ttl_ms=5000, lease=1, registrant="game"),
        WakeRequested(name="lease-1", in_real_ms=5000),
    )


def test_the_time_to_live_has_a_default() -> None:
    assert listed().state.services["voice-1"].ttl_ms == DEFAULT_TTL_MS


def test_the_same_registration_again_is_a_sign_of_life() -> None:
    wish = said.ServiceRegisterRequested(endpoint="http://voice", offers=[TTS])

    listed().when(wish, entity="voice-1").then(said.ServiceSeen(service="voice-1", lease=1)).when(wish, entity="voice-1").then_types(
        RequestFoundDone
    )


def test_other_offers_replace_the_lease() -> None:
    other = said.ServiceRegisterRequested(endpoint="http://voice", offers=[Offer(capability="stt")])
    case = listed().when(other, entity="voice-1")

    case.then(
        WakeCancelRequested(name="lease-1"),
        said.ServiceRegistered(
            service="voice-1",
            endpoint="http://voice",
            offers=other.offers,
            ttl_ms=DEFAULT_TTL_MS,
            lease=2,
            dropped=["tts"],
            registrant="game",
        ),
        WakeRequested(name="lease-2", in_real_ms=DEFAULT_TTL_MS),
    )
    looked(case, lease=1).then_nothing()
    assert ask(case, Need(capability="tts")).unmet == ["tts"]


def test_only_the_first_heartbeat_of_a_period_is_recorded() -> None:
    case = listed().when(said.ServiceHeartbeat(), entity="voice-1").then(said.ServiceSeen(service="voice-1", lease=1))
    case = case.when(said.ServiceHeartbeat(), entity="voice-1").then_nothing()
    case = looked(case).then(WakeRequested(name="lease-1", in_real_ms=DEFAULT_TTL_MS))

    case.when(said.ServiceHeartbeat(), entity="voice-1").then(said.ServiceSeen(service="voice-1", lease=1))


def test_a_silent_service_expires() -> None:
    case = looked(listed(ttl_ms=1000)).then(said.ServiceExpired(service="voice-1", lease=1, capabilities=["tts"], ttl_ms=1000))

    case.then_state(services={})
    assert refusal(case.when(said.ServiceHeartbeat(), entity="voice-1")) == "NOT_REGISTERED"


def test_a_service_may_take_itself_off_the_list() -> None:
    wish = said.ServiceUnregisterRequested(reason="drained")
    case = listed().when(wish, entity="voice-1")

    case.then(
        said.ServiceUnregistered(service="voice-1", lease=1, capabilities=["tts"], reason="drained"), WakeCancelRequested(name="lease-1")
    )
    looked(case).then_nothing()
    case.when(wish, entity="voice-1").then_types(RequestFoundDone)


def test_a_lease_runs_out_while_the_world_is_paused() -> None:
    town = Rehearsal(time, capability)
    town.say(ClockStartRequested(), entity="clock")
    town.say(ClockPauseRequested(), entity="clock")
    town.say(said.ServiceRegisterRequested(offers=[TTS], ttl_ms=5000), entity="voice-1")
    town.say(RealTimePassed(real_ms=4999), entity="clock")
    assert not town.said(said.ServiceExpired)
    town.say(RealTimePassed(real_ms=1), entity="clock")

    (expired,) = town.said(said.ServiceExpired, entity=REGISTRY)
    assert expired.service == "voice-1"


@pytest.mark.parametrize(
    ("need", "met"),
    [
        (Need(capability="tts"), True),
        (Need(capability="stt"), False),
        (Need(capability="tts", min_version="1.9"), True),
        (Need(capability="tts", min_version="1.10"), True),
        (Need(capability="tts", min_version="1.11"), False),
        (Need(capability="tts", platform="windows"), True),
        (Need(capability="tts", platform="ps5"), False),
        (Need(capability="tts", labels=[Label(name="lang", text="en")]), True),
        (Need(capability="tts", labels=[Label(name="lang", text="fr")]), False),
        (Need(capability="anywhere", platform="ps5"), True),
        (Need(capability="anywhere", min_version="0.1"), False),
    ],
)
def test_a_need_is_met_by_capability_version_platform_and_labels(need: Need, met: bool) -> None:
    answer = ask(listed(TTS, Offer(capability="anywhere")), need)

    assert ([found.service for found in answer.found], list(answer.unmet)) == (["voice-1"] if met else [], [] if met else [need.capability])


def test_a_service_must_meet_all_needs_and_the_answer_names_who_asked() -> None:
    case = listed(TTS, Offer(capability="stt")).when(said.ServiceRegisterRequested(offers=[TTS]), entity="voice-2")

    answer = ask(case, Need(capability="tts"), Need(capability="stt"), request_id="q1")
    assert (answer.request_id, answer.requester_subsystem, answer.requester_entity) == ("q1", "npc", "mira")
    assert [found.service for found in answer.found] == ["voice-1"]
    assert [offer.capability for offer in answer.found[0].offers] == ["tts", "stt"]
    assert ask(case, Need(capability="tts"), limit=1).total == 2
    assert len(ask(case, Need(capability="tts"), limit=1).found) == 1


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (said.ServiceRegisterRequested(), "BAD_OFFER"),
        (said.ServiceRegisterRequested(offers=[TTS, TTS]), "BAD_OFFER"),
        (said.ServiceRegisterRequested(offers=[Offer(capability="a b")]), "BAD_OFFER"),
        (said.ServiceRegisterRequested(offers=[Offer(capability="a", platforms=["p.5"])]), "BAD_OFFER"),
        (said.ServiceRegisterRequested(offers=[Offer(capability="a", labels=[Label(name="n"), Label(name="n")])]), "BAD_OFFER"),
        (said.ServiceRegisterRequested(offers=[Offer(capability="a", version="new")]), "BAD_VERSION"),
        (said.ServiceRegisterRequested(offers=[TTS], ttl_ms=999), "BAD_TTL"),
        (said.ServiceRegisterRequested(offers=[TTS], endpoint="e" * 257), "TOO_LONG"),
        (said.ServiceQueryRequested(), "BAD_NEED"),
        (said.ServiceQueryRequested(needs=[Need(capability="")]), "BAD_NEED"),
        (said.ServiceQueryRequested(needs=[Need(capability="a", min_version="x")]), "BAD_VERSION"),
        (said.ServiceQueryRequested(needs=[Need(capability="a")], limit=65), "BAD_NEED"),
        (said.ServiceHeartbeat(), "NOT_REGISTERED"),
    ],
)
def test_bad_words_of_services_are_refused(wish: Any, code: str) -> None:
    assert refusal(given(capability, entity=REGISTRY).when(wish, entity="voice-1")) == code


def test_the_registry_has_an_end() -> None:
    case = given(capability, entity=REGISTRY)
    for number in range(MAX_SERVICES):
        case = case.when(said.ServiceRegisterRequested(offers=[TTS]), entity=f"s{number}")

    assert refusal(case.when(said.ServiceRegisterRequested(offers=[TTS]), entity="one-more")) == "TOO_MANY"


def features(version: str = "", platform: str = "", *names: str, case: Case[Registry] | None = None) -> said.FeatureQueryAnswered:
    wish = said.FeatureQueryRequested(version=version, platform=platform, features=names)
    (answer,) = (case or given(engine, entity="unreal")).when(wish).said
    assert isinstance(answer, said.FeatureQueryAnswered)
    return answer


@pytest.mark.parametrize(
    ("version", "platform", "feature", "standing"),
    [
        ("5.2", "windows", "nanite", "available"),
        ("5.2", "mac", "nanite", "not_yet"),
        ("5.3", "mac", "nanite", "available"),
        ("5.3", "ps5", "nanite", "other_platform"),
        ("5.4-preview.1", "windows", "pcg", "available"),
        ("5.10", "windows", "rays", "available"),
        ("5.2.9", "windows", "physx", "available"),
        ("5.3", "windows", "physx", "removed"),
        ("5.3", "", "hats", "unknown"),
    ],
)
def test_a_feature_stands_by_version_and_platform(version: str, platform: str, feature: str, standing: str) -> None:
    (answer,) = features(version, platform, feature).features

    assert answer.standing == standing


def test_an_answer_says_since_when_and_what_it_takes() -> None:
    assert list(features("5.1", "", "nanite", "physx").features) == [
        FeatureAnswer(feature="nanite", standing="available", since="5.0.0", requirement="SM6", maturity="beta"),
        FeatureAnswer(feature="physx", standing="available", since="4.0.0", until="5.3.0", maturity="experimental"),
    ]


def test_an_answer_suggests_what_newer_versions_would_bring_and_take_away() -> None:
    assert list(features("5.2", "windows").upgrades) == [
        Upgrade(version="5.3.0", removes=["physx"]),
        Upgrade(version="5.4.0", enables=["pcg"], removes=["physx"]),
    ]
    assert list(features("5.2", "mac", "nanite").upgrades) == [
        Upgrade(version="5.3.0", enables=["nanite"]),
        Upgrade(version="5.4.0", enables=["nanite"]),
    ]


def adopted(*names: str) -> Case[Registry]:
    return given(engine, entity="unreal").when(
        said.EngineAdoptRequested(version="5.3", platform="windows", features=names), subsystem="operator"
    )


def heard(case: Case[Registry], version: str, subsystem: str = "uemonitor") -> Case[Registry]:
    return case.when(EngineVersionAnnounced(version=version, channel="release"), subsystem=subsystem)


def test_adopting_a_version_suggests_the_newest_that_brings_something() -> None:
    adopted().then(
        said.EngineVersionAdopted(version="5.3.0", platform="windows"),
        said.EngineUpgradeSuggested(from_version="5.3.0", platform="windows", upgrade=Upgrade(version="5.4.0", enables=["pcg"])),
    )
    assert features(case=adopted()).version == "5.3.0"


def test_an_announced_release_that_brings_what_is_waited_for_is_suggested_once() -> None:
    case = heard(adopted("rays"), "5.5.0")

    case.then(
        said.EngineVersionListed(version="5.5.0", channel="release"),
        said.EngineUpgradeSuggested(from_version="5.3.0", platform="windows", upgrade=Upgrade(version="5.5.0", enables=["rays"])),
    )
    heard(case, "5.5.0").then_nothing()


def test_a_preview_is_listed_and_not_suggested() -> None:
    heard(adopted("rays"), "5.5.0-preview.1").then(said.EngineVersionListed(version="5.5.0-preview.1", channel="preview"))


def test_an_announced_release_that_brings_nothing_is_only_listed() -> None:
    heard(adopted("nanite"), "5.6.0").then(said.EngineVersionListed(version="5.6.0", channel="release"))


def test_only_the_monitor_is_believed() -> None:
    heard(adopted("rays"), "5.5.0", subsystem="game").then_nothing()


def test_an_announcement_of_an_unknown_line_says_nothing() -> None:
    given(engine, entity="source").when(EngineVersionAnnounced(version="2.0.0"), subsystem="uemonitor").then_nothing()


@pytest.mark.parametrize(
    ("entity", "wish", "code"),
    [
        ("source", said.FeatureQueryRequested(version="5.3"), "UNKNOWN_LINE"),
        ("unreal", said.FeatureQueryRequested(), "NOT_ADOPTED"),
        ("unreal", said.FeatureQueryRequested(version="five"), "BAD_VERSION"),
        ("unreal", said.FeatureQueryRequested(version="5.3", features=["a b"]), "BAD_NAME"),
        ("unreal", said.FeatureQueryRequested(version="5.3", features=["a"] * 65), "TOO_MANY"),
        ("unreal", said.FeatureQueryRequested(version="5.3", request_id="r" * 65), "TOO_LONG"),
        ("unreal", said.EngineAdoptRequested(), "BAD_VERSION"),
        ("unreal", said.EngineAdoptRequested(version="5.3", platform="p s"), "BAD_NAME"),
    ],
)
def test_bad_questions_about_engines_are_refused(entity: str, wish: Any, code: str) -> None:
    assert refusal(given(engine, entity=entity).when(wish, subsystem="operator")) == code


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({}, "lines"),
        ({"lines": {}}, "at least one line"),
        ({"lines": {"a b": {}}}, "name must be"),
        ({"lines": {"u": {"versions": [5.10]}}}, "in quotes"),
        ({"lines": {"u": {"features": {"f": {}}}}}, "at least one platform"),
        ({"lines": {"u": {"features": {"f": {"on": {"windows": "5.0"}, "until": "5.0"}}}}}, "until must be above"),
        ({"lines": {"u": {"features": {"f": {"on": {"windows": "5.0"}, "untill": "5.1"}}}}}, "no such setting 'untill'"),
        ({"lines": {"u": {"features": {"f": {"on": {"windows": "5.0"}, "maturity": {"done": "5.1"}}}}}}, "none of"),
        ({"lines": {"u": {"features": {"f": {"on": {"windows": "5.0"}, "maturity": {"production": "5.0", "beta": "5.1"}}}}}}, "must rise"),
        ({"lines": {"u": {"features": {"f": 3}}}}, "wanted a table"),
    ],
)
def test_a_bad_table_is_refused_by_name(table: dict[str, Any], word: str) -> None:
    with pytest.raises(BadSettings, match=word):
        lines(table, "engines.toml")
