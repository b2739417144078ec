"""The hash of a handler's rules: every rule and table that it reaches changes it, and nothing else does."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import msgspec
import pytest

from bus.handler import Handler
from bus.reach import Reach
from bus.rules import producer, roots_of, rules
from tests.duskmarket import ALL, by_name

ROOT = Path(__file__).parents[3]
GAME = {
    "__init__.py": "",
    "tables.py": '''
"""Tables."""
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

class Kind(Enum):
    SMALL = 1
    BIG = 2

@dataclass(frozen=True)
class Row:
    name: str
    worth: int
    kind: Kind = Kind.SMALL

    def doubled(self) -> int:
        """Twice its worth."""
        return self.worth * 2

ROWS = MappingProxyType({"a": Row("a", 3), "b": Row("b", 4, Kind.BIG)})
NAMES = frozenset({"ann", "ben", "cy"})
''',
    "sibling.py": '''
"""A sibling."""
from functools import lru_cache, singledispatch, wraps
import re

LIMIT = 10
PATTERN = re.compile("a+")

def helper(x):
    """Helps."""
    return x + LIMIT

@lru_cache(maxsize=8)
def kept(x):
    return x * 7

def loud(function):
    @wraps(function)
    def inner(*args):
        return function(*args), 11
    return inner

@loud
def wrapped(x):
    return x - 13

class Tool:
    size = 17

    def use(self, x):
        return x % self.size

    @property
    def half(self):
        return self.size // 19

    @classmethod
    def make(cls):
        return cls() if cls.size != 23 else None

    @staticmethod
    def check(x):
        return x == 29

def unused():
    return 31
''',
    "rules.py": '''
"""Rules."""
from functools import partial

from game import sibling
from game.sibling import Tool, kept, wrapped
from game.tables import NAMES, ROWS

FACTOR = 37
OTHER = 41  # nobody's

def decide(rows, event, state):
    """Decide."""
    late = __import__  # noqa
    total = sibling.helper(FACTOR) + kept(1) + wrapped(2)[0]
    tool = Tool.make()
    match event:
        case {"kind": "sale", "worth": worth} if worth > 43:
            return [rows["a"].doubled() + total]
        case _:
            pass
    return [one for one in rows if one in NAMES and tool.use(47) and sibling.PATTERN.match(one)]

def closed(limit):
    def evolve(state, event, step=53):
        def inner(x):
            return x + 59
        return inner(state) + limit + step
    return evolve

def entities(event):
    from game import late
    return (event.entity, late.name(event))

def initial(entity):
    return {"zone": "quay", "at": (1, 2.5, None, True)}

def made():
    return dict(decide=partial(decide, ROWS), evolve=closed(61), entities=entities, initial=initial)
''',
    "late.py": """
def name(event):
    return str(event) + "late"
