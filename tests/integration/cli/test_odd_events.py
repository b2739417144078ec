"""Events that cannot be shown as a whole, ids that come again, and facts that are not one's own: as the command line meets them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bus.connection import connect
from bus.event import Draft
from schemas.gen.io.cloudevents.v1.cloudevents_pb2 import CloudEvent
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked
from tests.integration.cli.conftest import Worldbus, lines
from tests.integration.cli.test_verbs import eventually
from worldbus.embedded.folder import Folder

MILLISECONDS = 1_796_001_898_136
TIMES = [
    (MILLISECONDS, 0),
    (MILLISECONDS * 1000, 0),
    (MILLISECONDS * 1_000_000, 0),
    (253_402_300_800, 0),
    (-62_135_596_801, 0),
    ((1 << 63) - 1, 0),
    (-(1 << 63), 0),
    (1_796_001_898, -1),
    (1_796_001_898, 1_000_000_000),
]


async def _request(folder: Path, work: Any) -> Any:
    addresses = Folder(folder).find()
    assert addresses is not None
    assert addresses.nats_url is not None
    async with connect(addresses.nats_url, name="engine") as connection:
        return await work(connection)


def put(folder: Path, subject: str, *payloads: bytes) -> list[int]:
    """Write what an engine without our gates writes; returns the positions."""

    async def write(connection: Any) -> list[int]:
        return [int(json.loads(await connection.request(subject, payload))["seq"]) for payload in payloads]

    return list(asyncio.run(_request(folder, write)))


def forget_ids(folder: Path) -> None:
    """Do in a moment what two minutes do to the log's own memory of ids."""

    async def forget(connection: Any) -> None:
        config = (await connection.api("STREAM.INFO.LOG"))["config"]
        await connection.api("STREAM.UPDATE.LOG", {**config, "duplicate_window": 100_000_000})
        await asyncio.sleep(0.25)
        await connection.api("STREAM.UPDATE.LOG", config)

    asyncio.run(_request(folder, forget))


def at(seconds: int, nanos: int, entity: str) -> bytes:
    envelope = CloudEvent.FromString(
        Draft(data=PlayerJoined(display_name="Far", zone="quay"), world="main", entity=entity, id=f"{entity}-{seconds}-{nanos}").encode()
    )
    for name in ("time", "deadline"):
        envelope.attributes[name].ce_timestamp.seconds, envelope.attributes[name].ce_timestamp.nanos = seconds, nanos
    return envelope.SerializeToString()


def test_an_impossible_time_blinds_nobody_behind_it(worldbus: Worldbus, up: Path) -> None:
    """P2: each of them is shown with its position, and so is what comes after it; its entity is answered and nothing is parked."""
    positions = put(up, "evt.main.game.farfuture.PlayerJoined", *(at(*time, "farfuture") for time in TIMES))
    (good,) = lines(worldbus("publish", "PlayerMoved", "--entity", "farfuture", "--data", '{"zone": "old-moor"}', "--json"))
    eventually(worldbus, "SELECT zone FROM players WHERE player = 'farfuture'", [{"zone": "old-moor"}])

    mine = ("--entity", "farfuture", "--subsystem", "game")
    replayed = lines(worldbus("replay", *mine, "--json"))
    shown = worldbus("replay", *mine)
    tailed = worldbus("tail", "-n", 20, *mine)
    whys = [worldbus("why", position) for position in (positions[0], positions[-1])]
    (document,) = lines(worldbus("why", positions[0], "--json"))
    listed = lines(worldbus("sql", f"SELECT position, time FROM events WHERE position = {positions[0]}", "--json"))

    assert [one["position"] for one in replayed] == [*positions, good["position"]]
    assert [list(one.get("unreadable", {})) for one in replayed] == [["time", "deadline"]] * len(TIMES) + [[]]
    assert [one["data"]["zone"] for one in replayed] == ["quay"] * len(TIMES) + ["old-moor"]
    for said in (shown, tailed):
        assert (said.returncode, said.stdout.count("unreadable: time is no moment"), len(said.stdout.splitlines())) == (0, 9, 10)
    assert all(one.returncode == 0 and "unreadable: time is no moment" in one.stdout for one in whys)
    assert document["chain"][0]["unreadable"]["time"].startswith("time is no moment")
    assert listed in ([{"position": positions[0], "time": None}], [[{"position": positions[0], "time": None}]])
    assert [one for one in lines(worldbus("parked", "list", "--json")) if one["entity"] == "farfuture"] == []


def test_a_payload_that_cannot_be_shown_is_shown_as_far_as_it_goes(worldbus: Worldbus, up: Path) -> None:
    parked = EventParked(handler="nobody", position=1, code="X", reason="so\0so")
    parked.first_failed_at.seconds = MILLISECONDS
    draft = Draft(data=parked, world="main", entity="forged", id="forged-1")
    (position,) = put(up, draft.subject.published(), draft.encode())

    (replayed,) = lines(worldbus("replay", "--entity", "forged", "--json"))
    shown = worldbus("tail", "--entity", "forged", "--type", "EventParked")

    assert (replayed["position"], replayed["id"], replayed["data"]["code"]) == (position, "forged-1", "X")
    assert list(replayed["unreadable"]) == ["data.first_failed_at"]
    assert replayed["data"]["first_failed_at"].startswith("unreadable: ")
    assert (shown.returncode, "unreadable: " in shown.stdout) == (0, True)
    assert worldbus("publish", "-", given=json.dumps(replayed)).returncode == 2, "it cannot be published again as it is"
    eventually(worldbus, "SELECT count(*) AS n FROM checkpoint WHERE position >= " + str(position), [{"n": 1}])
    assert [one for one in lines(worldbus("parked", "list", "--json")) if one["entity"] == "forged"] == []


