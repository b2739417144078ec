"""Importing any module of the library or of the sample game reads no content: a broken table stops only who plays by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from importlib import import_module
from pathlib import Path

opened = []

def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, Path)):
        opened.append(str(arguments[0]))

names = [
    ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    for package in ("bus", "handlers", "projections", "worlds")
    for path in sorted(Path(package).rglob("*.py"))
] + ["worldbus.game", "worldbus.games", "worldbus.standard", "worldbus.standard.projections", "worldbus.testing", "worldbus.pytest_plugin"]
sys.addaudithook(hear)
for name in names:
    import_module(name)
ours = [Path(one).absolute() for one in opened if not one.endswith((".py", ".pyc", ".so")) and "site-packages" not in one]
opened_by_us = [str(one) for one in ours if one.is_relative_to(Path.cwd())]
Path("worlds/duskmarket/weather.toml").read_text()
print(json.dumps({"modules": len(names), "files": opened_by_us, "heard": opened[-1]}))
"""


def test_no_import_opens_a_file_but_modules() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, capture_output=True, check=True)
    found = json.loads(done.stdout)

    assert found["files"] == []
    assert found["heard"].endswith("weather.toml"), "a hook that hears nothing proves nothing"
    assert found["modules"] > 200
