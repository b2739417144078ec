"""Laws of versions and of the capability registry, whatever is said in whatever order."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.capability_registry import REGISTRY, Registry
from handlers.versions import MAX_LENGTH, Version, parse
from schemas.gen.worldbus.capability.v1 import capability_pb2 as said
from schemas.gen.worldbus.capability.v1.types_pb2 import Need, Offer
from schemas.gen.worldbus.time.v1.time_pb2 import ClockPauseRequested, ClockResumeRequested, ClockStartRequested, RealTimePassed
from tests.duskmarket import capability, time

relaxed = settings(deadline=None)
numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=4)
stages = st.sampled_from(["dev", "alpha", "beta", "preview", "rc"])
versions = st.builds(
    lambda four, stage, number: Version((four[0], four[1], four[2], four[3]), stage, number if stage < 5 else 0),
    st.lists(st.integers(0, 9999), min_size=4, max_size=4),
    st.integers(0, 5),
    st.integers(0, 99),
)


@given(versions)
def test_the_normal_form_reads_back(version: Version) -> None:
    assert parse(str(version)) == version


@given(st.text(max_size=80) | st.from_regex(r"v?[0-9.]{1,12}[-+ a-z0-9.]{0,20}", fullmatch=True))
def test_any_text_is_a_version_or_none(text: str) -> None:
    version = parse(text)

    assert version is None or (len(text) <= MAX_LENGTH and parse(str(version)) == version)


@given(numbers, numbers)
def test_numbers_are_compared_as_numbers(a: list[int], b: list[int]) -> None:
    first, second = parse(".".join(map(str, a))), parse(".".join(map(str, b)))
    assert first is not None
    assert second is not None

    wide_a, wide_b = (a + [0] * (4 - len(a))), (b + [0] * (4 - len(b)))
    assert (first < second, first == second) == (wide_a < wide_b, wide_a == wide_b)


@given(numbers, stages, st.integers(0, 99), st.sampled_from(["", ".", "-", " "]))
def test_what_comes_before_a_release_stands_below_it_and_above_every_older_one(four: list[int], stage: str, number: int, mark: str) -> None:
    text = ".".join(map(str, four))
    release, early = parse(text), parse(f"{text}-{stage}{mark}{number}")
    older = parse(".".join(map(str, [*four[:-1], four[-1] - 1]))) if four[-1] else None
    assert release is not None
    assert early is not None

    assert early < release
    assert older is None or older < early


@given(st.lists(versions, max_size=12))
def test_the_order_is_total_and_a_build_does_not_matter(many: list[Version]) -> None:
    rising = sorted(many)

    assert all(one <= other for one in rising[:1] for other in many)
    assert all(not other < one for one, other in pairwise(rising))
    assert all(parse(f"{version}+build.7") == version for version in many)


services = st.sampled_from(["a", "b", "c"])
offers = st.lists(
    st.builds(lambda name, version: Offer(capability=name, version=version), st.sampled_from(["tts", "stt"]), st.sampled_from(["", "1.2"])),
    max_size=3,
)
words = st.one_of(
    st.tuples(
        services, st.builds(lambda it, ttl: said.ServiceRegisterRequested(offers=it, ttl_ms=ttl), offers, st.sampled_from([1000, 5000]))
    ),
    st.tuples(services, st.just(said.ServiceHeartbeat())),
    st.tuples(services, st.just(said.ServiceUnregisterRequested())),
    st.tuples(services, st.builds(lambda name: said.ServiceQueryRequested(needs=[Need(capability=name)]), st.sampled_from(["tts", "stt"]))),
    st.tuples(st.just("clock"), st.builds(lambda ms: RealTimePassed(real_ms=ms), st.integers(1, 7000))),
    st.tuples(st.just("clock"), st.just(ClockPauseRequested())),
    st.tuples(st.just("clock"), st.just(ClockResumeRequested())),
)


class Naive:
    """The registry as a table that is looked at: leases end between one and two times to live after the last sign of life."""

    def __init__(self) -> None:
        self.now = 0
        self.listed: dict[str, tuple[set[str], int, int]] = {}  # service → capabilities, time to live, last sign of life

    def hear(self, town: Rehearsal, entity: str, message: object) -> None:
        """Hold what is said now against what may be so."""
        state = town.state(capability, REGISTRY)
        match message:
            case RealTimePassed(real_ms=ms):
                self.now += ms
                for name, (_, ttl, seen) in list(self.listed.items()):
                    gone = name not in state.services
                    assert not gone or self.now >= seen + ttl, "no lease ends before its time"
                    assert gone or self.now <= seen + 2 * ttl + 7000, "no silent service stays"
                    if gone:
                        del self.listed[name]
            case said.ServiceRegisterRequested() as it if entity in state.services:
                if {offer.capability for offer in it.offers} == set(state.services[entity].offers) and len(it.offers) == len(
                    state.services[entity].offers
                ):
                    self.listed[entity] = ({offer.capability for offer in it.offers}, it.ttl_ms, self.now)
            case said.ServiceHeartbeat() if entity in self.listed:
                capabilities, ttl, _ = self.listed[entity]
                self.listed[entity] = (capabilities, ttl, self.now)
            case said.ServiceUnregisterRequested():
                self.listed.pop(entity, None)
            case said.ServiceQueryRequested() as it:
                answer = town.said(said.ServiceQueryAnswered)[-1]
                wanted = {name for name, (capabilities, _, _) in self.listed.items() if it.needs[0].capability in capabilities}
                assert {found.service for found in answer.found} == wanted
            case _:
                pass


@given(st.lists(words, max_size=40))
@relaxed
def test_leases_end_in_time_and_answers_fit_what_was_heard(said_words: list[tuple[str, object]]) -> None:
    town, naive = Rehearsal(time, capability), Naive()
    town.say(ClockStartRequested(), entity="clock")
    for entity, message in said_words:
        town.say(message, entity=entity)  # type: ignore[arg-type]
        naive.hear(town, entity, message)

    state = town.state(capability, REGISTRY)
    assert town.refold()["capability", REGISTRY] == state if state.leases else True
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Registry) == state
    assert set(naive.listed) == set(state.services)