""",
}


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The hash of a handler of a small game of its own, with some of its files changed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    handler = by_name()["player"]

    def hashed(**changed: str) -> str:
        for name in [name for name in sys.modules if name == "game" or name.startswith("game.")]:
            del sys.modules[name]
        shutil.rmtree(tmp_path / "game", ignore_errors=True)
        (tmp_path / "game").mkdir()
        for file, source in GAME.items():
            (tmp_path / "game" / file).write_text(changed.get(file.removesuffix(".py"), source))
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        importlib.import_module("game.late")
        made = importlib.import_module("game.rules").made()
        return rules(replace(handler, **made))

    return hashed


def edited(file: str, old: str, new: str) -> dict[str, str]:
    source = GAME[f"{file}.py"]
    assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {file}"
    return {file: source.replace(old, new)}


CHANGES = [
    ("rules", "FACTOR = 37", "FACTOR = 38"),
    ("rules", "worth > 43", "worth >= 43"),
    ("rules", '"sale"', '"sold"'),
    ("rules", "use(47)", "use(48)"),
    ("rules", "step=53", "step=54"),
    ("rules", "x + 59", "x - 59"),
    ("rules", "closed(61)", "closed(62)"),
    ("rules", "partial(decide, ROWS)", "partial(decide, {})"),
    ("rules", '"quay"', '"pier"'),
    ("rules", "2.5", "2.25"),
    ("rules", "None, True", "None, 1"),
    ("rules", "event.entity", "event.world"),
    ("sibling", "LIMIT = 10", "LIMIT = 11"),
    ("sibling", "x + LIMIT", "LIMIT - x"),
    ("sibling", '"a+"', '"a*"'),
    ("sibling", "x * 7", "x * 8"),
    ("sibling", ", 11", ", 12"),
    ("sibling", "x - 13", "x - 14"),
    ("sibling", "size = 17", "size = 18"),
    ("sibling", "x % self.size", "self.size % x"),
    ("sibling", "19", "20"),
    ("sibling", "23", "24"),
    ("sibling", "29", "30"),
    ("tables", '"a", 3', '"a", 5'),
    ("tables", "4, Kind.BIG", "4, Kind.SMALL"),
    ("tables", "BIG = 2", "BIG = 3"),
    ("tables", "self.worth * 2", "self.worth * 3"),
    ("tables", '"cy"', '"di"'),
    ("tables", "Kind = Kind.SMALL", "Kind = Kind.BIG"),
    ("late", '"late"', '"early"'),
]
NO_CHANGES = [
    ("rules", '"""Decide."""', ""),
    ("rules", '"""Decide."""', '"""Decide otherwise."""'),
    ("rules", "  # nobody's", ""),
    ("rules", "OTHER = 41", "OTHER = 42"),
    ("rules", '"""Rules."""', "# Rules\n\n\n"),
    (
        "rules",
        "sibling.helper(FACTOR) + kept(1) + wrapped(2)[0]",
        "(\n        sibling.helper(FACTOR)\n        + kept(1)\n        + wrapped(2)[0]\n    )",
    ),
    ("rules", "def inner(x):\n            return x + 59", "def inner(y):\n            return y + 59"),
    ("sibling", '"""Helps."""', ""),
    ("sibling", "return 31", "return 32"),
    ("tables", '"""Twice its worth."""', "# twice"),
    ("tables", '"""Tables."""', '"""Other words about tables."""'),
]


@pytest.mark.parametrize(("file", "old", "new"), CHANGES)
def test_a_rule_that_is_reached_changes_the_hash(game: Callable[..., str], file: str, old: str, new: str) -> None:
    assert game(**edited(file, old, new)) != game()


@pytest.mark.parametrize(("file", "old", "new"), NO_CHANGES)
def test_words_about_rules_and_rules_that_are_not_reached_do_not(game: Callable[..., str], file: str, old: str, new: str) -> None:
    assert game(**edited(file, old, new)) == game()


def test_the_version_and_what_is_emitted_are_rules_too() -> None:
    player = by_name()["player"]

    assert len({rules(one) for one in (player, replace(player, version=2), replace(player, emits=player.emits[1:]))}) == 3
    assert re.fullmatch(r"player/1\+[0-9a-f]{12}", producer(player))


def test_a_table_that_holds_itself_and_rules_that_call_each_other_end() -> None:
    table: dict[str, Any] = {"a": 1}
    table["itself"] = [table]

    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1) and bool(table)

    assert Reach().digest((even,)) == Reach().digest((even,))


@dataclass(frozen=True)
class State:
    """The state of a lane."""

    zone: str = ""


class Trace(NamedTuple):
    """A part of a state."""

    seen: int


@pytest.mark.parametrize("kind", [State, Trace])
def test_what_a_library_keeps_on_a_class_does_not_count(kind: Any) -> None:
    before = Reach().digest((kind,))
    msgspec.convert(msgspec.to_builtins(kind(1) if kind is Trace else kind("quay")), type=kind)

    assert [name for name in vars(kind) if "msgspec" in name], "msgspec keeps nothing there any more: this test shows nothing"
    assert Reach().digest((kind,)) == before


def test_equal_tables_count_the_same_whoever_made_them_and_in_whichever_order_their_sets_are() -> None:
    words = [chr(number) for number in range(97, 123)]

    assert Reach().digest(({"a": frozenset(words)},)) == Reach().digest(({"a": frozenset(reversed(words))},))
    assert Reach().digest(((1, 2),)) != Reach().digest(((1, 2.0),))
    assert Reach().digest(((0.0,),)) != Reach().digest(((-0.0,),))
    assert Reach().digest(((True,),)) != Reach().digest(((1,),))
    assert Reach().digest(([1],)) != Reach().digest(((1,),))


# -- our own handlers ----------------------------------------------------------------------------------------------------------------

_PRINT = """
import json
from bus.rules import producer
from worlds.duskmarket import game
print(json.dumps({one.name: producer(one.of(game.name)) for one in game.handlers}))
"""


def _hashes(tree: Path, seed: str = "1") -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", _PRINT],
        cwd=tree,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(tree)},
        capture_output=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what handlers are made of."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("bus", "handlers", "migrations", "projections", "schemas", "worldbus", "worlds"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize("seed", ["1", "4711", "random"])
def test_every_process_finds_the_same_hashes(tree: Path, seed: str) -> None:
    assert _hashes(tree, seed) == {handler.name: producer(handler) for handler in ALL}


TOUCHED = [
    ("handlers/book.py", "crc32(key.encode()) % len(book)]", "crc32(key.encode()) // 3 % len(book)]",
     {"payment", "coupon", "inventory", "market", "npc"}),
    ("handlers/weather_manager/climate.py", "2**56", "2**57", {"weather"}),
    ("handlers/npc_behavior/feelings.py", "return replace(effect, trust=trust", "return replace(effect, trust=-trust", {"npc"}),
    ("handlers/player.py", "PERIOD_MS: Final = 60_000", "PERIOD_MS: Final = 60_001", {"player"}),
    ("worlds/duskmarket/weather.toml", "warmth_c = -6.0", "warmth_c = -6.5", {"weather"}),
    ("worlds/duskmarket/prices.toml", "{ crowns = 450 }", "{ crowns = 451 }", {"payment"}),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "whose"), TOUCHED, ids=[one[0] for one in TOUCHED])
def test_a_touched_file_changes_the_hashes_of_whom_it_concerns_and_no_others(
    tree: Path, file: str, old: str, new: str, whose: set[str]
) -> None:
    path, before = tree / file, {handler.name: producer(handler) for handler in ALL}
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    try:
        after = _hashes(tree)
    finally:
        path.write_text(source)

    assert {name for name in before if before[name] != after[name]} == whose


LOADERS = {
    "names.py",
    "read.py",
    "__init__.py",
    "messages.py",
    "refusals.py",
    "check.py",
    "lexicon.py",
    "needs.py",
    "tables.py",
    "versions.py",
}
"""Files that make tables or messages at import; what they make counts, not how."""


@pytest.mark.parametrize("handler", ALL, ids=lambda handler: handler.name)
def test_every_file_of_a_handler_is_reached(handler: Handler[Any]) -> None:
    values = Reach().values(roots_of(handler))
    files = {Path(value.__code__.co_filename) for value in values if isinstance(value, FunctionType)}
    files |= {Path(sys.modules[value.__module__].__file__ or "") for value in values if isinstance(value, type)}
    evolve = getattr(handler.evolve, "func", handler.evolve)
    home = Path(evolve.__code__.co_filename)
    package = {home} if home.parent.name == "handlers" else set(home.parent.rglob("*.py"))
    if home.parent.name == "payment":  # two handlers share it
        package = {path for path in package if (path.name == "coupon.py") == (handler.name == "coupon")}
    assert {path.name for path in package - files} <= LOADERS
