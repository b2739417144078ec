"""`worldbus kb search` and `kb reembed` on a data folder of its own, as people call them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import call, lines

LORE = """---
title: The Quay
audience: public
tags: quay
---

# Quay

Stones and weed.

## Silence

<!-- audience: faction:wardens -->

The Wardens pay for silence.
"""


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder with the lore in it."""
    folder = Path(tempfile.mkdtemp(prefix="wb-kb-"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (folder / "shelf").mkdir()
    (folder / "shelf" / "quay.md").write_text(LORE)
    call(folder / "data", "kb", "ingest", folder / "shelf", "--json")
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.mark.timeout(240)
def test_who_asks_decides_what_is_found_and_where_it_stands_is_said(data: Path) -> None:
    (anyone,) = lines(call(data, "kb", "search", "who pays for silence?", "--json"))
    (pell,) = lines(call(data, "kb", "search", "who pays for silence?", "--as", "warden-pell", "--json"))
    people = call(data, "kb", "search", "who pays for silence?", "--audience", "faction:wardens", "--most", "1")

    assert [hit["heading"] for hit in anyone["hits"]] == [["The Quay", "Quay"]]
    assert pell["hits"][0]["heading"] == ["The Quay", "Quay", "Silence"]
    assert pell["hits"][0]["ranks"] == {"text": 1, "vector": 1}
    assert "1. The Quay > Quay > Silence" in people.stdout
    assert "quay, lines 15-15" in people.stdout
    assert "hybrid with all-MiniLM-L6-v2" in people.stdout


@pytest.mark.timeout(240)
def test_what_cannot_be_asked_is_said_and_nothing_found_is_a_no(data: Path) -> None:
    past = call(data, "kb", "search", "silence", "--as-of", "1")
    blank = call(data, "kb", "search", " ")
    name = call(data, "kb", "search", "silence", "--as", "no such.name")

    assert (past.returncode, past.stdout.splitlines()[0]) == (1, "nothing found")
    assert (blank.returncode, name.returncode) == (2, 2)
    assert "Traceback" not in past.stderr + blank.stderr + name.stderr


@pytest.mark.timeout(240)
def test_another_model_and_back(data: Path) -> None:
    (looked,) = lines(call(data, "kb", "reembed", "--model", "hashing", "--no-switch", "--json"))
    (changed,) = lines(call(data, "kb", "reembed", "--model", "hashing", "--json"))
    (answer,) = lines(call(data, "kb", "search", "stones", "--json"))
    back = call(data, "kb", "reembed", "--model", "minilm", "--drop-old")
    models = json.loads(call(data, "sql", "SELECT model, state FROM embedding_models", "--json").stdout)

    assert (looked["embedded"], looked["switched"], changed["embedded"], changed["switched"]) == (2, False, 0, True)
    assert answer["model"] == "hashing-256"
    assert "searches use all-MiniLM-L6-v2 now, not hashing-256" in back.stdout
    assert models == [{"model": "all-MiniLM-L6-v2", "state": "serving"}]
