"""The features of each version of an engine, as a designer writes them (TOML), read and checked: every problem is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token
from handlers.versions import VERSION_RULE, Version, parse

MATURITIES: Final = ("experimental", "beta", "production")
MAX_FEATURES: Final = 256  # per line

Numbers = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature of an engine. A preview counts as the release it leads to, so moments are numbers without a stage."""

    on: Mapping[str, Numbers]  # platform → first version there
    until: Numbers | None
    requirement: str
    maturity: tuple[tuple[Numbers, str], ...]  # from this version on, rising

    def since(self, platform: str) -> Numbers | None:
        """First version with the feature on `platform` (empty: on any); None if it never runs there."""
        return self.on.get(platform) if platform else min(self.on.values())

    def in_version(self, numbers: Numbers, platform: str) -> bool:
        """Return whether that version has the feature on that platform (empty: on any)."""
        since = self.since(platform)
        return since is not None and since <= numbers and (self.until is None or numbers < self.until)

    def maturity_in(self, numbers: Numbers) -> str:
        """The feature's maturity in that version."""
        return next((name for since, name in reversed(self.maturity) if since <= numbers), MATURITIES[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One engine: the versions there are, rising, and its features by name, sorted."""

    versions: tuple[Version, ...]
    features: Mapping[str, Feature]


Tables = Mapping[str, Line]


def load(path: Path) -> Tables:
    """The lines in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, lines)


def lines(table: Mapping[str, Any], name: str) -> Tables:
    """The lines in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("lines")
    found: list[str] = []
    known = {line: _line(line, body, found) for line, body in _table(root.get("lines"), "lines", found).items()}
    if not known:
        found.append("lines: wanted at least one line, found none")
    root.refuse(found)
    return known


def _table(value: object, where: str, found: list[str]) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    found.append(f"{where}: wanted a table, found {ascii(value)[:80]}")
    return {}


def _line(line: str, body: object, found: list[str]) -> Line:
    where = f"lines.{line}"
    if not is_token(line):
        found.append(f"{where}: a line's name must be {NAME_RULE}")
    table = _table(body, where, found)
    features = _table(table.get("features", {}), f"{where}.features", found)
    if len(features) > MAX_FEATURES:
        found.append(f"{where}: at most {MAX_FEATURES} features, found {len(features)}")
    written = table.get("versions", [])
    versions = [_version(text, found, f"{where}.versions") for text in (written if isinstance(written, list) else [written])]
    known = {name: _feature(feature, found, f"{where}.features.{name}") for name, feature in sorted(features.items())}
    found += [f"{where}.features.{name}: a feature's name must be {NAME_RULE}" for name in known if not is_token(name)]
    return Line(versions=tuple(sorted(set(filter(None, versions)))), features={name: it for name, it in known.items() if it is not None})


def _feature(body: object, found: list[str], where: str) -> Feature | None:
    table, before = _table(body, where, found), len(found)
    found += [f"{where}: no such setting {key!r}, there are on, until, requirement, maturity"
              for key in table if key not in ("on", "until", "requirement", "maturity")]  # fmt: skip
    platforms = _table(table.get("on"), f"{where}.on", found)
    if not platforms:
        found.append(f'{where}.on: wanted at least one platform with its first version, such as windows = "5.0"')
    on = {name: _numbers(text, found, f"{where}.on.{name}") for name, text in platforms.items()}
    until = _numbers(table["until"], found, f"{where}.until") if "until" in table else None
    if until is not None:
        found += [f"{where}: until must be above {name} = {text}" for name, text in platforms.items() if until <= on[name]]
    stages = _table(table.get("maturity", {}), f"{where}.maturity", found)
    found += [f"{where}.maturity: {name} is none of {', '.join(MATURITIES)}" for name in stages if name not in MATURITIES]
    maturity = sorted((_numbers(text, found, f"{where}.maturity.{name}"), name) for name, text in stages.items())
    if [name for _, name in maturity] != [name for name in MATURITIES if name in stages]:
        found.append(f"{where}.maturity: must rise from {' to '.join(MATURITIES)}, found {dict(stages)}")
    requirement = table.get("requirement", "")
    if not isinstance(requirement, str):
        found.append(f"{where}.requirement: wanted a text, found {ascii(requirement)[:80]}")
    if len(found) > before:
        return None
    return Feature(on=on, until=until, requirement=requirement, maturity=tuple(maturity))


def _version(text: object, found: list[str], where: str) -> Version | None:
    version = parse(text) if isinstance(text, str) else None
    if version is None:
        found.append(f"{where}: a version is {VERSION_RULE}, in quotes; found {ascii(text)[:80]}")
    return version


def _numbers(text: object, found: list[str], where: str) -> Numbers:
    version = _version(text, found, where)
    return version.numbers if version else (0, 0, 0, 0)
