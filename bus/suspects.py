"""Inputs at which other members of a handler came to harm, as far as they left word (`bus.hangs`)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from bus.errors import HandlerHung
from bus.hangs import Hang

DEATHS: Final = 2  # of members in careful mode at one input, before it is quarantined
Key = tuple[str, str, int, int]  # world, entity, position, request


class Suspects:
    """The records about one handler, as they were last read. `known` is empty as long as all is well: nothing else is looked at then."""

    def __init__(self, me: str = "") -> None:
        self._me = me
        self.known: dict[Key, Hang] = {}
        self._lanes: dict[tuple[str, str], Hang] = {}
        self._seen: dict[Hang, float] = {}  # since when, monotonic seconds

    def learn(self, hangs: Iterable[Hang]) -> None:
        """Take in the records as they are now. What this process itself left is no news to it."""
        others = [hang for hang in hangs if hang.member != self._me]
        now = time.monotonic()
        self._seen = {hang: self._seen.get(hang, now) for hang in others}
        self.known = {_key(hang): hang for hang in others}
        self._lanes = {(hang.world, hang.entity): hang for hang in others if hang.step in ("evolve", "initial") and hang.state == "hung"}

    def outdated(self) -> list[Hang]:
        """The calls that hung elsewhere for longer than their process can have lived."""
        return [hang for hang in self.known.values() if hang.state == "hanging" and not self.wait_s(hang)]

    def drop(self, hang: Hang) -> None:
        """Forget a hang that is dealt with."""
        self.known.pop(_key(hang), None)
        self._lanes.pop((hang.world, hang.entity), None)

    def of_input(self, world: str, entity: str, position: int) -> Hang | None:
        """The record about deciding an input in its turn, if there is one."""
        return self.known.get((world, entity, position, 0))

    def of_request(self, world: str, entity: str, asked: int) -> Hang | None:
        """The record about an operator's request at that position, if there is one."""
        return self.known.get((world, entity, 0, asked))

    def of_lane(self, world: str, entity: str) -> Hang | None:
        """The record about folding a lane, if there is one."""
        return self._lanes.get((world, entity))

    def wait_s(self, hang: Hang) -> float:
        """Seconds for which another member may still be at work on it: until then nobody else should be."""
        if hang.state != "hanging" or hang not in self._seen:
            return 0.0
        return max(0.0, self._seen[hang] + hang.settled_s - time.monotonic())

    @staticmethod
    def verdict(hang: Hang) -> HandlerHung | None:
        """The error for which the input is quarantined instead of decided; None if it may be decided once more."""
        if hang.state == "hung":
            return HandlerHung(
                f"`{hang.step}` did not return within {hang.seconds:.1f} s and could not be interrupted, so its process ended with code "
                "71: look at the stack for what it waits for, mend the rules, then `worldbus parked retry`; or `worldbus parked drop`",
                stack=hang.stack,
            )
        if hang.state == "deciding" and hang.deaths + 1 >= DEATHS:
            return HandlerHung(
                f"{hang.deaths + 1} processes in a row ended without a word while they decided this input, the only one they were at work "
                "on: look in their logs and the kernel's for a crash or a lack of memory, mend it, then `worldbus parked retry`; or "
                "`worldbus parked drop`"
            )
        return None


def _key(hang: Hang) -> Key:
    return hang.world, hang.entity, 0 if hang.asked else hang.position, hang.asked
