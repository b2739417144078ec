"""The rules of the version monitor, one by one."""

from __future__ import annotations

from bus.testing import Case, Rehearsal, given
from handlers.uemonitor import EDGE, MAX_ANNOUNCED, MAX_KNOWN, OUTAGE_ATTEMPTS, Line
from schemas.gen.worldbus.capability.v1.capability_pb2 import EngineAdoptRequested, EngineUpgradeSuggested, EngineVersionListed
from schemas.gen.worldbus.uemonitor.v1.types_pb2 import FeedEntry
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import (
    EngineVersionAnnounced,
    EngineVersionsListed,
    FeedEntriesRefused,
    FeedOutageEnded,
    FeedOutageNoticed,
    ReleaseFeedFailed,
    ReleaseFeedRead,
)
from tests.duskmarket import capability, uemonitor

SOURCE = "https://example.org/feed.json"


def feed(*versions: str) -> ReleaseFeedRead:
    return ReleaseFeedRead(source=SOURCE, entries=[FeedEntry(version=version) for version in versions])


def read(case: Case[Line], *versions: str) -> Case[Line]:
    return case.when(feed(*versions), subsystem=EDGE)


def fresh() -> Case[Line]:
    return given(uemonitor, entity="unreal")


def failed(case: Case[Line], attempts: int) -> Case[Line]:
    return case.when(ReleaseFeedFailed(source=SOURCE, code="timed_out", reason="10 s", attempts=attempts), subsystem=EDGE)


def news(case: Case[Line]) -> list[str]:
    return [it.version for it in case.said if isinstance(it, EngineVersionAnnounced)]


def test_of_a_feeds_past_only_the_newest_release_is_news() -> None:
    read(fresh(), "5.9", "5.10", "5.8.1").then(
        EngineVersionsListed(versions=["5.8.1", "5.9.0"]),
        EngineVersionAnnounced(version="5.10.0", channel="release", newest=True, previous="5.9.0", written="5.10"),
    )


def test_a_preview_above_the_newest_release_is_news_too() -> None:
    assert news(read(fresh(), "5.10", "5.11-preview-1", "5.10-rc1")) == ["5.10.0", "5.11.0-preview.1"]


def test_an_entry_is_announced_with_its_title_link_and_time() -> None:
    entry = FeedEntry(version="v5.6", title="Unreal Engine 5.6", link="https://example.org/5.6", published_ms=1_700_000_000_000)

    fresh().when(ReleaseFeedRead(source=SOURCE, entries=[entry]), subsystem=EDGE).then(
        EngineVersionAnnounced(
            version="5.6.0",
            channel="release",
            newest=True,
            title="Unreal Engine 5.6",
            link="https://example.org/5.6",
            published_ms=1_700_000_000_000,
            written="v5.6",
        )
    )


def test_a_version_is_announced_once_however_it_is_written() -> None:
    case = read(fresh(), "5.9")

    read(case, "5.9", "v5.9.0", "5.9.0+build.4").then_nothing()
    assert news(read(case, "5.10", "v5.10.0")) == ["5.10.0"]


def test_a_patch_of_an_older_version_is_news_and_not_the_newest() -> None:
    read(read(fresh(), "5.10"), "5.10", "5.9.3").then(
        EngineVersionAnnounced(version="5.9.3", channel="release", newest=False, previous="5.10.0", written="5.9.3")
    )


def test_several_new_versions_are_announced_from_the_lowest() -> None:
    case = read(read(fresh(), "5.9"), "5.10", "5.9.1")

    assert [(it.version, it.newest, it.previous) for it in case.said if isinstance(it, EngineVersionAnnounced)] == [
        ("5.9.1", True, "5.9.0"),
        ("5.10.0", True, "5.9.1"),
    ]


def test_the_release_after_its_preview_is_news() -> None:
    case = read(fresh(), "5.10", "5.11-preview-1")

    read(case, "5.11").then(EngineVersionAnnounced(version="5.11.0", channel="release", newest=True, previous="5.10.0", written="5.11"))


def test_a_very_long_reading_is_listed_but_for_its_newest() -> None:
    case = read(read(fresh(), "1.0"), *(f"2.{minor}" for minor in range(100)))

    assert news(case) == [f"2.{minor}.0" for minor in range(100 - MAX_ANNOUNCED, 100)]
    (listed,) = (it for it in case.said if isinstance(it, EngineVersionsListed))
    assert list(listed.versions) == [f"2.{minor}.0" for minor in range(100 - MAX_ANNOUNCED)]
    read(case, *(f"2.{minor}" for minor in range(100))).then_nothing()


def test_what_was_forgotten_is_not_news_again() -> None:
    case = fresh()
    for start in range(0, MAX_KNOWN + 100, 100):
        case = read(case, *(f"3.{minor}" for minor in range(start, start + 100)))

    assert len(case.state.known) == MAX_KNOWN
    read(case, "3.0", "3.5").then_nothing()


def test_entries_that_are_no_versions_are_named_once() -> None:
    case = read(fresh(), "5.9", "Fortnite", "five\n")

    (refused,) = (it for it in case.said if isinstance(it, FeedEntriesRefused))
    assert list(refused.found) == ["Fortnite", "five\n"]
    assert "'five\\n'" in refused.reason
    read(case, "5.9", "Fortnite").then_nothing()


def test_an_outage_is_noticed_once_and_its_end_too() -> None:
    case = failed(read(fresh(), "5.9"), OUTAGE_ATTEMPTS - 1).then_nothing()
    case = failed(case, OUTAGE_ATTEMPTS).then(FeedOutageNoticed(source=SOURCE, code="timed_out", reason="10 s", attempts=OUTAGE_ATTEMPTS))
    case = failed(case, OUTAGE_ATTEMPTS + 1).then_nothing()

    read(case, "5.9").then(FeedOutageEnded(source=SOURCE))


def test_only_the_edge_is_believed() -> None:
    fresh().when(feed("5.9"), subsystem="game").then_nothing()


def test_the_registry_hears_and_suggests() -> None:
    town = Rehearsal(uemonitor, capability)
    town.say(EngineAdoptRequested(version="5.6", platform="windows", features=["nanite_foliage"]), entity="unreal", subsystem="operator")
    town.say(feed("5.6"), entity="unreal", subsystem=EDGE)
    town.say(feed("5.6", "5.7-preview-1"), entity="unreal", subsystem=EDGE)
    assert not town.said(EngineUpgradeSuggested)
    town.say(feed("5.7", "5.7-preview-1"), entity="unreal", subsystem=EDGE)

    assert [it.version for it in town.said(EngineVersionListed, entity="unreal")] == ["5.7.0-preview.1", "5.7.0"]
    (suggested,) = town.said(EngineUpgradeSuggested, entity="unreal")
    assert (suggested.upgrade.version, list(suggested.upgrade.enables)) == ("5.7.0", ["nanite_foliage"])
