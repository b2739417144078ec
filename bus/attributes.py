"""The attributes of an event: those that worldbus gives a meaning, and the extensions of other producers, which it keeps and gives back."""

from __future__ import annotations

import re
from typing import Any, Final

from bus.errors import BadEvent

Value = str | int | bool
Extensions = tuple[tuple[str, Value], ...]
"""(name, value), in the order of their names."""

SOURCE: Final = "/worldbus/"  # and the subsystem
TEXTS: Final = {
    "causationid": "cause",
    "correlationid": "correlation",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
    "producerversion": "producer_version",
    "origin": "origin",
    "lane": "lane",
}
"""Attributes of text, and the fields of a draft that hold them."""
TIMES: Final = {"time": "time_ns", "deadline": "deadline_ns"}
OURS: Final = frozenset({"subject", "world", "depth", *TEXTS, *TIMES})
CORE: Final = frozenset({"specversion", "id", "source", "type", "datacontenttype", "data"})
"""The attributes of CloudEvents itself, in places of its own."""
LOGGED: Final = frozenset({"position", "partition", "recorded"})
"""The attributes that the log once gave an event; publishing it again gives it new ones."""
URIS: Final = frozenset({"dataschema"})
"""Attributes that CloudEvents calls URIs and protobuf writes as such."""
TAKEN: Final = OURS | CORE | LOGGED | {"unreadable", "expected"}
"""No extension has these names. `unreadable` is what a reader says of an event that cannot be shown, `expected` a condition of a request,
which must not be recorded where nobody looks at it.
"""

MOST: Final = 32
MAX_BYTES: Final = 4096  # of all names and values of an event's extensions
MAX_STATE: Final = 512  # bytes of `tracestate` (W3C trace context)
MAX_ORIGIN: Final = 1024  # bytes of `origin`
NAME: Final = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_URI: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SHOWN: Final = 80  # characters of what was found


def check_name(name: str) -> str:
    """Return the name of an attribute; raises `BadEvent`."""
    if name.lower().startswith("nats"):
        raise BadEvent(f"{name[:_SHOWN]}: is a header of NATS itself; events do not set those", code="RESERVED_HEADER", field=name)
    if NAME.fullmatch(name) is None:
        raise BadEvent(f"{ascii(name)[:_SHOWN]}: is no attribute name: wanted 1-20 of a-z 0-9", code="BAD_HEADER", field=name)
    return name


def check_extensions(extensions: Extensions) -> None:
    """Refuse names and values that CloudEvents does not allow, more than 32 of them, and more than 4096 bytes in all."""
    if len(extensions) > MOST:
        raise BadEvent(f"wanted at most {MOST} extension attributes, found {len(extensions)}: put them into the data", code="TOO_LARGE")
    size, before = 0, ""
    for name, value in extensions:
        if check_name(name) in TAKEN or name <= before:
            raise BadEvent(f"{name}: cannot be an extension here: it has a meaning of its own, or comes out of order", code="BAD_ATTRIBUTE")
        size, before = size + len(name) + _size(name, value), name
    if size > MAX_BYTES:
        raise BadEvent(f"wanted at most {MAX_BYTES} bytes of extension attributes, found {size}: put them into the data", code="TOO_LARGE")


def _size(name: str, value: Any) -> int:
    if isinstance(value, str):
        if _CONTROL.search(value) is not None:
            shown = ascii(value)[:_SHOWN]
            raise BadEvent(f"{name}: must not contain control characters, found {shown}", code="BAD_TEXT", field=name)
        return len(value.encode())
    if not isinstance(value, int):
        found = type(value).__name__
        raise BadEvent(f"{name}: an attribute is text, a whole number or a boolean, found {found}", code="BAD_PAYLOAD", field=name)
    if not -(1 << 31) <= value < 1 << 31:
        raise BadEvent(f"{name}: must be a whole number of 32 bits, found {str(value)[:_SHOWN]}", code="OUT_OF_RANGE", field=name)
    return 4


def check_further(tracestate: str, origin: str, extensions: Extensions) -> None:
    """Hold the attributes that few events have to the rules."""
    check_state(tracestate)
    check_origin(origin)
    check_extensions(extensions)


def check_state(value: str) -> str:
    """Return a `tracestate`: printable ASCII, as W3C's trace context has it, at most 512 bytes."""
    if value and (len(value) > MAX_STATE or not value.isascii() or not value.isprintable()):
        raise BadEvent(
            f"tracestate must be at most {MAX_STATE} printable ASCII characters, found {ascii(value)[:80]}",
            code="BAD_TEXT" if len(value) <= MAX_STATE else "TOO_LARGE",
            field="tracestate",
        )
    return value


def check_origin(value: str, field: str = "origin") -> str:
    """Return a `source` as somebody else wrote it: a URI reference of at most 1024 bytes."""
    if value and (len(value) > MAX_ORIGIN or _URI.fullmatch(value) is None):
        raise BadEvent(
            f"{field} must be a URI reference of at most {MAX_ORIGIN} bytes, found {ascii(value)[:80]}",
            code="BAD_ATTRIBUTE" if len(value) <= MAX_ORIGIN else "TOO_LARGE",
            field=field,
        )
    return value
