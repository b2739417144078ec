"""Values built from a designer's table, checked against their own types: a title that is a number is found when the world is loaded."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def checked(value: T) -> T:
    """A dataclass, and all that it is made of, as it is; raises `ValueError` where a field does not hold what its type says."""
    try:
        msgspec.convert(msgspec.to_builtins(value), type(value))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    return value
