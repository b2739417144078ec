"""Pages of other origins: which of them may read the gateway's answers (the CORS protocol of the Fetch standard).

An origin is named in full by the operator. There is no wildcard: a token would then be safe in no page. Cookies are not used, so
`Access-Control-Allow-Credentials` is never sent. This keeps scripts of other sites from reading answers; what keeps callers out is the
token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from bus.errors import BadSettings
from worldbus.gateway.problem import Problem

MAX_AGE_S: Final = 3600  # that a browser may remember the answer to a preflight
MOST_HEADERS: Final = 64
EXPOSED: Final = "Idempotent-Replayed, Retry-After, WWW-Authenticate, Allow"
USUAL: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_WORD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)  # a token of RFC 9110
_USUAL_PORTS: Final = {"http": "80", "https": "443"}


class Cors:
    """The origins that were named. Raises `BadSettings` for what is none."""

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self.origins = frozenset(_origin(one) for one in origins)
        self.blind = self.headers(next(iter(self.origins)) if len(self.origins) == 1 else None)
        """Headers of an answer to what was not read far enough to know its origin."""

    def headers(self, origin: str | None) -> dict[str, str]:
        """Headers of every answer to a request of this origin. Caches are told that they depend on it, also where it is not named."""
        if not self.origins:
            return {}
        if origin not in self.origins:
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}

    def preflight(self, request: web.BaseRequest) -> web.Response:
        """The answer to `OPTIONS`: any path, method and header, so that a page can read why its request was refused. Raises `Problem`."""
        origin = request.headers.get("Origin")
        if origin not in self.origins:
            detail = (
                f"wanted an origin that the gateway was started with (--cors), found {ascii(origin)[:200]}: name it too, if it is yours"
            )
            raise Problem(403, "ORIGIN_NOT_ALLOWED", detail)
        method = request.headers.get("Access-Control-Request-Method", "")
        wanted = [one.strip() for one in request.headers.get("Access-Control-Request-Headers", "").split(",")]
        named = [one for one in wanted if _WORD.fullmatch(one)][:MOST_HEADERS]
        headers = {
            **self.headers(origin),
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            "Access-Control-Allow-Methods": ", ".join(
                dict.fromkeys(["GET", "HEAD", "POST", *([method] if _WORD.fullmatch(method) else [])])
            ),
            "Access-Control-Allow-Headers": ", ".join(named) or USUAL,
            "Access-Control-Max-Age": str(MAX_AGE_S),
        }
        return web.Response(status=204, headers=headers)


def _origin(text: str) -> str:
    """An origin as browsers write it: in lower case, without the port that its scheme implies."""
    found = _ORIGIN.fullmatch(text.strip().lower())
    if found is None or (found[3] and not 0 < int(found[3]) < 65536):
        raise BadSettings(
            f"--cors: wanted one origin in full, like https://play.example.com or http://localhost:8000, without a path and without "
            f"wildcards, found {ascii(text)[:200]}: whoever may hold a token is named"
        )
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _USUAL_PORTS.get(scheme) else "")