def test_the_same_id_is_the_same_event_at_any_time_later(worldbus: Worldbus, up: Path) -> None:
    """P1: two minutes change nothing, a time of our own clock is no difference, and another body is refused with both places named."""
    words = ("publish", "PlayerJoined", "--entity", "twin", "--id", "day-1", "--json", "--data")
    document = {"specversion": "1.0", "id": "day-2", "type": "PlayerJoined", "subject": "twin", "data": {"zone": "quay"}}
    given = "\n".join(json.dumps({**document, "id": f"doc-{number}"}) for number in range(300))

    (first,) = lines(worldbus(*words, '{"zone": "quay"}'))
    many = lines(worldbus("publish", "-", "--json", given=given))
    soon = lines(worldbus(*words, '{"zone": "quay"}'))
    forget_ids(up)
    (later,) = lines(worldbus(*words, '{"zone": "quay"}'))
    again = lines(worldbus("publish", "-", "--json", given=given + "\n" + json.dumps(document)))
    forget_ids(up)
    other = worldbus(*words, '{"zone": "old-moor"}')
    elsewhere = worldbus("publish", "PlayerJoined", "--entity", "other", "--id", "day-1", "--data", '{"zone": "quay"}')
    two = worldbus("publish", "-", given=json.dumps(document) + "\n" + json.dumps({**document, "data": {"zone": "old-moor"}}))
    eventually(worldbus, "SELECT count(*) AS n FROM events WHERE event_id = 'day-2'", [{"n": 1}])

    assert [first["position"], first["replayed"]] == [later["position"], False]
    assert soon == [later] == [{**first, "replayed": True}]
    assert [one["position"] for one in again[:-1]] == [one["position"] for one in many]
    assert [one["replayed"] for one in again] == [True] * 300 + [False]
    for refused in (other, elsewhere):
        assert refused.returncode == 1
        assert f"at position {first['position']} " in refused.stderr
        assert "the log ends at position" in refused.stderr
        assert "new id" not in refused.stderr
    assert (two.returncode, "line 2: id day-2 is taken" in two.stderr, len(two.stdout.splitlines())) == (1, True, 1)
    eventually(
        worldbus,
        "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events WHERE entity = 'twin' AND subsystem = 'game'",
        [{"n": 302, "ids": 302}],
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("publish", "EventParked", "--entity", "mira"), 2, "the runtime's own record"),
        (("publish", "WeatherChanged", "--entity", "quay"), 2, "wanted WeatherChanged from weather"),
        (("publish", "InferenceCompleted", "--entity", "mira"), 2, "from inference"),
        (("publish", "LaneRetryRequested", "--entity", "mira"), 2, "from operator"),
        (("publish", "PlayerJoined", "--entity", "mira", "--subsystem", "weather"), 2, "declares in `emits`"),
        (("publish", "WeatherChanged", "--entity", "nowhere", "--subsystem", "weather", "--world", "elsewhere"), 0, ""),
        (("publish", "PlayerJoined", "--entity", "nobody", "--subsystem", "tools", "--world", "elsewhere"), 0, ""),
    ],
)  # fmt: skip
def test_a_fact_is_published_by_its_own_subsystem_alone(worldbus: Worldbus, words: tuple[str, ...], code: int, said: str) -> None:
    done = worldbus(*words)

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_extensions_and_foreign_sources_come_back(worldbus: Worldbus) -> None:
    document = {
        "specversion": "1.0",
        "id": "bridge-1",
        "source": "https://game.example/eu-1",
        "type": "PlayerJoined",
        "subject": "bridged",
        "time": "2026-11-22T12:00:00.123456789123Z",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "rojo=00f067aa0ba902b7",
        "partitionkey": "eu",
        "sequence": "0001",
        "dataschema": "https://schemas.example/PlayerJoined",
        "data": {"zone": "quay", "x": 100000000000000000000},
    }
    (said,) = lines(worldbus("publish", "-", "--json", given=json.dumps(document)))
    (found,) = lines(worldbus("replay", "--entity", "bridged", "--subsystem", "game", "--json"))
    (again,) = lines(worldbus("publish", "-", "--json", given=json.dumps(found)))

    kept = ("traceparent", "tracestate", "partitionkey", "sequence", "dataschema")
    assert {name: found[name] for name in kept} == {name: document[name] for name in kept}
    assert (found["source"], found["origin"], found["time"]) == ("/worldbus/game", document["source"], "2026-11-22T12:00:00.123456789Z")
    assert found["data"] == {"zone": "quay", "x": 1e20}
    assert again == {**said, "replayed": True}
