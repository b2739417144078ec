"""The AsyncAPI document and the .proto files, held to the tools of those who made the formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.clients.contracts.conftest import ROOT, TOOLS, run


async def test_the_official_parser_has_nothing_to_say_about_the_asyncapi_document(workshop: Path) -> None:
    path = ROOT / "docs" / "reference" / "asyncapi.yaml"
    found = json.loads(await run("node", "asyncapi.mjs", path, cwd=workshop))

    assert (found["said"], found["version"]) == ([], "3.1.0")
    assert set(found["messages"]) == set(yaml.safe_load(path.read_text())["components"]["messages"])


@pytest.mark.parametrize("folder", [".", "schemas/proto"])
async def test_buf_finds_nothing_wrong_with_the_schemas(folder: str) -> None:
    assert await run(TOOLS / ".bin" / "buf", "lint", cwd=ROOT / folder) == ""
