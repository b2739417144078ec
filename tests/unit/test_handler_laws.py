"""The laws of handlers notice each way to break them; a law that cannot fail proves nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from google.protobuf.message import Message

from bus.errors import BadSubject, BrokenRule
from bus.event import Event
from bus.handler import Handler
from bus.testing import recorded
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone, PlayerHeartbeat, PlayerMoved
from worldbus.testing import assert_handler_laws


@dataclass(frozen=True)
class Seen:
    """What a handler remembers: a count, and something that a law may be broken with."""

    count: int = 0
    more: Any = None


def decide(event: Event, seen: Seen) -> list[Message]:
    return [PlayerEnteredZone(zone=f"zone{seen.count}")]


def evolve(seen: Seen, event: Event) -> Seen:
    return replace(seen, count=seen.count + 1)


GOOD = Handler(
    name="seer", listens_to=(PlayerMoved,), emits=(PlayerEnteredZone,), initial=lambda entity: Seen(), decide=decide, evolve=evolve
)
_calls = itertools.count()


def _raises(event: Event, seen: Seen) -> list[Message]:
    return [PlayerEnteredZone(zone=str(1 / len(event.data.zone)))]  # type: ignore[attr-defined]


def _changes_the_event(event: Event, seen: Seen) -> list[Message]:
    event.data.zone = "changed"  # type: ignore[attr-defined]
    return []


def _changes_the_state(event: Event, seen: Seen) -> list[Message]:
    seen.more.append(1)
    return []


def _folds_in_place(seen: Seen, event: Event) -> Seen:
    seen.more.append(1)
    return seen


def _with_list(**changes: Any) -> Handler[Seen]:
    return replace(GOOD, initial=lambda entity: Seen(more=[]), **changes)


BROKEN: dict[str, tuple[Handler[Seen], type[Exception], str]] = {
    "fails on what may come": (replace(GOOD, decide=_raises), ZeroDivisionError, "division"),
    "dice": (replace(GOOD, decide=lambda event, seen: [PlayerEnteredZone(zone=str(next(_calls)))]), AssertionError, "differently"),
    "says what it does not declare": (replace(GOOD, decide=lambda event, seen: [PlayerHeartbeat()]), AssertionError, "add it to `emits`"),
    "says too much": (replace(GOOD, decide=lambda event, seen: [PlayerEnteredZone()] * 65), AssertionError, "wanted at most 64"),
    "changes the event": (replace(GOOD, decide=_changes_the_event), AssertionError, "in place"),
    "changes the state": (_with_list(decide=_changes_the_state), AssertionError, "decide of seer changed the state in place"),
    "folds in place": (_with_list(evolve=_folds_in_place), AssertionError, "evolve of seer changed the state in place"),
    "folds the position": (
        replace(GOOD, evolve=lambda seen, event: replace(seen, count=event.position)),
        AssertionError,
        "looks at the position",
    ),
    "keeps what a snapshot loses": (
        replace(GOOD, evolve=lambda seen, event: replace(seen, more=frozenset((seen.count, "a")))),
        AssertionError,
        "does not survive its snapshot",
    ),
    "names no entity": (replace(GOOD, entities=lambda event: (f"a.{event.entity}",)), BadSubject, "entity of seer"),
    "leads elsewhere each time": (replace(GOOD, entities=lambda event: (f"e{next(_calls)}",)), AssertionError, "other entities"),
}


def test_a_good_handler_keeps_them() -> None:
    assert_handler_laws(GOOD, history=[recorded(PlayerMoved(zone="quay"), entity="mira")])


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_law_is_noticed(name: str) -> None:
    handler, error, words = BROKEN[name]

    with pytest.raises(error, match=words):
        assert_handler_laws(handler)


def test_a_broken_rule_is_an_answer() -> None:
    def refuse(event: Event, seen: Seen) -> list[Message]:
        raise BrokenRule("never")

    assert_handler_laws(replace(GOOD, decide=refuse))


def test_what_only_a_history_shows_is_found_behind_that_history() -> None:
    """Nobody draws thirty moves by chance."""

    def worn(event: Event, seen: Seen) -> list[Message]:
        assert seen.count < 30, "worn out"
        return decide(event, seen)

    tried: Callable[..., None] = assert_handler_laws
    tried(replace(GOOD, decide=worn), examples=5)
    with pytest.raises(AssertionError, match="worn out"):
        tried(replace(GOOD, decide=worn), history=[recorded(PlayerMoved(zone="quay"), position=one) for one in range(1, 32)])
