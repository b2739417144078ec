"""The bad-input matrix: whatever comes in, the answer is a typed error with a stable code, the connection lives on, and nothing is stored.

Each class has at least 25 cases, drawn from a seed that the test's name fixes. The classes are numbered as in the reference of errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bus.connection import Connection, connect
from bus.errors import BadEvent, Misuse, PermissionDenied, Rejected, TooLarge, WorldbusError
from bus.event import Draft
from bus.json_format import from_json
from bus.log import Log, LogConfig, attach, open_log
from bus.protobuf_format import from_protobuf
from bus.publisher import Publisher, open_publisher
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerJoined, PlayerMoved
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked
from tests.integration.bus.drafts import moved
from worldbus.embedded import NatsServer
from worldbus.embedded.nats import binary, free_ports
from worldbus.embedded.process import Process

Try = Callable[[Any], Awaitable[object]]
ENOUGH = 25
JSON_EVENT = {
    "specversion": "1.0",
    "id": "i",
    "source": "/worldbus/game",
    "type": "PlayerMoved",
    "subject": "p1",
    "world": "w",
    "data": {"zone": "z"},
}


class Gate:
    """Sends hostile input through every door and expects a refusal."""

    def __init__(self, connection: Connection, log: Log, publisher: Publisher, seed: str) -> None:
        self.connection = connection
        self.log = log
        self.publisher = publisher
        self.random = random.Random(seed)
        self.disconnects = 0
        connection.on_disconnect.append(self._count)

    def _count(self) -> None:
        self.disconnects += 1

    async def refuses(self, cases: list[Any], through: Try, *codes: str) -> None:
        """Every case ends in a `Rejected` with one of the codes; afterwards the log is as long as before and the connection never broke."""
        before = (await self.log.state()).last
        assert len(cases) >= ENOUGH
        for case in cases:
            with pytest.raises(WorldbusError) as refused:
                await through(case)
            shown = f"{case!r:.200} gave {refused.value.code}: {refused.value}"
            assert isinstance(refused.value, Rejected), shown
            assert refused.value.code in codes, shown
            assert len(str(refused.value)) < 1000, shown
        assert await self.publisher.publish(moved(0)) == before + 1
        assert (await self.log.state()).last == before + 1
        assert self.connection.connected
        assert self.disconnects == 0

    async def protobuf(self, raw: bytes) -> object:
        return await self.publisher.publish(from_protobuf(raw))

    async def json(self, raw: bytes | str) -> object:
        return await self.publisher.publish(from_json(raw))

    async def draft(self, fields: dict[str, Any]) -> object:
        return await self.publisher.publish(Draft(**{"data": PlayerMoved(zone="z"), "world": "w", "entity": "e"} | fields))

    async def everywhere(self, fields: dict[str, Any]) -> object:
        """The same bad field through the three ways to publish; all refuse, and in the same words."""
        draft = Draft(**{"data": PlayerMoved(zone="z"), "world": "w", "entity": "e"} | fields)
        errors = []
        for call in (
            self.publisher.publish(draft),
            self.publisher.publish_many([moved(1), draft]),
            self.publisher.publish_group([moved(1), draft]),
        ):
            try:
                await call
            except WorldbusError as error:
                errors.append(error)
        assert 3 == len(errors)
        assert 1 == len({(error.code, str(error)) for error in errors})
        raise errors[0]


@pytest_asyncio.fixture
async def gate(connection: Connection, log: Log, publisher: Publisher, request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    yield Gate(connection, log, publisher, request.node.name)


def event(**changes: Any) -> CloudEvent:
    made = CloudEvent.FromString(Draft(data=PlayerMoved(zone="market", x=1.0), world="w", entity="e").encode())
    for name, value in changes.items():
        setattr(made, name, value)
    return made


async def test_b1_random_bytes(gate: Gate) -> None:
    cases = [gate.random.randbytes(gate.random.randint(1, 300)) for _ in range(200)]
    await gate.refuses(cases, gate.protobuf, "BAD_PAYLOAD", "BAD_UTF8", "MISSING_ATTRIBUTE")


async def test_b1_random_bytes_as_json(gate: Gate) -> None:
    cases = [gate.random.randbytes(gate.random.randint(1, 300)) for _ in range(100)]
    cases += ["{", "[", '"', "nul", "truee", "{]", '{"a" 1}', "{'a': 1}", "[1,]", '{"a":1,}', "// no", "\ufeff{}", "1 2", "{}{}"]
    await gate.refuses(cases, gate.json, "BAD_PAYLOAD", "BAD_UTF8", "MISSING_ATTRIBUTE", "UNKNOWN_TYPE")


async def test_b2_truncated_bytes(gate: Gate) -> None:
    raw = event().SerializeToString()
    cases = [raw[:end] for end in range(1, len(raw))]
    codes = (
        "BAD_PAYLOAD",
        "BAD_UTF8",
        "MISSING_ATTRIBUTE",
        "MISSING_DATA",
        "TYPE_MISMATCH",
        "BAD_SUBJECT",
        "UNSUPPORTED_VERSION",
        "UNKNOWN_TYPE",
    )
    await gate.refuses(cases, gate.protobuf, *codes)


async def test_b2_truncated_json(gate: Gate) -> None:
    raw = json.dumps(JSON_EVENT)
    await gate.refuses([raw[:end] for end in range(1, len(raw))], gate.json, "BAD_PAYLOAD")


async def test_b3_empty_bodies(gate: Gate) -> None:
    blank = ["", *("".join(gate.random.choices(" \t\r\n", k=n)) for n in range(1, 20))]
    await gate.refuses([b"", *(text.encode() for text in blank), *blank], gate.json, "BAD_PAYLOAD")
    with pytest.raises(BadEvent, match="empty body"):
        from_protobuf(b"")


async def test_b3_empty_documents(gate: Gate) -> None:
    cases = ["{}", "[]", "null", "0", '""', "true", *(json.dumps({name: JSON_EVENT[name]}) for name in JSON_EVENT)]
    cases += [
        json.dumps({name: value for name, value in JSON_EVENT.items() if name not in ("type", "world", "subject")[: n % 3 + 1]})
        for n in range(15)
    ]
    await gate.refuses(cases, gate.json, "BAD_PAYLOAD", "MISSING_ATTRIBUTE", "UNKNOWN_TYPE", "BAD_SUBJECT")


async def test_b4_bytes_of_another_type(gate: Gate) -> None:
    cases = []
    for n in range(ENOUGH):
        wrong_url = event()
        wrong_url.proto_data.type_url = f"type.googleapis.com/worldbus.player.v1.{('PlayerJoined', 'PlayerLeft', f'Nothing{n}')[n % 3]}"
        wrong_body = event()
        wrong_body.proto_data.value = (
            PlayerJoined(display_name="x", platform="y", game_server=f"s{n}"),
            EventParked(handler="h", position=n + 1, event_id="e"),
            PlayerEnteredZone(zone="a", previous="b", x=n),
        )[n % 3].SerializeToString()
        cases += [wrong_url.SerializeToString(), wrong_body.SerializeToString()]
    await gate.refuses(cases, gate.protobuf, "TYPE_MISMATCH")


async def test_b4_a_whole_other_message_instead_of_an_envelope(gate: Gate) -> None:
    cases = [
        PlayerJoined(
            display_name=f"n{n}", platform="/worldbus/game", game_server="1.0", zone="worldbus.player.v1.PlayerMoved", x=n
        ).SerializeToString()
        for n in range(ENOUGH)
    ]
    await gate.refuses(cases, gate.protobuf, "BAD_PAYLOAD", "MISSING_DATA", "UNKNOWN_FIELD")


async def test_b5_unknown_types_get_a_suggestion(gate: Gate) -> None:
    def misspelt() -> str:
        name = list("PlayerMoved")
        at = gate.random.randrange(1, len(name))
        name[at : at + 1] = gate.random.choice([[], [name[at], name[at]], ["x"]])
        return "".join(name)

    names = [misspelt() for _ in range(40)]
    await gate.refuses([json.dumps(JSON_EVENT | {"type": name}) for name in names], gate.json, "UNKNOWN_TYPE")
    for name in names:
        with pytest.raises(BadEvent, match="did you mean PlayerMoved"):
            from_json(json.dumps(JSON_EVENT | {"type": name}))
    cases = [event(type=f"worldbus.player.v1.{name}") for name in names]
    for case in cases:
        case.proto_data.type_url = f"type.googleapis.com/{case.type}"
    await gate.refuses([case.SerializeToString() for case in cases], gate.protobuf, "UNKNOWN_TYPE")


async def test_b6_newer_versions(gate: Gate) -> None:
    names = [f"worldbus.player.v{n}.PlayerMoved" for n in range(2, 2 + ENOUGH)]
    await gate.refuses([json.dumps(JSON_EVENT | {"type": name}) for name in names], gate.json, "UNSUPPORTED_VERSION")
    await gate.refuses([json.dumps(JSON_EVENT | {"specversion": f"{n}.{n}"}) for n in range(2, 30)], gate.json, "UNSUPPORTED_VERSION")
    cases = [event(spec_version=f"0.{n}").SerializeToString() for n in range(ENOUGH)]
    await gate.refuses(cases, gate.protobuf, "UNSUPPORTED_VERSION")


async def test_b7_invalid_utf8(gate: Gate) -> None:
    bad = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc3", b"ok\x80"]
    cases = []
    for n in range(30):
        made = event()
        made.proto_data.value = b"\x0a" + bytes((len(bad[n % 6]),)) + bad[n % 6]
        cases.append(made.SerializeToString())
        cases.append(b"\x0a" + bytes((len(bad[n % 6]),)) + bad[n % 6] + event().SerializeToString())
    await gate.refuses(cases, gate.protobuf, "BAD_UTF8")
    raw = json.dumps(JSON_EVENT).encode()
    await gate.refuses([raw.replace(b'"z"', b'"' + bad[n % 6] + b"x" * n + b'"') for n in range(30)], gate.json, "BAD_UTF8")


async def test_b7_lone_surrogates(gate: Gate) -> None:
    codes = [gate.random.randint(0xD800, 0xDFFF) for _ in range(30)]
    cases = [json.dumps(JSON_EVENT | {"data": {"zone": f"a{chr(code)}b"}}) for code in codes]
    cases += [json.dumps(JSON_EVENT | {chr(code): 1}) for code in codes]
    await gate.refuses(cases, gate.json, "BAD_UTF8")
    fields = [{name: f"t{chr(code)}"} for code in codes for name in ("id", "cause", "traceparent", "producer_version", "entity")]
    await gate.refuses(fields, gate.draft, "BAD_UTF8", "BAD_HEADER", "BAD_TEXT", "BAD_SUBJECT")


async def test_b8_nul_in_text(gate: Gate) -> None:
    texts = ["\0" * n + "x" * (30 - n) for n in range(1, 30)]
    await gate.refuses([{"data": PlayerMoved(zone=text)} for text in texts], gate.everywhere, "BAD_TEXT")
    await gate.refuses([{"data": PlayerJoined(display_name="fine", game_server=text)} for text in texts], gate.draft, "BAD_TEXT")
    await gate.refuses([json.dumps(JSON_EVENT | {"data": {"zone": text}}) for text in texts], gate.json, "BAD_TEXT")
    await gate.refuses([{name: text} for text in texts for name in ("world", "entity", "subsystem")], gate.draft, "BAD_SUBJECT")
    await gate.refuses([{"id": text} for text in texts], gate.draft, "BAD_HEADER")


async def test_b9_numbers_that_are_not_finite(gate: Gate) -> None:
    bad = [float("nan"), float("inf"), float("-inf")]
    drafts = [{"data": PlayerMoved(zone="z", **{name: value})} for value in bad for name in "xyz"] * 3
    await gate.refuses(drafts, gate.everywhere, "NOT_FINITE")
    words = ["NaN", "Infinity", "-Infinity", "1e400", "-1e999", '"NaN"', '"Infinity"', '"-Infinity"', "1" + "0" * 400 + ".5"]
    raw = json.dumps(JSON_EVENT | {"data": {"zone": "z", "x": "HERE"}})
    await gate.refuses(
        [raw.replace('"HERE"', word).replace('"x"', f'"{name}"') for word in words for name in "xyz"], gate.json, "NOT_FINITE"
    )


async def test_b10_deep_nesting(gate: Gate) -> None:
    depths = [33, 34, 60, 100, 500, 1000, 5000, 20_000, 80_000]
    cases = [shape[0] * depth + shape[1] * depth for depth in depths for shape in (("[", "]"), ('{"a":', "}"), ("[", ""))]
    cases += [json.dumps(JSON_EVENT).replace('"z"', "[" * depth + "]" * depth) for depth in depths[:6]]
    await gate.refuses(cases, gate.json, "TOO_DEEP", "BAD_PAYLOAD")


async def test_b11_duplicate_keys(gate: Gate) -> None:
    raw = json.dumps(JSON_EVENT)
    cases = [raw[:-1] + f', "{name}": "again"}}' for name in JSON_EVENT]
    cases += [raw.replace('{"zone": "z"}', f'{{"zone": "z", {" " * n}"zone": "other"}}') for n in range(ENOUGH)]
    await gate.refuses(cases, gate.json, "DUPLICATE_KEY")


async def test_b12_huge_numbers(gate: Gate) -> None:
    raw = json.dumps(JSON_EVENT | {"depth": "HERE"})
    digits = [21, 25, 40, 100, 1000, 4300, 4301, 5000, 50_000]
    cases = [raw.replace('"HERE"', sign + "9" * count) for count in digits for sign in ("", "-")]
    cases += [raw.replace('"HERE"', str(value)) for value in (-1, 1 << 31, 1 << 32, 1 << 63, 1 << 64, -(1 << 63))]
    cases += [
        json.dumps(JSON_EVENT | {"type": "LaneDropRequested", "data": {"handler": "h", "position": value}})
        for value in (1 << 63, 1 << 64, -(1 << 63) - 1)
    ]
    await gate.refuses(cases, gate.json, "OUT_OF_RANGE")
    await gate.refuses(
        [{"depth": depth} for depth in (*range(-20, 0), 1 << 31, 1 << 32, 1 << 40, 1 << 63, 1 << 64)], gate.draft, "OUT_OF_RANGE"
    )


async def test_b13_length_bombs(gate: Gate) -> None:
    cases = [
        bytes((tag,)) + b"\xff\xff\xff\xff" + bytes((last,)) + b"x" * 10 for tag in (0x0A, 0x12, 0x22, 0x2A, 0x42) for last in range(1, 8)
    ]
    await gate.refuses(cases, gate.protobuf, "BAD_PAYLOAD")


async def test_b14_b15_events_over_the_limit(gate: Gate) -> None:
    sizes = [262_144 + gate.random.randint(0, 900_000) for _ in range(ENOUGH - 2)] + [262_145, 2_000_000]
    await gate.refuses([{"data": PlayerMoved(zone="x" * size)} for size in sizes], gate.everywhere, "TOO_LARGE")
    await gate.refuses([b"\x0a" * size for size in sizes], gate.protobuf, "TOO_LARGE")
    await gate.refuses([" " * (size * 2) for size in sizes], gate.json, "TOO_LARGE")


async def test_the_largest_event_that_is_allowed_is_stored(gate: Gate) -> None:
    """The limit itself works: nothing between ours and the server's refuses it."""
    size = 262_144 - len(Draft(data=PlayerMoved(zone="x" * 100_000), world="w", entity="e").encode()) + 100_000
    draft = Draft(data=PlayerMoved(zone="x" * size), world="w", entity="e")
    position = await gate.publisher.publish(draft, expected=0)

    assert 262_144 == len(draft.encode())
    assert draft.encode() == (await gate.log.get(position)).raw
    assert [position + 1, position + 2] == await gate.publisher.publish_group(
        [Draft(data=draft.data, world="w", entity="e") for _ in range(2)]
    )


