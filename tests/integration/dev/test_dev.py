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


def test_a_package_that_could_not_be_imported_is_watched_on(dev: Dev) -> None:
    """An import that fails leaves no module behind: nothing that is loaded says where the mistake lies."""
    dev.until(WATCHING)
    (dev.folder / "crew").mkdir()
    crew = 'GREETS = "{}"\n'
    dev.save("crew/names.py", crew.format("Ada"))
    dev.save("crew/__init__.py", "from crew.names import GREETS\n")
    dev.save(
        "harbour/greets.py",
        RULES.replace("\nimport tomllib", "\nimport tomllib\n\nimport crew").replace("{greeting} {name}", "{crew.GREETS}: {name}"),
    )
    dev.until("rules of greets", PLAYS)
    dev.save("crew/names.py", "GREETS = = 1\n")
    assert re.search(r"broken: crew/names\.py:1: SyntaxError", dev.until("what ran before runs on"))
    dev.save("crew/names.py", crew.format("Grace"))
    dev.until("changed: crew/names.py", "rules of greets", PLAYS)
    dev.join("Mira")
    assert dev.sql("SELECT greeted FROM guests") == [{"greeted": "Grace: Mira"}]


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


def test_a_schema_that_breaks_a_promise_is_told_with_its_place(town: Dev) -> None:
    town.until(WATCHING)
    proto = "proto/town/beacon/v1/beacon.proto"
    source = (town.folder / proto).read_text()
    generated = {path: path.read_bytes() for path in (town.folder / "town/gen").rglob("*.py*") if "__pycache__" not in path.parts}
    broken = source.replace("int64 oil_minutes = 1;", "string oil_minutes = 1;", 1)
    line = broken[: broken.index("message BeaconLightRequested")].count("\n") + 1
    town.save(proto, broken)

    told = town.until("what ran before runs on")

    field = "town.beacon.v1.BeaconLightRequested.oil_minutes (number 1)"
    assert f"broken: {proto}:{line}: {field}: the type changed from int64 to string" in told
    assert "Traceback" not in told
    assert {path: path.read_bytes() for path in generated} == generated
    town.save(proto, source.replace("message BeaconWentDark {}", "message BeaconWentDark {\n  // Why.\n  string cause = 1;\n}"))
    town.until("schemas: 1 sources", PLAYS)


def test_what_is_answered_without_a_model_is_played_too(town: Dev) -> None:
    town.until(WATCHING)
    ladder = "town/content/ladder.toml"
    whole = (town.folder / ladder).read_text()
    town.save(ladder, whole.replace("reserve_ms = 12", "reserve_ms = 13", 1))

    told = town.until("answers without a model: other ladders or grammars than before", PLAYS)

    assert "decisions" not in told
    town.save(ladder, whole.replace("reserve_ms = 12", 'reserve_ms = "12"', 1))
    broken = town.until("what ran before runs on")
    line = whole[: whole.index("reserve_ms")].count("\n") + 1
    assert f"broken: {ladder}:{line}: default.reserve_ms: wanted a whole number, found '12' (nobody could be answered" in broken
    town.save(ladder, whole + "# a comment\n")
    town.until("answers without a model", PLAYS)


def test_lore_is_known_as_soon_as_it_is_saved(town: Dev) -> None:
    town.until(WATCHING, "lore: 2 documents taken up")
    lore = "town/content/lore/the-beacon.md"
    whole = (town.folder / lore).read_text()
    told_by = "SELECT document FROM passages WHERE body LIKE '%nine lamps%'"
    section = "\n## Why it has nine lamps\n\nThe beacon has nine lamps because eight were not enough in the winter of the two wrecks.\n"
    assert town.sql(told_by) == []
    town.save(lore, whole + section)

    town.until("lore: other documents than before", PLAYS, "lore: 1 document taken up, 1 passage new, 0 gone")

    town.wait(lambda: len(town.sql(told_by)) == 1)
    town.save(lore, whole.replace("audience: [public]", "audience: [whoever]"))
    broken = town.until("what ran before runs on")
    assert re.search(r"broken: town/content/lore/the-beacon\.md:\d+: .*whoever.* \(the knowledge base would not hold it\)", broken), broken
    town.save(lore, whole)
    town.until("lore: other documents than before", "lore: 1 document taken up, 0 passages new, 1 gone")


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
