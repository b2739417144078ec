"""Every verb beside a running `worldbus up`, on a world that has lived."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bus.connection import connect
from tests.duskmarket import PROJECTIONS
from tests.integration.cli.conftest import Lived, Worldbus, call, lines
from worldbus.embedded.folder import Folder


def answer(worldbus: Worldbus, statement: str) -> list[dict[str, Any]]:
    """Rows of a query."""
    done = worldbus("sql", statement, "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def eventually(worldbus: Worldbus, statement: str, wanted: list[dict[str, Any]]) -> None:
    """Wait until the tables say so: they follow the log."""
    while answer(worldbus, statement) != wanted:
        pass


def test_a_demo_keeps_every_promise_and_says_what_it_counted(lived: Lived) -> None:
    report = lived.report

    assert (report["lost"], report["duplicated"], report["out_of_order"], report["parked"]) == (0, 0, 0, 0)
    assert report["problems"] == []
    assert report["projected"] == report["events"] == report["last"]
    # Every edge's events have a delay, also those of the model worker, which nobody of the demo published.
    assert report["publish"]["count"] >= report["published"] > 6 * 3
    assert report["seed"] == 7
    # Which of their many wishes six players come to in four seconds is left to the dice.
    spoke = {name: share for name, share in report["per_handler"].items() if share["events_out"]}
    assert {"time", "weather", "player"} <= set(spoke)
    assert len(spoke) >= 6
    for name, share in spoke.items():
        assert share["events_in"] > 0, name
        assert share["latency"]["count"] > 0, name
        assert 0 < share["latency"]["p50_ms"] <= share["latency"]["p95_ms"] <= share["latency"]["p99_ms"], name
    assert report["end_to_end"]["count"] > 0
    assert 0 < report["end_to_end"]["p50_ms"] <= report["end_to_end"]["p99_ms"]


def test_publish_is_handled_and_projected(worldbus: Worldbus) -> None:
    (said,) = lines(worldbus("publish", "PlayerJoined", "--entity", "mira", "--data", '{"display_name": "Mira", "zone": "quay"}', "--json"))

    assert said["subject"] == "evt.main.game.mira.PlayerJoined"
    eventually(worldbus, "SELECT zone, online FROM players WHERE player = 'mira'", [{"zone": "quay", "online": True}])
    (arrival,) = lines(worldbus("replay", "--entity", "mira", "--type", "PlayerArrived", "--json"))
    assert arrival["causationid"] == said["id"]


def test_the_same_id_is_one_event_and_another_body_under_it_is_refused(worldbus: Worldbus) -> None:
    words = ("publish", "PlayerHeartbeat", "--entity", "nobody", "--id", "beat-1", "--json")
    stamp = {"specversion": "1.0", "id": "beat-2", "type": "PlayerHeartbeat", "subject": "nobody", "time": "2026-11-22T12:00:00Z"}

    (first,) = lines(worldbus("publish", "-", "--json", given=json.dumps(stamp)))
    (again,) = lines(worldbus("publish", "-", "--json", given=json.dumps(stamp)))
    assert worldbus(*words).returncode == 0
    other = worldbus("publish", "PlayerLeft", "--entity", "nobody", "--id", "beat-1")

    assert again["position"] == first["position"]
    assert (other.returncode, "is taken by the event at" in other.stderr) == (1, True)


def test_expected_is_compare_and_set(worldbus: Worldbus) -> None:
    (first,) = lines(worldbus("publish", "PlayerHeartbeat", "--entity", "cas", "--expected", 0, "--json"))

    late = worldbus("publish", "PlayerHeartbeat", "--entity", "cas", "--expected", 0)
    (second,) = lines(worldbus("publish", "PlayerHeartbeat", "--entity", "cas", "--expected", first["position"], "--json"))

    assert (late.returncode, f"found it at {first['position']}" in late.stderr) == (1, True)
    assert second["position"] > first["position"]


def test_many_events_come_from_stdin_in_order_until_one_is_refused(worldbus: Worldbus) -> None:
    zones = ["quay", "old-moor", "quay"]
    given = "".join(json.dumps({"zone": zone}) + "\n" for zone in zones) + '\n{"zon": 1}\n{"zone": "never"}\n'

    done = worldbus("publish", "PlayerMoved", "--entity", "walker", "--data", "-", "--json", given=given)

    assert done.returncode == 2
    assert [json.loads(line)["subject"] for line in done.stdout.splitlines()] == ["evt.main.game.walker.PlayerMoved"] * 3
    assert json.loads(done.stderr)["message"].startswith("line 5: data: not a valid worldbus.player.v1.PlayerMoved")
    moved = lines(worldbus("replay", "--entity", "walker", "--subsystem", "game", "--json"))
    assert [one["data"]["zone"] for one in moved] == zones


def test_what_replay_prints_publish_reads_back(worldbus: Worldbus) -> None:
    recorded = worldbus("replay", "--type", "PlayerJoined", "--limit", 3, "--json").stdout

    given = recorded.replace('"world": "main"', '"world": "copy"').replace('"id": "', '"id": "copy-')
    again = lines(worldbus("publish", "-", "--json", given=given))

    originals = [json.loads(line) for line in recorded.splitlines()]
    copies = lines(worldbus("replay", "--world", "copy", "--subsystem", "game", "--json"))
    assert len(again) == len(originals) == 3
    assert [one["data"] for one in copies] == [one["data"] for one in originals]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publish", "PlayrJoined", "--entity", "mira"), "did you mean PlayerJoined"),
        (("publish", "PlayerJoined", "--entity", "mira moor"), "entity must be 1-64 of"),
        (("publish", "PlayerJoined"), "wanted --entity"),
        (("publish", "PlayerJoined", "--entity", "mira", "--data", "{"), "not valid JSON"),
        (("publish", "PlayerJoined", "--entity", "mira", "--data", '{"zone": 3}'), "not a valid worldbus.player.v1.PlayerJoined"),
        (("sql", "DELETE FROM players"), "wanted one SELECT"),
        (("sql", "SELECT 1", "--as-of", "yesterday"), "wanted a time with its zone"),
        (("replay", "--since", "12:00"), "wanted a time with its zone"),
        (("replay", "--type", "Nothing"), "wanted a known event type"),
        (("rebuild", "nothing"), "wanted names among"),
        (("rebuild",), "or --all, found neither"),
        (("verify", "--handler", "nothing"), "wanted handlers among"),
        (("parked", "show", "mira"), "wanted a lane as HANDLER/ENTITY"),
        (("run", "--only", "wether"), "--only: wanted some of"),
        (("bench", "nothing"), "wanted one of"),
        (("publish", "PlayerJoined", "--entity", "mira", "--world", "a.b"), "--world"),
        (("nothing",), "No such command"),
    ],
)
def test_wrong_use_is_told_in_one_line_with_exit_code_2(worldbus: Worldbus, words: tuple[str, ...], said: str) -> None:
    done = worldbus(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_sql_answers_on_clock_weather_and_players(worldbus: Worldbus) -> None:
    (clock,) = answer(worldbus, "SELECT running, world_ms, season FROM clock WHERE world = 'main'")
    zones = answer(worldbus, "SELECT zone FROM weather WHERE world = 'main' AND sky IS NOT NULL ORDER BY zone")
    (players,) = answer(worldbus, "SELECT count(*) AS n FROM players WHERE player LIKE 'player-%' AND NOT online")

    assert clock["running"] is True
    assert clock["world_ms"] > 0
    assert clock["season"] == "spring"
    assert [one["zone"] for one in zones] == ["fishmarket", "north-pass", "old-moor", "quay", "reed-path"]
    assert players["n"] == 6


def test_sql_as_of_a_position_and_a_time_see_the_past(worldbus: Worldbus, lived: Lived) -> None:
    arrived = [one["position"] for one in lines(worldbus("replay", "--type", "PlayerArrived", "--until", lived.report["last"], "--json"))]
    third = lines(worldbus("replay", "--after", arrived[2] - 1, "--limit", 1, "--json"))[0]
    question = ("sql", "SELECT count(*) AS n FROM players WHERE sessions > 0 OR online", "--json")

    at_position = worldbus(*question, "--as-of", arrived[2])
    at_time = worldbus(*question, "--as-of", third["recorded"])
    before = worldbus(*question, "--as-of", arrived[2] - 1)

    assert json.loads(at_position.stdout) == json.loads(at_time.stdout) == [{"n": 3}]
    assert json.loads(before.stdout) == [{"n": 2}]
    assert f"as of position {arrived[2]}" in at_position.stderr


def test_sql_prints_tables_and_csv(worldbus: Worldbus) -> None:
    statement = "SELECT 1 AS number, 'a,b' AS text, NULL AS nothing, true AS flag"

    assert worldbus("sql", statement).stdout == "number  text  nothing  flag\n     1  a,b            yes\n"
    assert worldbus("sql", statement, "--format", "csv").stdout == 'number,text,nothing,flag\n1,"a,b",,true\n'


def test_tail_shows_the_last_events_that_match(worldbus: Worldbus, lived: Lived) -> None:
    whole = lines(worldbus("replay", "--subsystem", "weather", "--until", lived.report["last"], "--json"))
    shown = lines(worldbus("tail", "--subsystem", "weather", "--entity", whole[-1]["subject"], "-n", 2, "--json"))

    assert len(shown) == 2
    assert shown[0]["position"] < shown[1]["position"]
    assert {one["source"] for one in shown} == {"/worldbus/weather"}
    assert worldbus("tail", "-n", 0).stdout == ""


def test_replay_of_a_span_is_every_position_of_it(worldbus: Worldbus) -> None:
    shown = lines(worldbus("replay", "--after", 10, "--until", 60, "--json"))

    assert [one["position"] for one in shown] == list(range(11, 61))


def test_verify_decides_everything_alike(worldbus: Worldbus) -> None:
    (report,) = lines(worldbus("verify", "--json"))

    assert (report["different"], report["percent"], report["differences"]) == (0, 100.0, [])
    assert report["decisions"] == report["identical"] > 50
    assert report["handlers"]["player"]["decisions"] > 0


def test_rebuild_of_every_projection_ends_with_an_empty_diff(worldbus: Worldbus) -> None:
    reports = lines(worldbus("rebuild", "--all", "--json"))

    assert [(one["projection"], one["empty"]) for one in reports] == [(one.name, True) for one in PROJECTIONS]


def test_lag_names_everybody_and_ends_at_nothing(worldbus: Worldbus) -> None:
    (found,) = lines(worldbus("lag", "--json"))

    assert {"time", "weather", "player", "state"} <= {one["handler"] for one in found["handlers"]}
    assert {one.name for one in PROJECTIONS} <= {one["projection"] for one in found["projections"]}
    assert found["log"]["last"] >= found["archive"]["position"] > 0
    assert worldbus("lag", "--max", 1_000_000).returncode == 0


def test_check_finds_everything_well_and_compares_the_whole_archive(worldbus: Worldbus) -> None:
    worldbus("skipped", "ack", "--all")  # of other tests' odd events
    (found,) = lines(worldbus("check", "--full", "--json"))

    assert found["ok"] is True
    assert [one["check"] for one in found["checks"]] == [
        *("settings", "servers", "nats", "log", "durability", "consumers", "capacity", "clocks"),
        *("members", "versions", "games", "handlers", "workers", "ticker"),
        *("tables", "reader", "projections", "projector", "parked", "skipped", "archive"),
    ]
    assert worldbus("check").stdout.splitlines()[-1].startswith("ok   archive")


def test_migrate_has_nothing_left_to_do(worldbus: Worldbus) -> None:
    assert lines(worldbus("migrate", "--json")) == [{"applied": []}]


def test_a_second_owner_of_the_folder_is_refused(worldbus: Worldbus) -> None:
    for words in (("up",), ("demo", "--seconds", 1), ("log", "repair", "--from-archive")):
        done = worldbus(*words)

        assert done.returncode == 3
        assert "is in use by process" in done.stderr


def test_a_poisoned_lane_is_listed_retried_and_dropped(worldbus: Worldbus, up: Path) -> None:
    position = asyncio.run(_poison(up, "evt.main.weather.poisoned.PlayerMoved", b"\x00 this is no event"))
    assert worldbus("publish", "PlayerJoined", "--entity", "poisoned", "--data", '{"display_name": "Mira", "zone": "quay"}').returncode == 0
    eventually(
        worldbus,
        "SELECT status FROM parked WHERE handler = 'player' AND entity = 'poisoned' ORDER BY input",
        [{"status": "parked"}, {"status": "deferred"}],
    )

    listed = [one for one in lines(worldbus("parked", "list", "--json")) if one["handler"] == "player"]
    shown = worldbus("parked", "show", "player/poisoned")
    told = worldbus("why", position).stdout
    retried = worldbus("parked", "retry", "player/poisoned", "--reason", "it may pass now")
    dropped = worldbus("parked", "drop", "player/poisoned", "--input", position)
    resumed = worldbus("parked", "retry", "player/poisoned", "--json")

    assert [one["input"] for one in listed if one["status"] == "parked"] == [position]
    assert f"{position} unreadable" in shown.stdout
    assert f"BAD_PAYLOAD (bus.errors.BadEvent): {listed[0]['reason']}" in shown.stdout
    assert "  at bus/event.py:" in shown.stdout, shown.stdout
    assert "PlayerJoined" in shown.stdout
    assert (retried.returncode, "failed again" in retried.stdout) == (1, True)
    assert (dropped.returncode, f"{position} dropped; " in dropped.stdout) == (0, True)
    assert (resumed.returncode, json.loads(resumed.stdout)["problem"]) == (1, "nothing is parked")
    eventually(worldbus, "SELECT online FROM players WHERE player = 'poisoned'", [{"online": True}])
    assert "It waits in player/poisoned of world 'main':" in told
    assert "BAD_PAYLOAD (bus.errors.BadEvent)" in told
    other = asyncio.run(_poison(up, "evt.main.weather.poisoned-too.PlayerMoved", b"\x00 nor is this"))
    eventually(worldbus, f"SELECT status FROM parked WHERE input = {other} AND handler = 'player'", [{"status": "parked"}])
    handlers = len({one["handler"] for one in lines(worldbus("parked", "list", "--json")) if one["input"] == other})
    assert worldbus("parked", "drop", "--all", "--code", "NO_SUCH_CODE").stderr == "nothing is parked that this is about\n"
    done = worldbus("parked", "drop", "--all", "--code", "BAD_PAYLOAD", "--reason", "no event at all")
    assert (done.returncode, done.stdout.count(f"; {other} dropped")) == (0, handlers)
    eventually(worldbus, "SELECT count(*) AS waiting FROM parked", [{"waiting": 0}])
    again = worldbus("parked", "drop", "player/poisoned", "--input", position)
    assert (again.returncode, "nothing to drop: the lane has answered" in again.stderr) == (1, True)
    assert all(worldbus("skipped", "ack", str(skipped)).returncode == 0 for skipped in (position, other))
    (report,) = lines(worldbus("verify", "--json"))
    assert (report["different"], report["percent"]) == (0, 100.0)


def test_given_servers_are_used_and_nothing_is_started_beside_them(up: Path, tmp_path: Path) -> None:
    addresses = Folder(up).find()
    assert addresses is not None
    nowhere = tmp_path / "nowhere"
    nats, monitor, dsn = (
        ("--nats", addresses.nats_url),
        ("--nats-monitor", addresses.nats_monitor_url),
        ("--postgres", addresses.postgres_dsn),
    )

    call(up, "skipped", "ack", "--all")  # of other tests' odd events
    checked = call(nowhere, "check", *nats, *monitor, *dsn, "--durability", "relaxed")
    asked = call(nowhere, "sql", "SELECT count(*) AS n FROM clock WHERE world = 'main'", *dsn, "--json")
    (said,) = lines(call(nowhere, "publish", "PlayerHeartbeat", "--entity", "somebody", *nats, "--json"))
    (read,) = lines(call(nowhere, "replay", "--after", said["position"] - 1, "--limit", 1, *nats, "--json"))

    assert (checked.returncode, "NATS: given, Postgres: given" in checked.stdout) == (0, True), checked.stdout
    assert json.loads(asked.stdout) == [{"n": 1}]
    assert read["id"] == said["id"]
    assert addresses.nats_url is not None
    assert addresses.nats_url.rpartition("@")[0].rpartition(":")[2] not in checked.stdout, "a password was shown"
    assert not nowhere.exists()


async def _poison(folder: Path, subject: str, payload: bytes) -> int:
    """Somebody with the right to publish writes what is no event; returns its position."""
    addresses = Folder(folder).find()
    assert addresses is not None
    assert addresses.nats_url is not None
    async with connect(addresses.nats_url, name="poison") as connection:
        return int(json.loads(await connection.request(subject, payload))["seq"])