async def test_b17_long_subjects(gate: Gate) -> None:
    lengths = [65, 66, 100, 255, 256, 1000, 4095, 4096, 5000, 100_000]
    cases = [{name: "x" * length} for length in lengths for name in ("world", "entity", "subsystem")]
    await gate.refuses(cases, gate.everywhere, "BAD_SUBJECT")


async def test_b17_tokens_that_are_long_together(gate: Gate) -> None:
    """Each token is within its limit, the subject is not: there is no such case, the sum of the limits fits."""
    draft = Draft(data=PlayerMoved(zone="z"), world="w" * 64, entity="e" * 64, subsystem="s" * 64)

    assert (await gate.log.get(await gate.publisher.publish(draft))).raw == draft.encode()


async def test_b18_b19_b20_b21_tokens_outside_the_alphabet(gate: Gate) -> None:
    bad = [
        " ",
        "a b",
        "a\r\nPUB x 0\r\n",
        "\r",
        "\n",
        "a\n",
        "\t",
        "*",
        ">",
        "a*",
        "a.b",
        ".",
        "",
        "..",
        "ü",
        "\uff41",
        "\u200b",
        "é\u0301",
        "\x7f",
        "\\",
        "/",
        "'",
        '"',
        ";",
    ]
    bad += ["$JS", "$SYS", "$JS.API.STREAM.DELETE.LOG", "_INBOX.x", "{{partition(1)}}", "🐍", "a\u2028", "-\0-", "%2E"]
    await gate.refuses([{name: token} for token in bad for name in ("world", "entity", "subsystem")], gate.everywhere, "BAD_SUBJECT")
    cases = [json.dumps(JSON_EVENT | {name: token}) for token in bad if token for name in ("world", "subject")]
    await gate.refuses(cases, gate.json, "BAD_SUBJECT", "BAD_HEADER", "BAD_TEXT")


