"""JSON text, read strictly: one value per key, no NaN or infinity, nothing nested beyond 32, every text valid Unicode without NUL."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from math import isfinite
from typing import Any, Final, NoReturn

from bus.check import MAX_DEPTH
from bus.envelope import MAX_EVENT
from bus.errors import BadEvent, TooLarge

MAX_JSON: Final = 2 * MAX_EVENT  # bytes: text takes more room than protobuf
SHOWN: Final = 80  # characters of what was found that an error repeats
BOM: Final = b"\xef\xbb\xbf"
BLANK: Final = b" \t\r\n"
_LONGEST: Final = 400  # digits of a whole number: the largest double has 309
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = {91: 1, 123: 1, 93: -1, 125: -1}


def bad(code: str, path: str, message: str) -> NoReturn:
    """Raise a `BadEvent` about the value at `path`."""
    raise BadEvent(f"{path}: {message}", code=code, path=path)


def first(raw: bytes) -> bytes:
    """The first byte that says something: behind a byte order mark and white space."""
    return raw.removeprefix(BOM).lstrip(BLANK)[:1]


def parse(raw: bytes | str, limit: int = MAX_JSON) -> Any:
    """A JSON document of at most `limit` bytes; a byte order mark before it is passed over. Raises `BadEvent`."""
    if len(raw) > limit:
        raise TooLarge(f"JSON of {len(raw)} bytes, wanted at most {limit}: send a reference instead", limit=limit, found=len(raw))
    if not raw.strip():
        raise BadEvent("wanted a CloudEvent, found an empty body: an event needs at least id, type and data")
    text = _decode(raw).removeprefix("\ufeff")
    if _depth(text) > MAX_DEPTH:
        _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int)
    except json.JSONDecodeError as error:
        raise BadEvent(f"not valid JSON: {error.msg} at line {error.lineno} column {error.colno}", path="$") from error
    if "\\u" in text or isinstance(raw, str):  # nothing else brings NUL or half a surrogate pair past the parser
        _check_texts(value, "$")
    return value


def _decode(raw: bytes | str) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadEvent(f"JSON must be UTF-8, found byte 0x{raw[error.start]:02x} at {error.start}", code="BAD_UTF8", path="$") from error


def _depth(text: str) -> int:
    """An upper bound of its nesting, computed before json.loads, which recurses once per level."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0
    if "\\" in text:
        text = _STRINGS.sub("", text)
    marks = text.encode(errors="replace").translate(None, _NO_MARKS)
    outside = b"".join(marks.split(b'"')[::2])  # every other piece lies between quotes
    return max(accumulate(map(_STEPS.__getitem__, outside)), default=0)


def _check_depth(text: str) -> None:
    """Say where it is too deep."""
    depth = 0
    for mark in _MARKS.finditer(text):
        first = mark.group()[0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                bad("TOO_DEEP", "$", f"nests deeper than {MAX_DEPTH} levels, at character {mark.start()}")
        elif first in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                bad("DUPLICATE_KEY", key[:SHOWN], "is given twice in one object; which one counts?")
            seen.add(key)
    return found


def _constant(word: str) -> NoReturn:
    bad("NOT_FINITE", "$", f"{word} is no JSON number; leave the field out")


def _float(word: str) -> float:
    value = float(word)
    if not isfinite(value):
        bad("NOT_FINITE", "$", f"{word[:SHOWN]} is beyond the range of a double")
    return value


def _int(word: str) -> int:
    """A whole number of any field: a double takes 400 digits' worth of range, and a field of whole numbers says itself what fits it."""
    if len(word) > _LONGEST:
        bad("OUT_OF_RANGE", "$", f"{word[:24]}… with {len(word)} digits is beyond the range of a double")
    return int(word)


def _check_texts(value: Any, path: str) -> None:
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key, path)
            _check_texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_texts(inner, f"{path}[{index}]")


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        bad("BAD_TEXT", path, "must not contain NUL: Postgres cannot hold it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadEvent(f"{path}: lone surrogate U+{ord(text[error.start]):04X} is no character", code="BAD_UTF8", path=path) from error
