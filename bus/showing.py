"""Any event as text: whatever a log can hold is shown as far as it goes, and what cannot be shown says why."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from bus.attributes import SOURCE, TEXTS, TIMES
from bus.check import LAST_SECOND
from bus.envelope import NANOS
from bus.errors import WorldbusError
from bus.moments import format_time

if TYPE_CHECKING:
    from bus.event import Event

UNREADABLE: Final = "unreadable"
_MOST: Final = 300  # characters of a reason


def shown(event: Event) -> dict[str, Any]:
    """The event as a CloudEvents document (`bus.json_format.to_dict`), whatever it is. Never raises.

    What cannot be shown is missing from it. Then `unreadable` has the reasons, by the name of the attribute or the path of the field,
    `error` and `message` are the first of them, and the event's own bytes are there as `raw_base64`. A field of the payload that cannot be
    shown says so in its place as well, so nobody takes the rest for the whole.
    """
    return _Showing(event).document


def line(event: Event) -> str:
    """`shown` on one line of JSON. Never raises."""
    return json.dumps(shown(event), ensure_ascii=False)


class _Showing:
    """One event on its way into a document."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._reasons: dict[str, str] = {}
        self._code = ""
        self.document: dict[str, Any] = {}
        readable = self._try("envelope", lambda: event.envelope) is not None
        if readable:
            self._attributes()
        recorded = event.recorded_ns if 0 <= event.recorded_ns <= LAST_SECOND * NANOS else 0
        self.document |= {"position": event.position, "partition": event.partition, "recorded": format_time(recorded)}
        if readable:
            self._payload()
        if self._reasons:
            self._explain()

    def _attributes(self) -> None:
        event, document = self._event, self.document
        document |= {"specversion": "1.0", "id": event.id, "source": SOURCE + event.subsystem, "type": event.type}
        document |= {"subject": event.entity, "world": event.world}
        for name in TIMES:
            moment = self._try(name, partial(event.moment, name))
            if moment is not None:
                document[name] = format_time(moment)
        document |= {name: text for name in TEXTS if (text := event.text(name))}
        if event.depth:
            document["depth"] = event.depth
        document |= self._try("extensions", lambda: event.extensions) or {}

    def _payload(self) -> None:
        data: Message | None = self._try("data", lambda: self._event.data)
        if data is None:
            return
        self.document |= {"type": data.DESCRIPTOR.full_name, "datacontenttype": "application/json"}
        try:
            self.document["data"] = _to_dict(data)
        except Exception:  # protobuf's mapping raises whatever it stumbles over
            self.document["data"] = self._by_fields(data)

    def _by_fields(self, data: Message) -> dict[str, Any]:
        """The payload, each field by itself: those that can be shown, and why others cannot."""
        found: dict[str, Any] = {}
        for field, value in data.ListFields():
            name = str(field.name)
            part = self._try(f"data.{name}", partial(_alone, data, field, value))
            found |= {name: f"{UNREADABLE}: {self._reasons[f'data.{name}']}"} if part is None else part
        return found

    def _explain(self) -> None:
        event, document = self._event, self.document
        document["error"], document["message"] = self._code, next(iter(self._reasons.values()))
        document[UNREADABLE] = self._reasons
        document["stored_subject"] = ".".join(event.subject)
        document["raw_base64"] = b64encode(event.raw).decode()
        if event.header is not None:
            document["header_base64"] = b64encode(event.header).decode()

    def _try(self, name: str, look: Callable[[], Any]) -> Any:
        try:
            return look()
        except Exception as error:  # whatever a decoder stumbles over
            text = str(error) or type(error).__name__
            self._reasons[name] = text.encode("utf-8", "replace").decode()[:_MOST]
            self._code = self._code or (error.code if isinstance(error, WorldbusError) else "UNREADABLE")
            return None


def _alone(data: Message, field: Any, value: Any) -> dict[str, Any]:
    """One field of a payload as JSON."""
    alone = type(data)()
    part: Any = getattr(alone, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is None:
            part.update(value)
        else:
            part.MergeFrom(value)
    elif field.is_repeated:
        part.extend(value)
    elif field.message_type is not None:
        part.CopyFrom(value)
    else:
        setattr(alone, field.name, value)
    return _to_dict(alone)


def _to_dict(data: Message) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(data, preserving_proto_field_name=True)
    json.dumps(found, ensure_ascii=False).encode()  # what cannot be written down is found out here
    return found