async def test_b22_b23_what_cannot_stand_in_a_header(gate: Gate) -> None:
    bad = [
        " ",
        "a b",
        "a\r\nNats-Rollup: all",
        "a\r",
        "a\n",
        "\t",
        "é",
        "a\x00",
        "\x7f",
        "x" * 256,
        "x" * 5000,
        "🐍",
        "\u2028",
        "a\x1b[31m",
    ]
    await gate.refuses([{"id": value} for value in bad * 2], gate.everywhere, "BAD_HEADER")
    await gate.refuses([{name: value} for value in bad for name in ("cause", "correlation")], gate.draft, "BAD_HEADER")
    names = ["A", "a-b", "a:b", "a\r\nb", "ä", "x" * 21, "", " ", "a b", "Content-Type", "ce-id", "ID", "a_b", "🐍"]
    await gate.refuses([json.dumps(JSON_EVENT | {name: "x"}) for name in names * 2], gate.json, "BAD_HEADER", "BAD_TEXT")
    lines = ["a\r\nb", "\n", "\0", "a\x1bb", "x" * 256]
    await gate.refuses(
        [{name: value} for value in lines * 3 for name in ("traceparent", "producer_version")], gate.draft, "BAD_TEXT", "TOO_LARGE"
    )


async def test_b24_reserved_headers(gate: Gate) -> None:
    names = [
        "Rollup",
        "TTL",
        "Schedule",
        "Schedule-TTL",
        "Msg-Id",
        "Expected-Stream",
        "Expected-Last-Sequence",
        "Expected-Last-Subject-Sequence",
    ]
    names += ["Expected-Last-Msg-Id", "Batch-Id", "Batch-Sequence", "Batch-Commit", "Incr", "Required-Api-Level"]
    cases = [json.dumps(JSON_EVENT | {spelling(f"Nats-{name}"): "1"}) for name in names for spelling in (str, str.lower, str.upper)]
    await gate.refuses(cases, gate.json, "RESERVED_HEADER")
    hostile = []
    for name in names * 2:
        made = event()
        made.attributes[f"nats-{name.lower()}"].ce_string = "1"
        hostile.append(made.SerializeToString())
    await gate.refuses(hostile, gate.protobuf, "RESERVED_HEADER")


