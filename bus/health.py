"""The health of this process, by all who know: red as long as anybody has a reason."""

from __future__ import annotations


class Health:
    """The reasons why this process is not well, by their source. May be used from any thread; every call is one step of a dictionary."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def red(self, source: str, reason: str) -> None:
        """`source` reports a reason; it replaces the one it gave before."""
        self._reasons[source] = reason

    def clear(self, source: str) -> None:
        """`source` has no reason any more."""
        self._reasons.pop(source, None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason, by source; empty when all is well."""
        return tuple(reason for _, reason in sorted(self._reasons.items()))
