"""Errors as HTTP answers: RFC 9457 problem documents that say what was wanted, what was found and what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bus.errors import (
    BadEvent,
    BadSubject,
    Conflict,
    IdReused,
    Misuse,
    Rejected,
    StorageFull,
    TooLarge,
    Transient,
    Unknown,
    WorldbusError,
)

CONTENT_TYPE: Final = "application/problem+json"
TITLES: Final = {
    400: "The request cannot be read",
    401: "No valid token",
    403: "The token does not allow it",
    404: "No such thing here",
    405: "Not with this method",
    408: "The request came too slowly",
    409: "In conflict with the log",
    411: "Length missing",
    413: "Too large",
    415: "Not a format that is understood",
    417: "Expectation not met",
    422: "Not a valid event",
    429: "Too many events",
    431: "Headers too large",
    500: "The gateway has a bug",
    503: "Not at the moment",
}
_PLAIN = (str, int, float, bool, type(None))


class Problem(WorldbusError):
    """An HTTP answer that is no success. `detail` reads `wanted …, found …: next step`; `more` are further members of the document."""

    code = "HTTP"

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
        events: int = 1,
        **more: Any,
    ) -> None:
        super().__init__(detail, **more)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.events = events
        """Number of the request's events that it keeps out of the log; one where nobody can say."""
        self.close = close
        """True if the connection ends with this answer: the rest of the request is not worth reading."""

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"urn:worldbus:problem:{self.code.lower().replace('_', '-')}",
            "title": TITLES.get(self.status, "Problem"),
            "status": self.status,
            "detail": str(self),
            "code": self.code,
            **self.facts,
        }

    def body(self) -> bytes:
        """The problem document."""
        return json.dumps(self.document(), ensure_ascii=False).encode(errors="replace")


def later(status: int, code: str, detail: str, after_s: float, **more: Any) -> Problem:
    """A problem that goes away by itself; `Retry-After` says when to come again, in whole seconds and at least one."""
    seconds = max(1, int(after_s + 0.999))
    return Problem(status, code, detail, headers={"Retry-After": str(seconds)}, retry_after=seconds, **more)


def problem_of(error: WorldbusError) -> Problem:
    """The problem that tells the sender of a request what an error of the bus means."""
    facts: dict[str, Any] = {
        key: value for key, value in error.facts.items() if isinstance(value, _PLAIN) and key not in ("status", "code", "detail", "type")
    }
    if "type" in error.facts:
        facts["event_type"] = str(error.facts["type"])
    match error:
        case Problem():
            return error
        case TooLarge():
            return Problem(413, error.code, str(error), **facts)
        case IdReused():
            return Problem(409, error.code, str(error), **facts)
        case BadEvent() | BadSubject() | Rejected():
            return Problem(422, error.code, str(error), **facts)
        case Conflict():
            return Problem(409, error.code, str(error), **facts)
        case StorageFull():
            return later(503, error.code, str(error), 30)
        case Unknown():
            return later(503, error.code, f"{error}; the same id again is safe, now and for ever", 1)
        case Transient():
            return later(503, error.code, str(error), 1)
        case Misuse():
            return later(503, error.code, f"the gateway cannot work here: {error}", 60)
        case _:
            return Problem(500, error.code, str(error))
