"""Whatever bytes NATS holds as an input: it is answered, parked or passed over, within bounded attempts, and never stops its lane."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bus.bounded import MAX_COPIED
from bus.check import check_time
from bus.decision import decide, defer, drop, park, retry_failed
from bus.envelope import MAX_EVENT
from bus.errors import BrokenRule
from bus.event import Event
from bus.handler import MAX_DEPTH
from bus.lane import Lane
from bus.subjects import Subject
from bus.verify import verify
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerMoved
from tests.property.test_runtime_laws import LANES, _answers, _publish, teller
from tests.simulator import PARTITIONS, WORLD, World

MOST_RECORD = 32_768  # bytes of a record of the runtime
TYPE = PlayerMoved.DESCRIPTOR.full_name
QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


class Text(NamedTuple):
    """A text that may be long, told by what it repeats."""

    of: str
    times: int = 1

    def __str__(self) -> str:
        return (self.of * self.times)[:200_000]


@dataclass(frozen=True, slots=True)
class Payload:
    """A CloudEvent that parses, with attributes of any kind, name, length and content, cut somewhere if `cut` is not negative."""

    zone: str = "1|a"
    id: Text = Text("id")  # noqa: RUF009 - a tuple
    type: str = TYPE
    attributes: tuple[tuple[str, Any], ...] = ()
    cut: int = -1
    number: int = 0  # of the input: ids are unique

    @property
    def raw(self) -> bytes:
        event = CloudEvent(id=str(self.id) + str(self.number or ""), source="/x", spec_version="1.0", type=self.type)
        event.proto_data.type_url, event.proto_data.value = (
            f"type.googleapis.com/{self.type}",
            PlayerMoved(zone=self.zone).SerializeToString(),
        )
        for name, found in self.attributes:
            value = event.attributes[name]
            match found:
                case Text():
                    value.ce_string = str(found)
                case bool():
                    value.ce_boolean = found
                case int():
                    value.ce_integer = found
                case bytes():
                    value.ce_bytes = found
                case (seconds, nanos):
                    value.ce_timestamp.seconds, value.ce_timestamp.nanos = seconds, nanos
        raw = event.SerializeToString()
        return raw if self.cut < 0 else raw[: self.cut]


@dataclass(frozen=True, slots=True)
class Junk:
    """Any bytes."""

    raw: bytes


texts = st.builds(Text, st.text(max_size=6), st.sampled_from([0, 1, 40, 500, 40_000]))
names = st.sampled_from(["causationid", "correlationid", "lane", "depth", "time", "deadline", "traceparent", "producerversion", "own"])
int32s = st.one_of(st.sampled_from([-5, -1, 63, 64, 65, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))
int64s = st.one_of(st.sampled_from([1_796_001_898_136, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
values = st.one_of(texts, int32s, st.booleans(), st.binary(max_size=20), st.tuples(int64s, int32s))
payloads = st.one_of(
    st.builds(Junk, st.binary(max_size=60)),
    st.builds(
        Payload,
        zone=st.sampled_from(["0|a", "1|a,b", "2|c", "!|d", "nonsense"]),
        id=st.one_of(st.just(Text("id")), texts),
        type=st.sampled_from([TYPE, TYPE, "other.Type", "x" * 5000]),
        attributes=st.lists(st.tuples(names, values), max_size=6, unique_by=lambda pair: pair[0]).map(tuple),
        cut=st.one_of(st.just(-1), st.integers(-1, 400)),
    ),
)


@QUICK
@given(st.lists(st.tuples(st.sampled_from(LANES), payloads), min_size=1, max_size=6))
@example([("a", Payload(attributes=(("depth", -5),))), ("a", Payload(attributes=(("depth", -(2**31)),)))])
@example([("a", Payload(id=Text("x", 131_072))), ("b", Payload(id=Text("y", 131_072)))])
@example(
    [("a", Payload(attributes=(("traceparent", Text("t", 260_144)),))), ("a", Payload(attributes=(("correlationid", Text("c", 260_144)),)))]
)
@example([("a", Payload(id=Text("\0")))])
@example([("a", Payload(attributes=(("time", (1_796_001_898_136, -1)), ("deadline", (-(2**63), 0)))))])
def test_every_input_comes_to_an_end_and_so_does_the_one_behind_it(inputs: list[tuple[str, Payload | Junk]]) -> None:
    async def run() -> World:
        world = World(teller, 1, 0.0)
        for number, (lane, payload) in enumerate(inputs, 1):
            payload = replace(payload, number=number) if isinstance(payload, Payload) else payload
            world.log._append(Subject(WORLD, "game", lane, "PlayerMoved"), payload.raw)
        for number, lane in enumerate(LANES):
            _publish(world, number, ("1", [lane], lane))
        await world.settle()
        return world

    world = asyncio.run(run())

    inputs_of = {event.partition: event.position for event in world.log.events if event.subsystem == "game"}
    assert {partition: world.floor[partition] for partition in inputs_of} == inputs_of
    for entity, answers in _answers(world).items():
        assert any(answer.lane is not None and answer.lane.position > len(inputs) for answer in answers), f"{entity} stands"
        for answer in answers:
            assert answer.name not in ("EventParked", "EventDeferred") or len(answer.raw) <= MOST_RECORD
            assert answer.cause
            assert 0 < answer.depth <= MAX_DEPTH + 1
            assert check_time(answer.time_ns) == answer.time_ns
    ids = [event.id for event in world.log.events if event.subsystem == teller.name]
    assert len(ids) == len(set(ids))
    report = verify([teller], world.log.events, partitions=PARTITIONS, settled=lambda handler, partition: 1 << 60)
    assert (report.different, report.open) == (0, 0)


@QUICK
@given(payloads)
def test_records_are_pure_and_fit(payload: Payload | Junk) -> None:
    event = Event(raw=payload.raw, subject=Subject(WORLD, "game", "a", "PlayerMoved"), partition=0, position=7, recorded_ns=5)
    lane = Lane(teller, WORLD, "a", PARTITIONS)
    error = BrokenRule("\ud800" + "no" * 10_000)

    for record in (
        lambda: park(lane, event, error, attempts=3, failed_ns=(1, 2)),
        lambda: defer(lane, event),
        lambda: retry_failed(lane, event, error),
        lambda: drop(lane, event, "why" * 5000),
    ):
        (once,), (again,) = record(), record()
        assert once.encode() == again.encode()
        assert len(once.encode()) <= MOST_RECORD


@QUICK
@given(texts.filter(str), texts, texts)
def test_an_ordinary_answer_never_fails_for_what_it_copies(name: Text, correlation: Text, trace: Text) -> None:
    payload = Payload(id=name, attributes=(("correlationid", correlation), ("traceparent", trace)))
    event = Event(raw=payload.raw, subject=Subject(WORLD, "game", "a", "PlayerMoved"), partition=0, position=7)

    plain = replace(teller, decide=lambda event, state: [PlayerEnteredZone(zone="quay")])  # says nothing of the id itself
    (draft,) = decide(Lane(plain, WORLD, "a", PARTITIONS), event)

    copied = (draft.cause, draft.correlation, draft.traceparent)
    wanted = (str(name), str(correlation) or str(name), str(trace))
    assert all(len(text.encode()) <= MAX_COPIED for text in copied)
    assert [text for text, found in zip(wanted, copied, strict=True) if len(text) <= 255 and text != found] == []
    assert len(draft.encode()) < MAX_EVENT
