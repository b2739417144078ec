"""The first ten minutes: a wrong folder, addresses for other programs, a world found from anywhere, ports that are taken."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import COMMAND, Worldbus, call, environment, lines
from worldbus.embedded.folder import LAYOUT, Folder

READING = (
    ("tail",),
    ("replay",),
    ("sql", "SELECT 1"),
    ("sql", "--tables"),
    ("lag",),
    ("check",),
    ("ps",),
    ("env",),
    ("why", "1"),
    ("verify",),
    ("rebuild", "--all"),
    ("parked", "list"),
    ("parked", "retry", "player/mira"),
    ("skipped", "list"),
    ("skipped", "ack", "--all"),
    ("kb", "search", "what is there?"),
    ("migrate", "--dry-run"),
    ("log", "repair", "--from-archive"),
)


def bare(folder: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing, in a runtime folder of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WORLDBUS_", "PG", "NATS_"))}
    runtime = folder / "runtime"
    runtime.mkdir(exist_ok=True)
    return {**kept, "XDG_RUNTIME_DIR": str(runtime)}


def go(where: Path, *words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`worldbus words…` as typed in a folder, to its end."""
    given = bare(where.parent) if env is None else env
    return subprocess.run([*COMMAND, *map(str, words)], cwd=where, env=given, text=True, capture_output=True, check=False, timeout=100)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for folders, with a short path that other users may pass."""
    path = Path(tempfile.mkdtemp(prefix="wb-home-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield path
    shutil.rmtree(path)


def start(where: Path, *words: str) -> subprocess.Popen[bytes]:
    """`worldbus up` in a new folder, once it is up."""
    where.mkdir()
    return up_in(where, *words)


def up_in(where: Path, *words: str) -> subprocess.Popen[bytes]:
    """`worldbus up` in a folder, once it is up."""
    with (where / "up.err").open("w") as said:
        process = subprocess.Popen([*COMMAND, "up", *words], cwd=where, env=bare(where.parent), stderr=said, stdin=subprocess.DEVNULL)
    while "Stop it with Ctrl-C" not in (where / "up.err").read_text():
        assert process.poll() is None, (where / "up.err").read_text()
        time.sleep(0.05)
    return process


def test_reading_verbs_make_no_world_in_a_wrong_folder_and_name_the_running_one(home: Path) -> None:
    wrong = home / "wrong"
    wrong.mkdir()
    alone = go(wrong, "tail")
    world = start(home / "world", "--durability", "relaxed", "--world", "duskmarket")
    try:
        refused = {words: go(wrong, *words) for words in READING}
        made = go(wrong, "publish", "PlayerHeartbeat", "--entity", "mira", "--data-dir", "new")
    finally:
        world.send_signal(signal.SIGTERM)
        world.wait(60)

    assert (alone.returncode, "no other world of yours runs on this machine: start one here" in alone.stderr) == (2, True)
    for words, done in refused.items():
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert f"a world runs in {home}/world/.worldbus: add --data-dir {home}/world/.worldbus" in done.stderr, words
        assert "Traceback" not in done.stderr
    assert [path.name for path in wrong.iterdir()] == ["new"]
    assert f"made a new world: there was none in {wrong}/new; worlds that run: {home}/world/.worldbus" in made.stderr
    assert "no other world" in go(wrong, "tail").stderr, "a world that ended is not named any more"


def test_what_up_prints_and_env_exports_leads_there_from_anywhere(home: Path) -> None:
    world = start(home / "world", "--durability", "relaxed", "--world", "duskmarket", "--websocket", f"127.0.0.1:{free_port()}")
    try:
        welcome = (home / "world" / "up.err").read_text()
        exported = go(home / "world", "env")
        variables = dict(shlex.split(line)[1].split("=", 1) for line in exported.stdout.splitlines())
        elsewhere = home / "elsewhere"
        elsewhere.mkdir()
        env = {**bare(home), **variables}
        published = go(elsewhere, "publish", "PlayerJoined", "--entity", "mira", "--data", '{"zone": "quay"}', "--json", env=env)
        position = json.loads(published.stdout)["position"]
        tailed = go(elsewhere, "tail", "--entity", "mira", env=env)
        asked = go(elsewhere, "sql", "SELECT 1 AS one", env=env)
        client = subprocess.run(
            [sys.executable, "-c", CLIENT],
            cwd=Path.cwd(),
            env={**env, "PYTHONPATH": "clients/python"},
            text=True,
            capture_output=True,
            check=False,
        )
        other = go(elsewhere, "env", "--json", env=env)
    finally:
        world.send_signal(signal.SIGTERM)
        world.wait(60)

    for address in ("NATS       nats://worldbus:***@127.0.0.1:", "monitoring http://127.0.0.1:", "Browsers come in at ws://browser:"):
        assert address in welcome
    assert f"Postgres   {variables['WORLDBUS_READER_DSN']}" in welcome
    assert {"NATS_URL", "WORLDBUS_NATS_URL", "WORLDBUS_WEBSOCKET_URL", "PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"} <= set(variables)
    assert (variables["WORLDBUS_WORLD"], variables["PGUSER"]) == ("duskmarket", "worldbus_reader")
    assert published.returncode == 0, published.stderr
    assert f"{position:>8} " in tailed.stdout
    assert "duskmarket game:mira  PlayerJoined" in tailed.stdout
    assert "one\n  1" in asked.stdout
    assert int(client.stdout) > position, client.stderr
    assert json.loads(other.stdout) == variables
    assert list(elsewhere.iterdir()) == []
    # The world is down, the variables are still there: an address of the folder's own server means that server, to be started.
    again = go(elsewhere, "tail", "-n", "1", "--entity", "mira", env=env)
    assert again.returncode == 0, again.stderr


CLIENT = """
from worldbus_client.gen.worldbus.player.v1 import PlayerMoved
from worldbus_client import Client

