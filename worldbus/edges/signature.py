"""The signature of a payment provider's webhooks, by Stripe's documented scheme.

`Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…]`, each v1 the HMAC-SHA256 of `<t>.<body>` under a signing secret. Other schemes in
the header are passed over, so none of them can weaken it. Several secrets may be in force while they are rolled.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from bus.errors import Rejected

TOLERANCE_S: Final = 300  # seconds that a signature stays good, either way
MAX_HEADER: Final = 4096  # characters
_MOMENT: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadSignature(Rejected):
    """The webhook was not signed by the provider, or not lately. Nothing of it was read."""

    code = "BAD_SIGNATURE"


def sign(body: bytes, secret: str, at_s: int) -> str:
    """The signature header of `body`, as the provider makes it; for tests and for tools that replay webhooks."""
    return f"t={at_s},v1={_mac(body, secret, str(at_s))}"


def _mac(body: bytes, secret: str, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, sha256).hexdigest()


def verify(body: bytes, header: str, secrets: Sequence[str], now_s: float, *, tolerance_s: int = TOLERANCE_S) -> None:
    """Return if one of the header's signatures is right for `body` and was made within `tolerance_s` of now.

    Raises `BadSignature`. Compares in constant time, and every pair of signature and secret, so time tells nothing.
    """
    moment, found = _parse(header)
    good = [hmac.compare_digest(_mac(body, secret, moment), one) for secret in secrets for one in found]
    if not any(good):
        raise BadSignature(
            f"none of {len(found)} v1 signatures fits the body: is this endpoint's signing secret set, and the body passed on unchanged?"
        )
    age = now_s - int(moment)
    if abs(age) > tolerance_s:
        raise BadSignature(f"signed {age:.0f} s ago, wanted at most {tolerance_s} s either way: a replay, or a clock that is wrong")


def _parse(header: str) -> tuple[str, list[str]]:
    """The moment and the v1 signatures of a header; raises `BadSignature`."""
    if len(header) > MAX_HEADER:
        raise BadSignature(f"the signature header may have {MAX_HEADER} characters, found {len(header)}")
    pairs = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for key, _, value in pairs if key == "t"]
    found = [value for key, _, value in pairs if key == "v1" and _HEX.fullmatch(value)]
    if len(moments) != 1 or _MOMENT.fullmatch(moments[0]) is None or not found:
        raise BadSignature(f"wanted a header like t=1700000000,v1=<64 hex digits>, found {ascii(header)[:80]}")
    return moments[0], found
