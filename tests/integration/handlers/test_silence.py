"""Silence is no answer: every request type of this world, with a stranger's values, through the real runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from bus.connection import connect
from bus.event import Draft
from bus.log import Log, open_log
from bus.publisher import open_publisher
from bus.runtime import run_handlers
from handlers.permissions import GAME
from handlers.rights import HANDLERS, RIGHTS
from tests.duskmarket import ALL
from worldbus.embedded import NatsServer

WORLD: Final = "strange"
ASKED: Final = {kind: right for kind, right in RIGHTS.items() if right.answers and right.may and not right.report}
F: Final = FieldDescriptor
WITHOUT_NEWS_S: Final = 120
NUMBERS: Final = (F.TYPE_INT32, F.TYPE_INT64, F.TYPE_UINT32, F.TYPE_UINT64)


@pytest.fixture
def own_nats(data_folder: Path) -> Iterator[NatsServer]:
    """A server of this test's own: a server holds one log."""
    server = NatsServer(data_folder / "nats", password="only-for-tests", strict=False)
    server.start()
    yield server
    server.stop()


def filled(kind: type[Message], text: str, number: int) -> Message:
    """A message of which every plain field has a value."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        value: Any = {F.TYPE_STRING: text, F.TYPE_BOOL: True, F.TYPE_DOUBLE: float(number), F.TYPE_FLOAT: float(number)}.get(field.type)
        if field.type in NUMBERS:
            value = max(0, number) if field.type in (F.TYPE_UINT32, F.TYPE_UINT64) else number
        if value is None:
            continue
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def strange(kind: type[Message]) -> Iterator[tuple[str, Message]]:
    """Strangers' values: nothing, unknown names, absurd numbers, words that are no names; and each of them again."""
    for text, number in (("", 0), ("nobody", 1), ("nobody", 2**31 - 1), ("nobody", -1), ("x" * 3000, 7), ("no such \u202e name", 3)):
        for turn in ("once", "again"):
            yield f"{text[:8]}-{number}-{turn}", filled(kind, text, number)


async def test_every_request_is_answered_by_an_event(own_nats: NatsServer) -> None:
    async with connect(own_nats.url, name="test") as connection:
        log = await open_log(connection)
        async with open_publisher(connection, log, "relaxed") as publisher, run_handlers(connection, log, ALL):
            open_: dict[str, tuple[str, str]] = {}
            for kind, right in ASKED.items():
                speaker = GAME if GAME in right.may else next(iter(right.may))
                for number, (name, message) in enumerate(strange(kind)):
                    draft = Draft(data=message, world=WORLD, entity=f"stranger-{number // 2}", subsystem=speaker)
                    open_[draft.id] = right.answers, f"{kind.DESCRIPTOR.name} {name}"
                    await publisher.publish(draft)
            position = 0
            while open_:
                try:
                    async with asyncio.timeout(WITHOUT_NEWS_S):
                        position = await _answers(log, position, open_)
                except TimeoutError:
                    pytest.fail(f"{len(open_)} requests were not answered: {sorted(open_.values())}")
        await log.aclose()


async def _answers(log: Log, position: int, open_: dict[str, tuple[str, str]]) -> int:
    """Strike off what is answered behind `position`; the last position read."""
    before = len(open_)
    while len(open_) == before:
        async for batch in log.read(after=position):
            for event in batch:
                position = event.position
                assert event.name not in ("EventParked", "EventDeferred"), event.data
                if event.subsystem in HANDLERS and open_.get(event.cause, ("", ""))[0] == event.subsystem:
                    del open_[event.cause]
        await asyncio.sleep(0.05)
    return position


def test_the_walk_meets_every_request_that_somebody_may_make() -> None:
    waits = {kind for kind, right in RIGHTS.items() if kind.DESCRIPTOR.name.endswith("Requested") and right.may and not right.answers}

    assert {kind.DESCRIPTOR.name for kind in waits} == {
        "InferenceRequested",  # answered by its end, or by InferenceRequestRepeated: tests/integration/inference
        "InferenceCancelRequested",  # by the end of what it ends, or by InferenceCancelFoundNothing: in the same folder
        "LaneRetryRequested",  # answered by the lane: tests/integration/bus/test_runtime.py
        "LaneDropRequested",
    }
    assert len(ASKED) >= 50