async def test_unknown_fields_are_named(gate: Gate) -> None:
    cases = [json.dumps(JSON_EVENT | {"data": {"zone": "z", f"zonne{n}": 1}}) for n in range(ENOUGH)]
    await gate.refuses(cases, gate.json, "UNKNOWN_FIELD")
    with pytest.raises(BadEvent, match="zonne"):
        from_json(json.dumps(JSON_EVENT | {"data": {"zonne": "z"}}))


async def test_extensions_that_no_cloudevent_may_have(gate: Gate) -> None:
    values: list[Any] = [1.5, [], {}, ["x"], {"a": 1}, 1 << 31, -(1 << 31) - 1, "a\nb", "\x7f", "\x85", "x" * 4097, 1e300]
    cases = [json.dumps(JSON_EVENT | {name: value}) for value in values for name in ("sequence", "dataschema", "x1")]
    cases += [json.dumps(JSON_EVENT | {f"extra{n}": "x" for n in range(33)}), json.dumps(JSON_EVENT | {"unreadable": "x"})]
    cases += [json.dumps(JSON_EVENT | {f"extra{n}": "é" * 80 for n in range(30)})]
    await gate.refuses(cases, gate.json, "BAD_PAYLOAD", "OUT_OF_RANGE", "BAD_TEXT", "TOO_LARGE", "BAD_ATTRIBUTE")
    names = ["Sequence", "a-b", "", "x" * 21, "id", "source", "data", "specversion"]
    hostile = []
    for name, text in [(name, "x") for name in names * 4] + [("big", "x" * 5000)]:
        made = event()
        made.attributes[name].ce_string = text
        hostile.append(made.SerializeToString())
    await gate.refuses(hostile, gate.protobuf, "BAD_HEADER", "BAD_ATTRIBUTE", "TOO_LARGE")


