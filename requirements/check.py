"""Fails when a lock no longer follows from pyproject.toml: a requirement without a pin, a pin outside its range, or a pin without a hash.

Reads files only, so it answers the same with and without a network, today and after the next upload to the index.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
APART = ("embedder-check", "vllm", "vllm-cuda")  # environments of their own: of our versions they share only what a worker runs
ALONE = ("litellm", "evennia", "contracts")  # nothing of ours is in it, or only the client without asyncio
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def pins(lock: Path) -> tuple[dict[str, str], list[str]]:
    """The versions a lock pins, and its own faults."""
    found: dict[str, str] = {}
    faults: list[str] = []
    for entry in re.split(r"\n(?=\S)", lock.read_text()):
        pin = PIN.match(entry)
        if pin is None:
            faults.append(f"{lock.name}: wanted 'name==version', found {entry.splitlines()[0]!r}")
            continue
        found[canonicalize_name(pin["name"])] = pin["version"]
        if "--hash=sha256:" not in entry:
            faults.append(f"{lock.name}: {pin['name']} has no hash")
    return found, faults


def missing(lock: str, wanted: list[str], pinned: dict[str, str]) -> list[str]:
    """Requirements that the pins do not meet."""
    faults = []
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            faults.append(f"{lock}: wanted {requirement}, found {version or 'no pin'}")
    return faults


def wishes(name: str) -> list[str]:
    """The lines of a .in file."""
    return [line for line in (HERE / f"{name}.in").read_text().splitlines() if line and not line.startswith("#")]


def asked(project: dict[str, Any], *extras: str) -> list[str]:
    """The requirements of the project with these extras, and with those that they name in turn."""
    found: list[str] = list(project["dependencies"])
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            requirement = Requirement(line)
            found += asked(project, *requirement.extras) if requirement.name == project["name"] else [line]
    return found


def faults() -> list[str]:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    locks = {"build": wishes("build"), "embedder": wishes("embedder"), "base": asked(project), "all": asked(project, "all")}
    locks |= {"dev": asked(project, "dev")}
    locks |= {extra: asked(project, "dev", extra) for extra in ("bench", "documents", "browser")}
    locks |= {name: asked(project, "all") + wishes(name) for name in APART}
    locks |= {name: wishes(name) for name in ALONE}
    shared, _ = pins(HERE / "all.txt")
    problems: list[str] = []
    versions: dict[str, dict[str, set[str]]] = {}
    for name, wanted in locks.items():
        pinned, own = pins(HERE / f"{name}.txt")
        problems += own + missing(f"{name}.txt", wanted, pinned)
        for package, version in pinned.items():
            if name in ALONE or (name in APART and package not in shared):
                continue
            versions.setdefault(package, {}).setdefault(version, set()).add(name)
    for package, by_version in versions.items():
        if len(by_version) > 1:
            problems.append(f"{package}: one version wanted in all locks, found {', '.join(sorted(by_version))}")
    return problems


def main() -> int:
    problems = faults()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        sys.stderr.write("run 'make lock' and commit the result\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
