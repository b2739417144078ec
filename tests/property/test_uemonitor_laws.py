"""Laws of the version monitor, whatever a feed says how often."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import given as lane
from handlers.uemonitor import EDGE, Line
from handlers.versions import parse
from schemas.gen.worldbus.uemonitor.v1.types_pb2 import FeedEntry
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import EngineVersionAnnounced, EngineVersionsListed, ReleaseFeedFailed, ReleaseFeedRead
from tests.duskmarket import uemonitor

texts = st.one_of(
    st.builds(lambda a, b: f"{a}.{b}", st.integers(4, 6), st.integers(0, 12)),
    st.builds(lambda a, b, c: f"v{a}.{b}.0-preview-{c}", st.integers(5, 6), st.integers(0, 12), st.integers(1, 3)),
    st.text(max_size=70),
)
readings = st.builds(lambda it: ReleaseFeedRead(entries=[FeedEntry(version=text) for text in it]), st.lists(texts, max_size=40))
failures = st.builds(lambda n: ReleaseFeedFailed(attempts=n, code="timed_out"), st.integers(1, 6))


@given(st.lists(readings | failures, max_size=8))
@settings(deadline=None)
def test_every_version_is_told_once_and_the_newest_rises(words: list[ReleaseFeedRead | ReleaseFeedFailed]) -> None:
    case, told, newest = lane(uemonitor, entity="unreal"), Counter[str](), dict[str, str]()
    for word in words:
        case = case.when(word, subsystem=EDGE)
        for said in case.said:
            if isinstance(said, EngineVersionsListed):
                told.update(said.versions)
            if isinstance(said, EngineVersionAnnounced):
                told[said.version] += 1
                before, now = parse(newest.get(said.channel, "0.0-dev")), parse(said.version)
                assert before is not None
                assert now is not None
                if said.newest:
                    assert before < now
                    newest[said.channel] = said.version

    read = {
        str(version) for word in words if isinstance(word, ReleaseFeedRead) for entry in word.entries if (version := parse(entry.version))
    }
    assert set(told) == read
    assert not told or max(told.values()) == 1
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(case.state), type=Line) == case.state


@given(st.lists(readings, min_size=1, max_size=6))
@settings(deadline=None)
def test_reading_again_says_nothing(words: list[ReleaseFeedRead]) -> None:
    case = lane(uemonitor, entity="unreal")
    for word in words:
        case = case.when(word, subsystem=EDGE).when(word, subsystem=EDGE)

        case.then_nothing()
