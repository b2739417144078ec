"""Errors of schemas.

    SchemaError
    ├── UnknownMessage      no message of that name is generated (also a KeyError)
    ├── BadPackage          a game's package cannot be added to the registry
    ├── NotPortable         a .proto uses what the second codec or the log cannot carry
    ├── ToolMissing         the protobuf compiler or one of its plugins is not installed
    ├── BadUpcast           an upcaster is missing, doubled, in a ring, or returned something else than it promised
    ├── BadCorpus           a recorded event no longer decodes to what was recorded
    ├── BrokenPromise       a change would make recorded events unreadable
    └── Behind              generated code or recorded examples are not those of the sources

Every message says what was wanted, what was found and the next step.
"""

from __future__ import annotations


class SchemaError(Exception):
    """Base of every error that `schemas` raises on purpose."""


class UnknownMessage(SchemaError, KeyError):
    """No generated message of that name. `name` is what was asked for, `suggestions` the nearest names that exist."""

    def __init__(self, name: str, suggestions: tuple[str, ...] = ()) -> None:
        hint = f": did you mean {' or '.join(suggestions)}?" if suggestions else ""
        super().__init__(f"wanted a known event type, found {name!r}{hint}")
        self.name = name
        self.suggestions = suggestions

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0])


class BadPackage(SchemaError):
    """A package of events that cannot be known here: no such module, no event in it, or a name that is taken."""


class NotPortable(SchemaError):
    """A .proto source breaks the house rules. `problems` lists all of them."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("the .proto sources break the rules of docs/reference/schemas.md:\n" + "\n".join(f"  {line}" for line in problems))
        self.problems = problems


class ToolMissing(SchemaError):
    """The compiler cannot run here."""


class BadUpcast(SchemaError):
    """The upcasters do not form a path from an old type to a current one."""


class BadCorpus(SchemaError):
    """A recorded event and today's code disagree."""


class BrokenPromise(SchemaError):
    """The .proto sources no longer keep what was released."""


class Behind(SchemaError):
    """Files on disk that do not follow from the .proto sources."""
