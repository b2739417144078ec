"""`worldbus kb ingest` on a data folder of its own, as people call it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import COMMAND, call, environment, lines

QUAY = "---\ntitle: The Quay\naudience: public\n---\n\n# Quay\n\nStones.\n\n## Steps\n\nWet.\n"
Kb = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder that these tests share: servers start and end with each command."""
    folder = Path(tempfile.mkdtemp(prefix="wb-kb-"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "quay.md").write_text(QUAY)
    (folder / "moor.md").write_text("---\naudience: storyteller\nsince: event:StoryArcBegun\n---\n\n# Moor\n\nFog.\n")
    return folder


@pytest.mark.timeout(240)
def test_the_life_of_a_folder(data: Path, shelf: Path) -> None:
    """Ingested, ingested again, edited, one file gone; a dry run says what would change and changes nothing."""
    (dry,) = lines(call(data, "kb", "ingest", shelf, "--world", "life", "--dry-run", "--json"))
    (first,) = lines(call(data, "kb", "ingest", shelf, "--world", "life", "--json"))
    (again,) = lines(call(data, "kb", "ingest", shelf, "--world", "life", "--json"))
    (shelf / "quay.md").write_text(QUAY.replace("Wet.", "Wet and cold."))
    (shelf / "moor.md").unlink()
    said = call(data, "kb", "ingest", shelf, "--world", "life")
    rows = call(data, "sql", "SELECT body FROM passages WHERE world = 'life' AND ended IS NULL ORDER BY number", "--json")

    assert [one["added"] for one in dry["changed"]] == [1, 2]
    assert (first["changed"], first["added"], first["shown"], first["collection"]) == (["moor", "quay"], 3, True, "shelf")
    assert "StoryArcBegan" in "".join(first["warnings"])
    assert (again["changed"], again["removed"], again["events"]) == ([], [], 0)
    assert "1 documents changed, 1 removed: 1 passages added, 2 retired" in said.stdout
    assert [row["body"] for row in json.loads(rows.stdout)] == ["Stones.", "Wet and cold."]


def test_faults_are_told_all_at_once_and_nothing_is_said(data: Path, shelf: Path) -> None:
    (shelf / "binary.md").write_bytes(b"\0\1\2")
    (shelf / "broken.md").write_text("---\naudiance: npc:pell\n---\nA.")
    done = call(data, "kb", "ingest", shelf, "--world", "faults")
    as_json = call(data, "kb", "ingest", shelf, "--world", "faults", "--json")
    events = call(data, "replay", "--world", "faults")

    assert done.returncode == as_json.returncode == 2
    assert "binary.md, line 1: wanted text, found a NUL character" in done.stderr
    assert "broken.md, line 2: front matter says 'audiance': did you mean audience?" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(as_json.stderr)["facts"] == {"problems": 2}
    assert events.stdout == ""


@pytest.mark.parametrize("path", ["nowhere", "picture.png"])
def test_what_is_no_document_is_said_before_any_server_starts(tmp_path: Path, path: str) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    done = subprocess.run(
        [*COMMAND, "kb", "ingest", str(tmp_path / path)], env=environment(tmp_path / "data"), text=True, capture_output=True, check=False
    )

    assert done.returncode == 2
    assert "wanted a document" in done.stderr
    assert not (tmp_path / "data").exists()
