"""The how-to works as it stands: its three files are written into a copy of the code, generated, and tested there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "write-a-handler.md"
FILES = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_a_new_subsystem_takes_one_proto_one_file_one_test(tmp_path: Path) -> None:
    for package in ("bus", "handlers", "schemas", "worlds"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = dict(FILES.findall(PAGE.read_text()))
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    generated = _python(tmp_path, "-m", "schemas.generate")
    linted = _python(tmp_path, "-m", "ruff", "check", *(path for path in files if path.endswith(".py")))
    tested = _python(tmp_path, "-m", "pytest", "-q", *(path for path in files if "/test_" in path))

    assert sorted(Path(path).suffix for path in files) == [".proto", ".py", ".py"]
    assert generated.returncode == 0, generated.stderr
    assert linted.returncode == 0, linted.stdout
    assert tested.returncode == 0, tested.stdout
    assert "6 passed" in tested.stdout


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
