"""Versions of engines and capabilities: read however they are written, and compared as people mean it.

    parse("5.10") > parse("5.9")          parse("5.6.0-preview-2") < parse("5.6.0-rc1") < parse("5.6")
    str(parse("v5.4.0")) == "5.4.0"       parse("5.4") == parse("5.4.0")

Numbers are compared as numbers. What comes before a release stands below it: dev < alpha < beta < preview < rc < release. Build data
(`+...`, or a changelist as in `4.27.2-18319896+++UE4+Release-4.27`) says where a version was built, not which it is, and is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

MAX_LENGTH: Final = 64  # characters
VERSION_RULE: Final = (
    "numbers with dots, such as 5.6 or 5.6.1, and maybe dev, alpha, beta, preview or rc with a number, such as 5.6-preview.2"
)

_STAGES: Final = {"dev": 0, "nightly": 0, "alpha": 1, "a": 1, "ea": 1, "beta": 2, "b": 2, "preview": 3, "pre": 3, "p": 3, "rc": 4, "c": 4}
_NAMES: Final = ("dev", "alpha", "beta", "preview", "rc")
_RELEASE: Final = len(_NAMES)
_RELEASES: Final = ("release", "final", "ga")
_CHANGELIST: Final = re.compile(r"-\d{6,}$")
_VERSION: Final = re.compile(
    r"v?(?P<numbers>\d{1,9}(?:\.\d{1,9}){0,3})"
    r"(?:[-_. ]?(?P<stage>[a-z]+)(?:[-_. ]?(?P<stage_number>\d{1,9}))?)?",
    re.ASCII | re.IGNORECASE,
)


class Version(NamedTuple):
    """A version; equal and ordered by what it means. `stage` counts what comes before a release, in order, and then the release itself."""

    numbers: tuple[int, int, int, int]
    stage: int = _RELEASE
    stage_number: int = 0

    @property
    def is_release(self) -> bool:
        """True for a release, false for a preview of any kind."""
        return self.stage == _RELEASE

    @property
    def channel(self) -> str:
        """`release` or `preview`."""
        return "release" if self.is_release else "preview"

    def __str__(self) -> str:
        """The normal form: three numbers (a fourth if it is not 0), and what stands before the release: `5.6.0-preview.2`."""
        text = ".".join(map(str, self.numbers if self.numbers[3] else self.numbers[:3]))
        return text if self.is_release else f"{text}-{_NAMES[self.stage]}.{self.stage_number}"


def parse(text: str) -> Version | None:
    """The version that `text` means, or None if it means none (see `VERSION_RULE`)."""
    return _read(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=4096)
def _read(text: str) -> Version | None:
    found = _VERSION.fullmatch(_CHANGELIST.sub("", text.strip().partition("+")[0]))
    if found is None:
        return None
    numbers = [int(number) for number in found["numbers"].split(".")]
    padded = (*numbers, 0, 0, 0)[:4]
    stage = found["stage"]
    if stage is None or stage.lower() in _RELEASES:
        return Version((padded[0], padded[1], padded[2], padded[3]))
    known = _STAGES.get(stage.lower())
    if known is None:
        return None
    return Version((padded[0], padded[1], padded[2], padded[3]), known, int(found["stage_number"] or 0))