async def test_wrong_json_types_are_refused(gate: Gate) -> None:
    values: list[Any] = [1, 1.5, True, [], {}, ["x"], {"a": 1}]
    cases = [json.dumps(JSON_EVENT | {name: value}) for name in ("id", "source", "type", "subject", "world", "time") for value in values]
    await gate.refuses(cases, gate.json, "BAD_PAYLOAD", "MISSING_ATTRIBUTE")
    cases = [json.dumps(JSON_EVENT | {name: None}) for name in ("type", "subject", "world")] * 9  # as if it were not there
    await gate.refuses(cases, gate.json, "UNKNOWN_TYPE", "MISSING_ATTRIBUTE")
    cases = [json.dumps(JSON_EVENT | {"data": value}) for value in (1, 1.5, True, [], ["x"], "x")] * 5
    await gate.refuses(cases, gate.json, "BAD_PAYLOAD")
    times = [
        "",
        "x",
        "2026-11-22",
        "12:00:00Z",
        "2026-11-22T12:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "0000-01-01T00:00:00Z",
    ]
    times += [
        "2026-11-22T12:00:00+99:99",
        "2026-11-22T12:00:00.Z",
        "22026-11-22T12:00:00Z",
        "-2026-11-22T12:00:00Z",
        "\uff12026-11-22T12:00:00Z",
    ]
    await gate.refuses(
        [json.dumps(JSON_EVENT | {name: text}) for text in times for name in ("time", "deadline")], gate.json, "BAD_TIME", "OUT_OF_RANGE"
    )


