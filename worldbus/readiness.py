"""Readiness: handlers whose content cannot be read are found before anything runs, reported to operators, and left out.

Everything else runs. A table that was mended is read by the process that starts next.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import structlog

from bus.errors import BadSettings

if TYPE_CHECKING:
    from bus.handler import Subsystem
    from bus.health import Health
    from bus.presence import Presence

REFUSES: Final = "refuses to run"
NEXT_STEP: Final = "mend it and start this part again"

log = structlog.get_logger(__name__)


class Refusals:
    """The parts that refuse, and why, for as long as the process runs. Entered into a stack that ends with it."""

    def __init__(self, health: Health, presence: Presence, stack: ExitStack) -> None:
        self.health = health
        self._presence = presence
        self._stack = stack
        self.reasons: dict[str, str] = {}

    def able(self, handlers: Iterable[Subsystem], worlds: Iterable[str]) -> list[Subsystem]:
        """The handlers whose rules can be made in each of these worlds; the others refuse."""
        worlds = sorted(worlds)
        found = []
        for handler in handlers:
            reason = _reason(handler, worlds)
            if reason:
                self.refuse(handler.label, reason)
            else:
                found.append(handler)
        return found

    def refuse(self, part: str, reason: str) -> None:
        """Say everywhere that a part does not run: in the log, in the health of this process, and to whoever asks who is there."""
        self.reasons[part] = reason
        log.error("refused_to_run", part=part, reason=reason, next_step=NEXT_STEP)
        self.health.red(f"refuses {part}", f"{part} {REFUSES}: {reason}")
        self._stack.enter_context(self._presence.part(part)).stands(REFUSES, reason)

    def end_if_alone(self, *others: object) -> None:
        """Raise `BadSettings` with every reason, where nothing else is to run."""
        if self.reasons and not any(others):
            reasons = "; ".join(dict.fromkeys(self.reasons.values()))
            raise BadSettings(
                f"nothing is left to run, {', '.join(self.reasons)} cannot: {reasons}: {NEXT_STEP}", problems=tuple(self.reasons)
            )


def _reason(handler: Subsystem, worlds: Iterable[str]) -> str:
    """The reason why a handler's rules cannot be made; empty if they can."""
    try:
        for world in worlds:
            handler.of(world)
    except BadSettings as error:
        return str(error)
    except Exception as error:  # of the code that makes rules of content: a bug of that handler, which must not stop the others
        log.exception("rules_not_made", handler=handler.name)
        return f"its rules cannot be made: {error!r}"
    return ""
