"""Refusals of quests."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from bus.event import Event
from handlers.names import is_token
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRequestRefused


def refused(event: Event, code: str, reason: str, *, quest: str = "") -> Sequence[Message]:
    """The answer to a wish that cannot be granted; `reason` says what was wanted, what was found, and the next step."""
    name = quest if is_token(quest) else ""
    return (QuestRequestRefused(request=event.name, request_event_id=event.id, code=code, reason=reason, quest=name),)
