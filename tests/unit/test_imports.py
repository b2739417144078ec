"""Imports point one way: the tree tells the life of an event, and nobody reaches back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds"}
HANDLERS = {"schemas", "bus.handler", "bus.event", "bus.errors", "bus.toml"}
OWN = {"worlds.duskmarket.broker", "worlds.duskmarket.content"}
# What a package may import of ours, as prefixes. Itself is always allowed; only worldbus may import them all.
ALLOWED = {
    "schemas": set(),
    "bus": {"schemas"},
    "handlers": HANDLERS,
    "inference": {"schemas", "bus"},
    "migrations": {"bus.errors"},
    "projections": {"schemas", "bus", "migrations"},
    "worldbus": OURS - {"worlds"},  # a game is named where a process starts, and imported by that name
    "worlds": OURS,
    **{own: {*HANDLERS, "handlers", *OWN} for own in ("worlds.duskmarket.broker", "worlds.duskmarket.market")},  # the same for a game's own
}


def _imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Everything that the source of a module in `package` imports, with the line; `from a import b` counts as `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [node.module]))) if node.level else node.module or ""
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _within(module: str, allowed: set[str]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    allowed = ALLOWED[package] | {package}
    offences = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file in sorted(ROOT.joinpath(*package.split(".")).rglob("*.py"))
        for line, module in _imports(file.read_text(), file.relative_to(ROOT).parts[:-1])
        if module.partition(".")[0] in OURS and not _within(module, allowed)
    ]

    assert offences == []


def test_every_package_of_ours_is_ruled() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}

    assert packages <= set(ALLOWED), "a new package needs its place in the order of imports"


def test_the_walk_sees_late_and_relative_imports() -> None:
    """A walk that finds nothing proves nothing."""
    source = "def late():\n    from bus import publish\n    from ..bus.log import Log\n    import worldbus.cli\n"

    assert [(2, "bus.publish"), (3, "bus.log.Log"), (4, "worldbus.cli")] == list(_imports(source, ("handlers",)))