with Client() as bus:
    print(bus.publish("mira", PlayerMoved(zone="moor")))
"""


def test_a_plain_client_of_postgres_reads_by_the_variables(home: Path) -> None:
    if shutil.which("psql") is None:
        pytest.skip("wants psql")
    world = start(home / "world", "--durability", "relaxed")
    try:
        env = bare(home)
        asked = subprocess.run(
            ["bash", "-c", f'eval "$({shlex.join(COMMAND)} env)" && psql -Atc "SELECT current_user, count(*) FROM players"'],
            cwd=home / "world", env=env, text=True, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
    finally:
        world.send_signal(signal.SIGTERM)
        world.wait(60)

    assert asked.stdout == "worldbus_reader|0\n", asked.stderr


def test_verbs_beside_a_relaxed_up_work_unless_told_otherwise(worldbus: Worldbus, up: Path) -> None:
    """`up` was started relaxed; nobody has to say so again."""
    strict = {name: value for name, value in environment(up).items() if name != "WORLDBUS_DURABILITY"}

    published = go(up, "publish", "PlayerHeartbeat", "--entity", "mira", env=strict)
    checked = go(up, "check", "--json", env=strict)
    otherwise = go(up, "publish", "PlayerHeartbeat", "--entity", "mira", "--durability", "strict", env=strict)

    assert published.returncode == 0, published.stderr
    assert next(one for one in json.loads(checked.stdout)["checks"] if one["check"] == "durability")["ok"]
    assert (otherwise.returncode, "sync_interval" in otherwise.stderr) == (3, True)


def test_data_is_an_events_fields_and_the_folders_former_name_still_works_with_a_note(worldbus: Worldbus, up: Path) -> None:
    env = {name: value for name, value in environment(up).items() if name != "WORLDBUS_DATA"}

    former = go(up.parent, "sql", "SELECT 1", "--data", up, env=env)
    now = go(up.parent, "sql", "SELECT 1", "--data-dir", up, env=env)
    variable = go(up.parent, "sql", "SELECT 1", env={**env, "WORLDBUS_DATA_DIR": str(up)})
    folder = worldbus("publish", "PlayerHeartbeat", "--entity", "mira", "--data", up)

    assert (former.returncode, former.stdout) == (0, now.stdout)
    assert "note: the data folder is named by --data-dir now" in former.stderr
    assert "note:" not in now.stderr
    assert variable.stdout == now.stdout
    assert (folder.returncode, "not valid JSON" in folder.stderr) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_job_in_a_scripts_background_ends_by_signals(home: Path, number: signal.Signals) -> None:
    """A shell that runs a script starts what has an `&` with SIGINT ignored."""
    script = f"""
        {shlex.join(COMMAND)} up --durability relaxed 2>up.err &
        until grep -q 'Stop it with Ctrl-C' up.err; do kill -0 $! || exit 9; sleep 0.1; done
        kill -{number.value} $!
        wait $!
    """
    # Whoever runs the tests by `nohup` has SIGHUP ignored, and children inherit that.
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env=bare(home),
        check=False,
        timeout=100,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )

    assert done.returncode == 0, (home / "up.err").read_text()
    assert (home / "up.err").read_text().endswith("stopped\n")
    assert not (home / ".worldbus" / "servers.json").exists()


@pytest.mark.parametrize("words", [("up", "--metrics"), ("up", "--websocket"), ("gateway", "--tokens", "tokens.toml", "--listen")])
def test_a_port_that_is_taken_is_no_bug_of_worldbus(home: Path, words: tuple[str, ...]) -> None:
    (home / "tokens.toml").write_text(go(home, "gateway", "token", "eu", "--world", "main").stdout)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = go(home, *words, f"127.0.0.1:{taken.getsockname()[1]}")

    assert done.returncode in (2, 3)
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: ")
    assert "give another" in said
    assert "bug" not in done.stderr


def test_the_first_start_the_second_and_one_after_a_crash_warn_of_nothing(home: Path) -> None:
    where = home / "world"
    for number, end in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
        process = start(where) if number == 0 else up_in(where)
        process.send_signal(end)
        process.wait(60)
        said = (where / "up.err").read_text()

        loud = [line for line in said.splitlines() if '"level": "warning"' in line or '"level": "error"' in line]
        assert loud == [], f"start {number + 1}"


def test_a_folder_of_a_newer_release_is_left_alone(home: Path) -> None:
    assert go(home, "publish", "PlayerHeartbeat", "--entity", "mira").returncode == 0
    layout = home / ".worldbus" / LAYOUT
    layout.write_text(json.dumps({"layout": 99, "worldbus": "9.9.9"}))

    for words in (("up",), ("tail",), ("check",)):
        done = go(home, *words)
        assert done.returncode in (1, 3)
        assert "was made by worldbus 9.9.9, which lays it out as 99" in done.stdout + done.stderr


def test_a_servers_file_of_a_newer_release_is_understood(worldbus: Worldbus, up: Path) -> None:
    file = up / "servers.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({**known, "something": "new"}))
    try:
        (found,) = lines(worldbus("tail", "-n", 1, "--json"))
    finally:
        file.write_text(json.dumps(known))

    assert found["position"] > 0


def test_a_folder_that_is_closed_to_this_user_is_named(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("wants root, to become somebody else")
    folder = home / "closed"
    folder.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        os.seteuid(65534)
        try:
            Folder(folder / "inner")
        except Exception as error:
            os._exit(0 if "let this user write there" in str(error) else 1)
        os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_skipped_events_are_listed_shown_and_acknowledged(worldbus: Worldbus, up: Path) -> None:
    addresses = Folder(up).find()
    assert addresses is not None
    assert addresses.nats_url is not None
    position = _poison(addresses.nats_url)
    while not (found := [one for one in lines(worldbus("skipped", "list", "--json")) if one["position"] == position]):
        time.sleep(0.05)
    red = worldbus("check")
    shown = worldbus("skipped", "show", position)
    (acknowledged,) = lines(worldbus("skipped", "ack", position, "--by", "ada", "--note", "a probe", "--json"))
    again = worldbus("skipped", "ack", position)
    (seen,) = [one for one in lines(worldbus("skipped", "list", "--all", "--json")) if one["position"] == position]

    assert (found[0]["projection"], found[0]["name"]) == ("*", "PlayerMoved")
    assert (red.returncode, f"`worldbus skipped ack {position}`" in red.stdout) == (1, True)
    assert f"{position} skipped by everybody: BAD_PAYLOAD" in shown.stdout
    assert acknowledged == {"by": "ada", "acknowledged": [{"position": position, "projection": "*"}]}
    assert (again.returncode, "nothing to acknowledge at" in again.stderr) == (1, True)
    assert (seen["acknowledged_by"], seen["note"]) == ("ada", "a probe")
    assert worldbus("skipped", "show", 1).returncode == 1
    for one in lines(worldbus("parked", "list", "--json")):
        if one["entity"] == "unreadable":
            worldbus("parked", "drop", f"{one['handler']}/unreadable", "--input", position)


def _poison(url: str) -> int:
    """Somebody with the right to publish writes what is no event; its position."""
    import asyncio

    from bus.connection import connect

    async def write() -> int:
        async with connect(url, name="poison") as connection:
            return int(json.loads(await connection.request("evt.main.game.unreadable.PlayerMoved", b"\x00 no event"))["seq"])

    return asyncio.run(write())


def test_ps_shows_who_runs_what_and_nobody_is_an_answer(worldbus: Worldbus, up: Path, home: Path) -> None:
    (found,) = lines(worldbus("ps", "--json"))
    shown = worldbus("ps", "--partitions")

    (member,) = found["members"]
    assert (member["pid"], member["health"], member["answered"]) == (Folder(up).find().pid, "ok", True)  # type: ignore[union-attr]
    assert member["version"]
    assert member["started"]
    assert {"projector", "ticker", "knowledge"} <= {part["part"] for part in member["parts"]}
    by_name = {one["handler"]: one for one in member["handlers"]}
    assert {one["partition"] for one in by_name["player"]["partitions"]} == {*range(8), "operator"}
    assert by_name["time"]["last_decision"]["position"] > 0
    assert f":{member['pid']}, worldbus {member['version']}, up " in shown.stdout
    assert go(home, "publish", "PlayerHeartbeat", "--entity", "mira").returncode == 0
    nobody = go(home, "ps")
    assert (nobody.returncode, "nobody was heard" in nobody.stderr) == (1, True)


def test_lag_shows_ages_and_fails_over_one(worldbus: Worldbus) -> None:
    (found,) = lines(worldbus("lag", "--json"))

    assert {"behind_s", "oldest_open_s", "missing", "never_ran"} <= set(found["handlers"][0])
    assert found["archive"]["behind_s"] >= 0
    assert all("behind_s" in one for one in (*found["tiers"], *found["projections"]))
    assert worldbus("lag", "--max-age", "1h").returncode == 0
    assert worldbus("lag", "--max-age", "soon").returncode == 2
    assert "behind for" in worldbus("lag").stdout


def test_sql_lists_tables_guesses_names_and_says_what_is_behind(worldbus: Worldbus, home: Path) -> None:
    tables = {one["table"] for one in json.loads(worldbus("sql", "--tables", "--json").stdout)}
    columns = {one["column"] for one in json.loads(worldbus("sql", "--tables", "players", "--json").stdout)}
    misspelt = worldbus("sql", "SELECT * FROM playrs")
    column = worldbus("sql", "SELECT zon FROM players")
    quiet = worldbus("sql", "SELECT 1", "--quiet")
    told = worldbus("sql", "SELECT 1")

    assert {"players", "clock", "events", "parked", "skipped"} <= tables
    assert {"player", "zone", "online"} <= columns
    assert (misspelt.returncode, "did you mean players?" in misspelt.stderr) == (2, True)
    assert '"players.zone"' in column.stderr
    assert quiet.stderr == ""
    assert told.stderr == "(1 row)\n", "tables in step are no news"
    assert worldbus("sql").returncode == 2
    world = start(home / "world", "--durability", "relaxed")
    world.send_signal(signal.SIGTERM)
    world.wait(60)
    assert go(home / "world", "publish", "PlayerHeartbeat", "--entity", "mira").returncode == 0
    assert "no projector runs" in go(home / "world", "sql", "SELECT 1").stderr


def test_tail_leaves_ticks_out_unless_somebody_asks(worldbus: Worldbus) -> None:
    plain = lines(worldbus("tail", "-n", 50, "--json"))
    ticks = lines(worldbus("tail", "-n", 5, "--type", "RealTimePassed", "--json"))
    asked = lines(worldbus("tail", "-n", 200, "--ticks", "--json"))
    since = lines(worldbus("tail", "--since", "1h", "--json"))

    assert not {"RealTimePassed", "ClockAdvanced"} & {str(one.get("type")).rpartition(".")[2] for one in plain}
    assert len(plain) == 50
    assert len(ticks) == 5
    assert "RealTimePassed" in {str(one.get("type")).rpartition(".")[2] for one in asked}
    assert [one["position"] for one in since][-len(plain) :] == [one["position"] for one in plain][-len(since) :] or len(since) > 50
    assert "ticks of the clock are not shown" in worldbus("tail").stderr


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_note_of_a_world_whose_owner_died_leads_nowhere(home: Path) -> None:
    world = start(home / "world", "--durability", "relaxed")
    world.kill()
    world.wait(60)
    (home / "wrong").mkdir()

    done = go(home / "wrong", "tail")

    assert "no other world of yours runs" in done.stderr
    assert call(home / "world" / ".worldbus", "tail").returncode == 0
