"""`worldbus dev`: each change of a game is played at once, with what it would have decided otherwise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dev.conftest import COMMAND, RULES, SQL, TABLE, VIEW, Dev, running

pytestmark = pytest.mark.timeout(600)

PLAYS = "plays again"
WATCHING = "Watching"


def test_a_changed_rule_is_played_and_the_decisions_that_differ_are_shown(dev: Dev) -> None:
    dev.until(WATCHING)
    dev.join("Mira")
    dev.join("Tam")
    dev.save("harbour/greets.py", RULES.replace("return [", 'return [] if name == "Tam" else ['))

    told = dev.until("rules of greets", PLAYS, "1 of the last 2 decisions would differ")

    assert "changed: harbour/greets.py" in told
    assert re.search(r"rules of greets: greets/1\+(\w{12}) → greets/1\+(?!\1)\w{12}", told)
    assert "greets: 2 compared, 1 identical, 1 different" in told
    assert "greets/tam in world 'main', input 3 PlayerJoined, decided by greets/1+" in told
    assert '-  display_name = "welcome Tam"' in told
    assert "+nothing" in told
    assert "mira" not in told
    dev.join("Ona")
    assert dev.sql("SELECT greeted, visits FROM guests WHERE guest = 'ona'") == [{"greeted": "welcome Ona", "visits": 1}]


def test_a_changed_table_is_played_and_a_comment_changes_no_decision(dev: Dev) -> None:
    dev.until(WATCHING)
    dev.join("Mira")
    dev.save("harbour/content/greetings.toml", TABLE.replace("welcome", "hail"))

    told = dev.until(PLAYS, "1 of the last 1 decisions would differ")

    assert '-  display_name = "welcome Mira"' in told
    assert '+  display_name = "hail Mira"' in told
    dev.join("Tam")
    assert dev.sql("SELECT greeted FROM guests WHERE guest = 'tam'") == [{"greeted": "hail Tam"}]
    dev.save("harbour/greets.py", RULES + "# a comment\n")
    assert "the rules of every handler are the same" in dev.until(PLAYS)
    dev.save("harbour/content/notes.txt", "nothing that anybody plays by")
    assert PLAYS not in dev.until("no rule and no projection is another one")


def test_a_changed_view_is_built_anew_though_its_version_is_the_same(dev: Dev) -> None:
    dev.until(WATCHING)
    dev.join("Mira")
    dev.save("harbour/guests.sql", SQL + "CREATE VIEW regulars AS SELECT guest FROM guests WHERE visits > 0;\n")

    told = dev.until("projection guests: readers see what was built anew")

    assert "decisions" not in told
    assert dev.sql("SELECT guest FROM regulars") == [{"guest": "mira"}]
    dev.save("harbour/guests.py", VIEW.replace("greeted=it.display_name", "greeted=it.display_name.upper()"))
    dev.until("projection guests: readers see what was built anew")
    assert dev.sql("SELECT greeted FROM guests") == [{"greeted": "WELCOME MIRA"}]
    assert [row["version"] for row in dev.sql("SELECT version FROM projections WHERE live")] == [1]


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    [
        (
            "harbour/greets.py",
            RULES.replace("def evolve(visits, event):", "def evolve(visits, event)"),
            r"harbour/greets\.py:31: SyntaxError: ",
        ),
        ("harbour/guests.py", VIEW.replace("GUESTS = Table", "GUESTS = Tabel"), r"harbour/guests\.py:7: NameError: name 'Tabel'"),
        ("harbour/content/greetings.toml", "greeting = = 1", r"harbour/content/greetings\.toml: .*line 1.*greets cannot play"),
        ("harbour/guests.sql", SQL.replace("visits bigint", "visits bigant"), r'harbour/guests\.sql:3: type "bigant" does not exist'),
    ],
    ids=["syntax", "import", "table", "sql"],
)
def test_what_cannot_be_loaded_is_named_and_what_ran_runs_on_until_it_is_mended(dev: Dev, name: str, broken: str, reason: str) -> None:
    dev.until(WATCHING)
    whole = (dev.folder / name).read_text()
    dev.save(name, broken)

    told = dev.until("what ran before runs on")

    assert re.search(f"broken: {reason}", told), told
    dev.join("Mira")
    assert dev.sql("SELECT greeted FROM guests") == [{"greeted": "welcome Mira"}]
    dev.save(name, whole.replace("welcome", "hail") if name.endswith("toml") else f"{whole}\n")
    dev.until(PLAYS if not name.endswith("sql") else "nothing is started again")


@pytest.fixture
def town(home: Path) -> Iterator[Dev]:
    """`worldbus dev` on a game that was just made, with events of its own."""
    for folder, *words in ((home, "new", "town"), (home / "town", "proto")):
        subprocess.run([*COMMAND, *words], cwd=folder, check=True, capture_output=True)
    (home / "town").chmod(home.stat().st_mode)
    yield from running(home / "town", {})


def test_a_changed_schema_is_compiled_and_played_with_the_rules_that_need_it(town: Dev) -> None:
    town.until(WATCHING)
    proto, rules = "proto/town/beacon/v1/beacon.proto", "town/beacon.py"
    dark = "message BeaconWentDark {}"
    source, code = (town.folder / proto).read_text(), (town.folder / rules).read_text()
    assert (dark in source, "BeaconWentDark()" in code) == (True, True)
    town.save(proto, source.replace(dark, "message BeaconWentDark {\n  // Why, in a word.\n  string cause = 1;\n}"))

    told = town.until("schemas: 1 sources", PLAYS)

    assert "town/gen/town/beacon/v1/beacon_pb2.py" in told
    town.save(rules, code.replace("(BeaconWentDark(),)", '(BeaconWentDark(cause="oil"),)'))
    assert "rules of beacon" in town.until(PLAYS)
    town.save(proto, source.replace(dark, "message BeaconWentDark {"))
    broken = town.until("what ran before runs on")
    assert re.search(r"broken: proto/town/beacon/v1/beacon\.proto:\d+:\d+: ", broken), broken


def test_changes_in_quick_succession_end_with_the_last_one(dev: Dev) -> None:
    dev.until(WATCHING)
    for number in range(10):
        dev.save("harbour/greets.py", RULES.replace("{greeting} {name}", f"{{greeting}} {{name}} {number}"))
    dev.until(PLAYS)
    dev.wait(lambda: "9" in _greeted(dev))


def _greeted(dev: Dev) -> str:
    dev.join("Mira")
    return str(dev.sql("SELECT greeted FROM guests WHERE guest = 'mira'"))


def test_a_child_that_ends_by_itself_is_told_and_the_next_save_is_tried(dev: Dev) -> None:
    dev.until(WATCHING)
    (child,) = _children(_children(dev.process.pid, "warm.py")[0])
    os.kill(child, signal.SIGKILL)

    dev.until("the game ended by itself, code -9")

    dev.save("harbour/greets.py", RULES + "\n")
    dev.wait(lambda: "welcome" in _greeted(dev))


def test_ctrl_c_ends_everything_and_what_it_leaves_can_be_taken_up(dev: Dev) -> None:
    dev.until(WATCHING)
    dev.join("Mira")
    family = _descendants(dev.process.pid)

    assert dev.stop() == 0
    assert "stopped" in dev.printed
    assert "Traceback" not in dev.printed
    assert [pid for pid in family if _runs(pid)] == []


def _children(pid: int, having: str = "") -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [one for one in found if having in Path(f"/proc/{one}/cmdline").read_text()]


def _descendants(pid: int) -> list[int]:
    return [one for child in _children(pid) for one in (child, *_descendants(child))]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