async def test_b25_ids_that_are_taken(gate: Gate) -> None:
    for n in range(ENOUGH):
        await gate.publisher.publish(moved(n, id=f"taken-{n}"))
    cases = [{"id": f"taken-{n}", "data": PlayerMoved(zone=f"other-{gate.random.random()}")} for n in range(ENOUGH)]
    await gate.refuses(cases, gate.draft, "ID_REUSED_WITH_DIFFERENT_BODY")


async def test_b26_a_stream_that_is_not_there(connection: Connection) -> None:
    log = await attach(connection, LogConfig())
    publisher = Publisher(connection, log, "relaxed", deadline=0.4)
    await publisher.open()
    answers = await asyncio.gather(*[publisher.publish(moved(n)) for n in range(ENOUGH)], return_exceptions=True)
    await publisher.aclose()
    await log.aclose()

    assert {"NO_SUCH_STREAM"} == {getattr(answer, "code", answer) for answer in answers}


async def test_b27_wrong_expectations(gate: Gate) -> None:
    at = await gate.publisher.publish(moved(1, entity="hero"))
    for expected in [at + n for n in range(-1, 30) if n]:
        with pytest.raises(WorldbusError) as refused:
            await gate.publisher.publish(moved(2, entity="hero"), expected=expected)
        facts = {**moved(2, entity="hero").subject.lane._asdict(), "expected": expected, "found": at}
        assert ("CONFLICT", facts) == (refused.value.code, refused.value.facts)
    assert at == (await gate.log.state()).last


