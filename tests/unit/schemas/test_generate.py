"""Generated code is in step with its sources, the same every time, and sources outside the house rules are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import NotPortable, SchemaError
from schemas.generate import build, committed, difference, sources, write
from schemas.layout import Layout

GOOD = """
syntax = "proto3";
package worldbus.test.v1;
import "google/protobuf/timestamp.proto";
import "worldbus/test/v1/types.proto";
// It moved.
message Moved {
  // Where to.
  Place place = 1;
  // When.
  google.protobuf.Timestamp at = 2;
  // Unset is not zero.
  optional int32 speed = 3;
}
"""
TYPES = """
syntax = "proto3";
package worldbus.test.v1;
// A place.
message Place {
  // Its name.
  string name = 1;
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "worldbus" / "test" / "v1"
    folder.mkdir(parents=True)
    (folder / "test.proto").write_text(GOOD)
    (folder / "types.proto").write_text(TYPES)
    return tmp_path


def laid_out(root: Path) -> Layout:
    """A repository of worldbus's own packages, its sources in `root`."""
    return Layout(
        root=root,
        proto=root,
        gen=root / "schemas" / "gen",
        module="schemas.gen",
        corpus=root / "corpus",
        released=root / "released.txt",
        command="make proto",
        better=root / "clients" / "gen",
        of_a_game=False,
    )


def edit(root: Path, old: str, new: str, name: str = "test.proto") -> None:
    path = root / "worldbus" / "test" / "v1" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_committed_code_is_what_the_sources_generate() -> None:
    """Next step when this fails: `make proto`, and commit the result."""
    assert difference(build(), committed()) == []


def test_the_same_sources_give_the_same_bytes(root: Path) -> None:
    assert build(laid_out(root)) == build(laid_out(root))


def test_a_new_source_is_picked_up_and_its_imports_are_rewritten(root: Path) -> None:
    tree = build(laid_out(root))

    assert sources(laid_out(root)) == ["worldbus/test/v1/test.proto", "worldbus/test/v1/types.proto"]
    code = tree["schemas/gen/worldbus/test/v1/test_pb2.py"].decode()
    stub = tree["schemas/gen/worldbus/test/v1/test_pb2.pyi"].decode()
    assert "from schemas.gen.worldbus.test.v1 import types_pb2" in code
    assert "from schemas.gen.worldbus.test.v1 import types_pb2" in stub
    assert "from worldbus" not in code + stub
    assert "clients/gen/worldbus/test/v1/__init__.py" in tree
    assert '"worldbus.test.v1.Moved.speed": "Unset is not zero."' in tree["schemas/gen/docs.json"].decode()


def test_writing_brings_the_folder_in_step_and_says_what_changed(tmp_path: Path) -> None:
    layout = laid_out(tmp_path)
    assert write({"schemas/gen/a.py": b"1\n", "schemas/gen/b/c.py": b"2\n"}, layout) == [
        "missing: schemas/gen/a.py",
        "missing: schemas/gen/b/c.py",
    ]
    assert write({"schemas/gen/a.py": b"3\n"}, layout) == [
        "stale: schemas/gen/a.py",
        "    @@ -1 +1 @@",
        "    -1",
        "    +3",
        "left over: schemas/gen/b/c.py",
    ]
    assert write({"schemas/gen/a.py": b"3\n"}, layout) == []
    assert committed(layout) == {"schemas/gen/a.py": b"3\n"}


BROKEN = [
    ("package worldbus.test.v1", "package worldbus.other.v1", "package worldbus.other.v1 belongs into the folder worldbus/other/v1/"),
    ("package worldbus.test.v1", "package game.test", "wanted a package worldbus.<subsystem>.v<n>, found 'game.test'"),
    ("google/protobuf/timestamp.proto", "google/protobuf/descriptor.proto", "imports google/protobuf/descriptor.proto"),
    ("  // Where to.\n", "", "worldbus.test.v1.Moved.place: wanted a comment (meaning, unit, range), found none"),
    ("// It moved.\n", "", "worldbus.test.v1.Moved: wanted a comment (meaning, unit, range), found none"),
    ("at = 2", "at = 9", "worldbus.test.v1.Moved: declare the fields in the order of their numbers"),
    ("  // When.", "  // How.\n  enum How { RUN = 0; }\n  // When.", "the zero value says 'not set' and ends in _UNSPECIFIED, found RUN"),
]


@pytest.mark.parametrize(("old", "new", "line"), BROKEN, ids=[line[:40] for *_, line in BROKEN])
def test_sources_outside_the_house_rules_are_refused_by_name(root: Path, old: str, new: str, line: str) -> None:
    edit(root, old, new)
    if "package" in old:
        edit(root, old, new, "types.proto")
    if "timestamp" in old:
        edit(root, "google.protobuf.Timestamp", "google.protobuf.FileOptions")

    with pytest.raises(NotPortable) as caught:
        build(laid_out(root))

    assert any(line in problem for problem in caught.value.problems), caught.value.problems


def test_one_simple_name_in_two_subsystems_is_refused_but_two_versions_are_not(root: Path) -> None:
    for package in ("worldbus.test.v2", "worldbus.other.v1"):
        folder = root / package.replace(".", "/")
        folder.mkdir(parents=True)
        (folder / "types.proto").write_text(TYPES.replace("worldbus.test.v1", package))

    with pytest.raises(NotPortable) as caught:
        build(laid_out(root))

    assert caught.value.problems == (
        "worldbus.test.v1.Place: the simple name is taken by worldbus.other.v1.Place; simple names are unique over all packages",
        "worldbus.test.v2.Place: the simple name is taken by worldbus.other.v1.Place; simple names are unique over all packages",
    )


def test_the_compilers_own_words_reach_the_caller(root: Path) -> None:
    edit(root, "Place place", "Plaice place")

    with pytest.raises(SchemaError, match=r'worldbus/test/v1/test.proto:\d+:3: "Plaice" is not defined'):
        build(laid_out(root))
