"""The answers to a writer, on disk before and after every publish, so that killing the writer loses none of it.

One JSON line each: a `try` before the event goes out, an outcome after. Lines are written with one `write` call; a killed process leaves at
most a torn last line, which nobody has been told about.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import msgspec

from bench.chaos.history import Claim, Kind, Outcome


class _Told(msgspec.Struct, omit_defaults=True):
    id: str
    kind: str
    position: int = 0
    code: str = ""
    at_s: float = 0.0
    claim: Claim | None = None  # of a try


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Told).decode


class Journal:
    """Append only."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if os.fstat(self._file).st_size:
            os.write(self._file, b"\n")  # a line torn by a kill ends here

    def trying(self, claim: Claim) -> None:
        """The event goes out now."""
        self._write(_Told(claim.id, "try", claim=claim))

    def told(self, id: str, kind: Kind, *, position: int = 0, code: str = "") -> None:
        """The publish has ended."""
        self._write(_Told(id, kind, position=position, code=code, at_s=time.monotonic()))

    def close(self) -> None:
        """No more is written."""
        os.close(self._file)

    def _write(self, line: _Told) -> None:
        os.write(self._file, _encode(line) + b"\n")


def read(path: Path) -> dict[str, Claim]:
    """The claims of one writer, by event id, in the order of their first try. None when there is no journal yet.

    A try without an outcome (the writer was killed) is the outcome "maybe", also when an earlier try of the same event had another one.
    """
    claims: dict[str, Claim] = {}
    under_way: set[str] = set()
    for line in _lines(path):
        if line.kind == "try" and line.claim is not None:
            known = claims.setdefault(line.id, line.claim)
            if line.id in under_way:
                claims[line.id] = known.told(Outcome("maybe"))
            under_way.add(line.id)
        elif line.id in claims:
            under_way.discard(line.id)
            claims[line.id] = claims[line.id].told(Outcome(cast(Kind, line.kind), line.position, line.code, line.at_s))
    return {name: claim.told(Outcome("maybe")) if name in under_way else claim for name, claim in claims.items()}


def _lines(path: Path) -> Iterable[_Told]:
    if not path.exists():
        return
    for raw in path.read_bytes().split(b"\n"):
        if raw:
            try:
                yield _decode(raw)
            except msgspec.DecodeError:
                continue  # torn by a kill
