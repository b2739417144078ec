"""C# classes for Unity and Godot: the command of the page makes one class of every event, each in a file of its own namespace.

Compiling them is not tested: no .NET SDK is at hand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from schemas.generate import sources
from schemas.layout import OURS
from schemas.registry import all_events

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "unity-and-godot.md"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's command makes, in a folder with the sources beside it."""
    folder = tmp_path_factory.mktemp("csharp")
    (folder / "schemas").mkdir()
    shutil.copytree(OURS.proto, folder / "schemas" / "proto")
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    subprocess.run(["bash", "-euo", "pipefail", "-c", block[1]], cwd=folder, check=True)
    return folder / "Worldbus"


def _classes(root: Path) -> set[str]:
    """Full names of all classes: namespace, and name with what it is nested in."""
    found = set()
    for path in root.rglob("*.cs"):
        text = path.read_text(encoding="utf-8")
        (namespace,) = re.findall(r"^namespace ([\w.]+) \{", text, re.MULTILINE)
        found |= {
            f"{namespace}.{name}" for name in re.findall(r"^  public sealed partial class (\w+) : pb::IMessage<\1>", text, re.MULTILINE)
        }
    return found


def test_no_file_overwrites_another(generated: Path) -> None:
    assert len(list(generated.rglob("*.cs"))) == len(sources())


def test_every_event_has_a_class_under_the_name_that_the_page_gives_it(generated: Path) -> None:
    wanted = {".".join(part[:1].upper() + part[1:] for part in kind.DESCRIPTOR.full_name.split(".")) for kind in all_events()}

    assert wanted - _classes(generated) == set()
    assert "CloudNative.CloudEvents.V1.CloudEvent" in _classes(generated)


def test_the_names_of_generated_classes_in_the_pages_code_exist(generated: Path) -> None:
    named = set(re.findall(r"\bWorldbus(?:\.[A-Z]\w*)+\.V1\.[A-Z]\w+", PAGE.read_text(encoding="utf-8")))

    assert named
    assert named <= _classes(generated)
