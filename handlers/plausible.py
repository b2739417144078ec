"""Belief: bounds of the numbers in reports, per role, as a designer writes them (TOML)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from bus import toml
from handlers.permissions import ROLES
from schemas.registry import by_name, message_class

Fields = Mapping[str, int]  # field → the most that is believed
Bounds = Mapping[str, Mapping[str, Fields]]  # simple name of the type → role or `any` → fields, those of `any` among each role's
ANYBODY: Final = "any"
UNBOUNDED: Final[Bounds] = {}
_WHOLE: Final = frozenset({1, 2, 3, 4})  # cpp_type of whole numbers


def load(path: Path) -> Bounds:
    """The bounds in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Bounds:
    """The bounds in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    found = [
        f"{role}.{kind}.{field}: {problem}"
        for role, kinds in table.items()
        for kind, fields in _tables(kinds)
        for field, most in _tables(fields)
        if (problem := _problem(role, kind, field, most))
    ]
    root.refuse(found)
    return {kind: _by_role(table, kind) for kinds in table.values() for kind in kinds}


def _by_role(table: Mapping[str, Any], kind: str) -> Mapping[str, Fields]:
    every: Fields = table.get(ANYBODY, {}).get(kind, {})
    return {ANYBODY: every, **{role: {**every, **kinds[kind]} for role, kinds in table.items() if kind in kinds}}


def _tables(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else [("", value)]


def _problem(role: str, kind: str, field: str, most: Any) -> str:
    if role not in ROLES and role != ANYBODY:
        return f"wanted a source of {', '.join(sorted(ROLES))} or {ANYBODY}"
    if not kind or not field:
        return "wanted Type.field = the most that is believed"
    try:
        fields = message_class(by_name(kind)).DESCRIPTOR.fields_by_name
    except Exception as error:  # an unknown type, however the registry says so
        return str(error)
    if field not in fields:
        return f"{kind} has no such field, it has {', '.join(fields)}"
    if fields[field].cpp_type not in _WHOLE or fields[field].is_repeated:
        return f"wanted a field that is one whole number, found {kind}.{field}"
    return "" if isinstance(most, int) and not isinstance(most, bool) and most >= 0 else f"wanted 0 or more, found {most!r}"


def implausible(bounds: Bounds, role: str, message: Message) -> str:
    """The reason why a report cannot be true, in words; empty if it can."""
    kind = message.DESCRIPTOR.name
    by_role = bounds.get(kind)
    if by_role is None:
        return ""
    for field, most in by_role.get(role, by_role[ANYBODY]).items():
        value = getattr(message, field)
        if not 0 <= value <= most:
            return f"{field} of a {kind} by {role} must be 0 to {most}, found {value}: report it in parts if it is true"
    return ""
