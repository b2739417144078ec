"""`worldbus proto` in the repository of a game: code, recorded examples and promises of that repository, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import spaceport
from worldbus.cli.app import app
from worldbus.cli.names import events, handlers, projections

GENERATED = {
    "spaceport/gen/__init__.py",
    "spaceport/gen/docs.json",
    "spaceport/gen/spaceport/__init__.py",
    "spaceport/gen/spaceport/docking/__init__.py",
    "spaceport/gen/spaceport/docking/v1/__init__.py",
    *(f"spaceport/gen/spaceport/docking/v1/{name}_pb2.{ending}" for name in ("docking", "types") for ending in ("py", "pyi")),
}
KEPT = {"proto/corpus/spaceport.docking.v1.jsonl", "proto/released.txt"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(spaceport.write(tmp_path))
    return tmp_path


def proto(*words: str) -> Result:
    return CliRunner().invoke(app, ["proto", *words])


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_code_examples_and_promises_and_then_has_nothing_to_do(repository: Path) -> None:
    before = files(repository)

    first = proto()
    written = {path: (repository / path).read_bytes() for path in files(repository)}
    second = proto()

    assert (first.exit_code, second.exit_code) == (0, 0), (first.output, second.output)
    assert written.keys() - before == GENERATED | KEPT
    assert "2 sources, 9 generated files, 9 changed" in first.output
    assert "2 sources, 9 generated files, 0 changed" in second.output
    assert {path: (repository / path).read_bytes() for path in files(repository)} == written
    code = written["spaceport/gen/spaceport/docking/v1/docking_pb2.py"].decode()
    assert "from spaceport.gen.spaceport.docking.v1 import types_pb2" in code
    assert "from schemas.gen.worldbus.time.v1 import types_pb2" in code
    assert "from google.protobuf import timestamp_pb2" in code
    assert "'spaceport.gen.spaceport.docking.v1.docking_pb2'" in code
    assert "worldbus." not in written["proto/released.txt"].decode().replace("worldbus.time.v1.WorldTime", ""), "ours are ours to keep"


def test_check_is_content_with_what_was_just_written_and_changes_nothing(repository: Path) -> None:
    assert proto("--check").exit_code == 1
    assert not (repository / "spaceport" / "gen").exists()
    proto()
    before = {path: (repository / path).read_bytes() for path in files(repository)}

    found = proto("--check")

    assert found.exit_code == 0, found.output
    assert {path: (repository / path).read_bytes() for path in files(repository)} == before


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        pytest.param(
            lambda at: spaceport.edit(at, "string reason = 1;", "string reason = 1;\n  // Code.\n  string code = 2;"),
            "stale: spaceport/gen/spaceport/docking/v1/docking_pb2.py",
            id="a field that was not generated",
        ),
        pytest.param(
            lambda at: (at / "spaceport/gen/spaceport/docking/v1/docking_pb2.pyi").unlink(),
            "missing: spaceport/gen/spaceport/docking/v1/docking_pb2.pyi",
            id="a stub that is gone",
        ),
        pytest.param(
            lambda at: (at / "proto/corpus/spaceport.docking.v1.jsonl").unlink(),
            "the first 3 lines changed",
            id="recorded events that are gone",
        ),
        pytest.param(
            lambda at: (at / "proto/released.txt").unlink() or (at / "proto/corpus/spaceport.docking.v1.jsonl").unlink(),
            "wanted a recorded example of every field, found none for:",
            id="no recorded events at all",
        ),
        pytest.param(
            lambda at: spaceport.edit(at, "int32 length_m = 1;", "int64 length_m = 1;"),
            "spaceport.docking.v1.DockingRequested.length_m (number 1): the type changed from int32 to int64",
            id="another type",
        ),
    ],
)
def test_check_says_what_is_not_in_step(repository: Path, break_it: object, words: str) -> None:
    assert proto().exit_code == 0

    break_it(repository)  # type: ignore[operator]
    found = proto("--check")

    assert found.exit_code == 1
    assert words in str(found.exception)


def test_a_change_that_breaks_recorded_events_is_refused_before_anything_is_written(repository: Path) -> None:
    proto()
    spaceport.edit(repository, "int32 length_m = 1;", "string length_m = 1;")
    before = {path: (repository / path).read_bytes() for path in files(repository)}

    found = proto()

    assert found.exit_code == 1
    assert "these changes break events that are already recorded" in str(found.exception)
    assert {path: (repository / path).read_bytes() for path in files(repository)} == before
    taken = proto("--before-first-release")
    assert taken.exit_code == 0, taken.exception
    assert proto("--check").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("message DockingRefused", "message WeatherChanged", "the simple name is taken by worldbus.weather.v1.WeatherChanged"),
        (
            "package spaceport.docking.v1;",
            "package docking;",
            "wanted a package <game>.<subsystem>.v<n> of your own, in a-z 0-9 _, found 'docking'",
        ),
        ("package spaceport.docking.v1;", "package spaceport.import.v1;", "import in spaceport.import.v1 is a word of Python"),
        ("google/protobuf/timestamp.proto", "google/protobuf/descriptor.proto", "imports google/protobuf/descriptor.proto"),
        ("int32 length_m", "Length length_m", '"Length" is not defined'),
    ],
)
def test_sources_against_the_rules_are_refused_and_nothing_is_written(repository: Path, old: str, new: str, words: str) -> None:
    before = files(repository)
    spaceport.edit(repository, old, new)
    if "package" in old:
        spaceport.edit(repository, old, new, "proto/spaceport/docking/v1/types.proto")
    if "timestamp" in old:
        spaceport.edit(repository, "google.protobuf.Timestamp", "google.protobuf.FileOptions")

    found = proto()

    assert found.exit_code == 1
    assert words in str(found.exception)
    assert files(repository) == before


@pytest.mark.parametrize("path", ["proto/corpus/spaceport.docking.v1.jsonl", "proto/released.txt"])
def test_what_a_merge_left_behind_is_named_by_file_and_line(repository: Path, path: str) -> None:
    proto()
    lines = (repository / path).read_text().splitlines()
    (repository / path).write_text("\n".join([lines[0], "<<<<<<< HEAD", *lines[1:]]))

    found = proto()

    assert found.exit_code == 1
    assert f"{Path(path).name}:2: wanted" in str(found.exception)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('game = "spaceport:game"', "wanted the folders of a game's events in a pyproject.toml in or above"),
        ('proto = "proto"', "wanted a folder as `gen` in [tool.worldbus], found None"),
        ('proto = "protos"\ngen = "gen"', "found no such folder"),
        ('proto = "proto"\ngen = "spaceport"', "wanted generated code alone"),
        ('proto = "proto"\ngen = "."', "wanted a folder for generated code alone, found gen = '.'"),
        ('proto = "proto"\ngen = "../elsewhere"', "wanted a folder inside"),
        ('proto = "proto"\ngen = "space-port/gen"', "wanted a folder that Python can import"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(repository: Path, table: str, words: str) -> None:
    (repository / "pyproject.toml").write_text(f"[tool.worldbus]\n{table}\n")

    found = proto()

    assert words in str(found.exception)
    assert (repository / "spaceport" / "__init__.py").read_text(), "nobody's code was written over"


def test_a_package_below_src_is_named_without_it(repository: Path) -> None:
    (repository / "pyproject.toml").write_text('[tool.worldbus]\nproto = "proto"\ngen = "src/spaceport/gen"\n')

    assert proto().exit_code == 0

    code = (repository / "src/spaceport/gen/spaceport/docking/v1/docking_pb2.py").read_text()
    assert "from spaceport.gen.spaceport.docking.v1 import types_pb2" in code


def test_the_tab_key_knows_the_names_of_the_game_in_this_folder(repository: Path) -> None:
    assert {"DockingRequested", "BerthAssigned", "PlayerJoined"} <= set(events())
    assert "Berth" not in events()
    assert {"docking", "weather"} <= set(handlers())
    assert {"berths", "weather"} <= set(projections())
