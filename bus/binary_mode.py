"""CloudEvents in binary mode: attributes as `ce-` headers, the body is the data. For NATS (binding 1.0.2) and HTTP (binding 1.0.2) alike.

On NATS the header lines are part of the event, so they are kept with it. What the server or a client adds for its own use is not: the lines
that are kept are the same whichever way a message comes, and for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from bus.check import check_time
from bus.envelope import decode
from bus.errors import BadEvent
from bus.moments import format_time

PREFIX: Final = "ce-"
TELLING: Final = frozenset({"ce-type", "ce-specversion", "ce-id", "ce-source"})
"""Headers that tell binary mode."""
RECORDED: Final = "ce-recorded"
"""The header for the moment at which the log first took the event: written by a restore, for events without a time of their own."""
STRUCTURED: Final = "application/cloudevents"
_CONTENT_TYPE: Final = "content-type"
_MARK: Final = re.compile(rb"(?:^|\n)[cC][eE]-")
_VERSION: Final = b"NATS/1.0"
_ESCAPED: Final = re.compile(r"\\(.)")


def kept(block: bytes, raw: bytes) -> bytes | None:
    """The lines of a header block that belong to the event, each with its line end; None if there are none."""
    if _MARK.search(block) is None:
        return None
    if _whole(raw):
        return None
    lines = _lines(block)
    if not _binary(lines):
        lines = [line for line in lines if line[0] == RECORDED]
    return b"".join(line for _, _, line in lines) or None


def headers(block: bytes | None) -> list[tuple[str, str]] | None:
    """The headers of a message in binary mode that belong to the event; None for any other message."""
    if block is None or _MARK.search(block) is None:
        return None
    lines = _lines(block)
    return [(name, value) for name, value, _ in lines] if _binary(lines) else None


def recorded(block: bytes | None) -> str:
    """The time at which the log first took the event, if a restore has written that down."""
    if block is None or _MARK.search(block) is None:
        return ""
    return next((value for name, value, _ in _lines(block) if name == RECORDED), "")


def without_recorded(lines: bytes | None) -> bytes:
    """Kept lines but the one that a restore has added."""
    return b"" if lines is None else b"".join(line for name, _, line in _lines(lines) if name != RECORDED)


def restored(raw: bytes, lines: bytes | None, recorded_ns: int) -> bytes:
    """The header lines of an event in a restored log: the kept ones, and when the old log took it if it has no other time."""
    lines = lines or b""
    names = {name for name, _, _ in _lines(lines)}
    if RECORDED in names or f"{PREFIX}time" in names or _whole(raw):
        return lines
    moment = check_time(recorded_ns // 1000 * 1000, RECORDED)
    return lines + f"{RECORDED}: {format_time(moment)}\r\n".encode()


def attributes(found: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Attributes as JSON would say them, from headers; `datacontenttype` is that of the body. Raises `BadEvent`."""
    given: dict[str, Any] = {}
    seen: set[str] = set()
    content_type = ""
    for header, value in found:
        name = header.lower()
        if name in seen:
            raise BadEvent(f"header {name[:80]} is given twice; which one counts?", code="DUPLICATE_KEY", field=name)
        if name == _CONTENT_TYPE:
            content_type = value
        elif name.startswith(PREFIX):
            given[name.removeprefix(PREFIX)] = _text(name, value)
        else:
            continue
        seen.add(name)
    if "data" in given or "data_base64" in given:
        raise BadEvent("ce-data is no attribute: in binary mode the body is the data", code="UNKNOWN_ATTRIBUTE")
    if "depth" in given:
        given["depth"] = _number(given["depth"])
    given.setdefault("datacontenttype", content_type)
    return given


def _lines(block: bytes) -> list[tuple[str, str, bytes]]:
    """(lower-case name, value, line) of the headers that may be part of an event."""
    found = []
    for line in block.split(b"\r\n"):
        head, colon, value = line.partition(b":")
        name = head.strip().decode("ascii", "replace").lower()
        if colon and line != _VERSION and (name.startswith(PREFIX) or name == _CONTENT_TYPE):
            found.append((name, value.strip().decode("utf-8", "surrogateescape"), line + b"\r\n"))
    return found


def _binary(lines: list[tuple[str, str, bytes]]) -> bool:
    """Return whether headers tell binary mode, and no content type says that the body is the whole event."""
    structured = any(name == _CONTENT_TYPE and value.lower().startswith(STRUCTURED) for name, value, _ in lines)
    return not structured and any(name in TELLING for name, _, _ in lines)


def _whole(raw: bytes) -> bool:
    """Return whether the body is a protobuf CloudEvent by itself: then the headers only repeat it."""
    if raw[:1] == b"{":
        return False
    try:
        decode(raw)
    except BadEvent:
        return False
    return True


def _text(name: str, value: str) -> str:
    """A header's value: unquoted, then percent-decoded once; what is not UTF-8 then is refused."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError as error:
        raise BadEvent(f"header {name[:80]} is not UTF-8 once it is percent-decoded", code="BAD_UTF8", field=name) from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise BadEvent(f"ce-depth must be a whole number, found {ascii(text)[:40]}", code="OUT_OF_RANGE", field="depth")
    return int(text)