CONFIG = """
listen: "127.0.0.1:{port}"
max_payload: 2048
jetstream {{ store_dir: "{store}" }}
authorization {{ users: [
  {{ user: all, password: p }}
  {{ user: few, password: p, permissions: {{
      publish: {{ allow: ["evt.allowed.>", "$JS.API.>"] }}, subscribe: {{ allow: ["_INBOX.>"] }} }} }}
] }}
"""


@pytest.fixture
def guarded(data_folder: Path) -> Iterator[Callable[[str], str]]:
    """The address, for a user and password, of a server with a small limit and a user who may do little."""
    port, _ = free_ports()
    (data_folder / "nats.conf").write_text(CONFIG.format(port=port, store=data_folder / "store"))
    process = Process("nats-server", data_folder, stop_signal=signal.SIGTERM)

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    command = [str(binary()), "-c", str(data_folder / "nats.conf")]
    process.start(command, cwd=data_folder, env={"PATH": os.defpath}, ready=ready, within_s=20)
    yield lambda credentials: f"nats://{credentials}@127.0.0.1:{port}"
    process.stop()


async def test_b16_headers_and_payload_together_over_the_servers_limit(guarded: Callable[[str], str]) -> None:
    """The payload alone would fit; nats-server closes the connection over such a message."""
    async with connect(guarded("all:p"), name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher:
            broken = asyncio.Event()
            connection.on_disconnect.append(broken.set)
            empty = len(Draft(data=PlayerMoved(zone="x" * 1000), world="w", entity="e").encode()) - 1000
            refused = stored = 0
            for size in range(1024, 2048, 20):
                draft = Draft(data=PlayerMoved(zone="x" * (size - empty)), world="w", entity="e")
                (answer,) = await asyncio.gather(publisher.publish(draft, expected=stored), return_exceptions=True)
                if isinstance(answer, TooLarge):
                    refused += 1
                else:
                    stored += 1
                    assert stored == answer

            assert refused >= ENOUGH
            assert stored == (await log.state()).last > 0
            assert not broken.is_set()


async def test_b28_subjects_without_permission(guarded: Callable[[str], str]) -> None:
    async with connect(guarded("all:p"), name="owner") as owner:
        await open_log(owner)
        async with connect(guarded("few:p"), name="test") as connection:
            log = await open_log(connection)
            async with open_publisher(connection, log, "relaxed") as publisher:
                calls = [publisher.publish(moved(n, world=f"Closed-{n}")) for n in range(ENOUGH)]
                allowed = [publisher.publish(moved(n, world="allowed")) for n in range(ENOUGH)]
                answers = await asyncio.gather(*calls, return_exceptions=True)

                assert [PermissionDenied] * ENOUGH == [type(answer) for answer in answers]
                assert list(range(1, ENOUGH + 1)) == await asyncio.gather(*allowed)
                assert connection.connected


async def test_b29_false_credentials(guarded: Callable[[str], str]) -> None:
    for n in range(ENOUGH):
        credentials = ("all:wrong", f"nobody{n}:p", f"all:{'x' * n}", "few:P", ":")[n % 5]
        with pytest.raises(Misuse, match="cannot connect"):
            async with connect(guarded(credentials), name="test"):
                pass


async def test_b30_huge_groups(gate: Gate) -> None:
    many = [moved(n) for n in range(5000)]
    cases = [many[: 1001 + gate.random.randint(0, 3999)] for _ in range(ENOUGH)]
    await gate.refuses(cases, gate.publisher.publish_group, "BATCH_TOO_LARGE")


async def test_b36_times_are_data_and_positions_are_the_order(gate: Gate) -> None:
    """Past and future are stored as said; only what no calendar has is refused."""
    year = 31_556_952_000_000_000_000 // 1000
    times = [gate.random.randint(-1900 * year, 7900 * year) for _ in range(40)] + [0, 1, -1]
    positions = await gate.publisher.publish_many([moved(n, time_ns=time_ns) for n, time_ns in enumerate(times)])
    events = [one async for batch in gate.log.read() for one in batch]

    assert list(range(1, 44)) == positions
    assert times == [one.time_ns for one in events]
    beyond = [sign * (10_000 * year + gate.random.randint(0, 1 << 62)) for sign in (1, -1) for _ in range(15)]
    await gate.refuses([{"time_ns": time_ns} for time_ns in beyond], gate.everywhere, "OUT_OF_RANGE")
    await gate.refuses([{"deadline_ns": time_ns} for time_ns in beyond], gate.draft, "OUT_OF_RANGE")


async def test_b37_old_messages_again(gate: Gate) -> None:
    drafts = [moved(n) for n in range(30)]
    first = await gate.publisher.publish_many(drafts)

    assert first == await gate.publisher.publish_many(drafts)
    assert first == [await gate.publisher.publish(from_protobuf(draft.encode())) for draft in drafts]
    assert first == [await gate.publisher.publish(draft, once=True) for draft in drafts]
    assert 30 == (await gate.log.state()).last


async def test_lane_marks_that_no_fold_could_read(gate: Gate) -> None:
    bad = [
        "x",
        "1",
        "1:2",
        "1:2:3",
        "1:2:3:4:5",
        "a:b:c:d",
        "-1:2:0:1",
        "1:2:0:1 ",
        " 1:2:0:1",
        "1:2:0:1\n",
        "\uff11:2:0:1",
        "1::0:1",
        ":",
        "9" * 40 + ":1:0:1",
    ] * 2
    await gate.refuses([{"lane": text} for text in bad], gate.draft, "BAD_ATTRIBUTE")


async def test_a_server_that_is_asked_for_all_this_still_works(nats_server: NatsServer) -> None:
    async with connect(nats_server.url, name="test") as connection:
        assert (await connection.api("INFO"))["type"].endswith("account_info_response")
