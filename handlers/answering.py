"""A handler that answers every request it is answerable for: done, refused with its reason, or found done already.

The rights say which those are (`handlers/rights.py`). Whoever may not ask, or reports what cannot be true (`handlers/plausible.py`), is
refused before the handler decides; what the handler lets pass in silence is answered in its place. Requests that lead the handler to no
entity are answered about the one they are said about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import Handler, of_subject
from handlers.permissions import Right, role_of
from handlers.plausible import Bounds, implausible
from handlers.rights import HANDLERS, RIGHTS
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone, RequestRefused

S = TypeVar("S")
NOT_ALLOWED: Final = "NOT_ALLOWED"
IMPLAUSIBLE: Final = "IMPLAUSIBLE"
ANSWERS: Final = (RequestRefused, RequestFoundDone)
"""Events that every handler which answers requests emits, beside its own."""


class Silence(NamedTuple):
    """The reason for a handler's silence about a request. An empty code: it is done already."""

    code: str
    reason: str


Why = Callable[[Event], Silence]
Rows = Mapping[type[Message], Right]


def done(reason: str) -> Silence:
    """Make the answer to a request that is fulfilled already."""
    return Silence("", reason)


def nothing_to_do(event: Event) -> Silence:
    """The end of a request that changes nothing, unless its handler knows better."""
    return done(f"nothing to change for {event.entity}")


def answering(
    handler: Handler[S],
    bounds: Bounds,
    why: Why = nothing_to_do,
    lane: Callable[[S], str] | None = None,
    rights: Rows = RIGHTS,
) -> Handler[S]:
    """The handler, which declares `ANSWERS`, with an answer to every request. Reports are believed within `bounds`; `why` says for each
    request what silence means.

    `lane` names the lane of a state, where a request may concern several: the first of them answers. `rights` are the rows to go by, for a
    handler of a game's own `{**RIGHTS, **rows}`.
    """
    rows: Rows = {kind: rights[kind] for kind in handler.listens_to if kind in rights}
    return replace(
        handler,
        decide=partial(_decide, handler.name, rows, bounds, why, lane, handler.decide, handler.entities),
        entities=of_subject if handler.entities is of_subject else partial(_entities, handler.name, rows, handler.entities),
    )


def _entities(name: str, rows: Rows, inner: Callable[[Event], Iterable[str]], event: Event) -> Iterable[str]:
    found = inner(event)
    if found:
        return found
    right = rows.get(type(event.data))
    return (event.entity,) if right is not None and right.answers == name else ()


def _decide(
    name: str,
    rows: Rows,
    bounds: Bounds,
    why: Why,
    lane: Callable[[S], str] | None,
    inner: Callable[[Event, S], Sequence[Message]],
    entities: Callable[[Event], Iterable[str]],
    event: Event,
    state: S,
) -> Sequence[Message]:
    right, speaker = rows.get(type(event.data)), event.subsystem
    if right is None or speaker in right.emitters:
        return inner(event, state)
    role = role_of(speaker, HANDLERS)
    code, problem = NOT_ALLOWED, right.problem(speaker, role)
    if not problem:
        code, problem = IMPLAUSIBLE, implausible(bounds, role, event.data)
    if right.answers != name:  # one of those whom the handler itself led here
        return () if problem else inner(event, state)
    concerned = tuple(entities(event))
    answers = lane is None or not concerned or lane(state) == concerned[0]
    if problem:
        return (_refused(name, event, code, problem),) if answers else ()
    said = inner(event, state) if concerned else ()
    if said or not answers or (right.report and concerned):
        return said
    code, reason = why(event)
    return (
        _refused(name, event, code, reason)
        if code
        else RequestFoundDone(handler=name, request=event.name, request_event_id=event.id, reason=reason),
    )


def _refused(name: str, event: Event, code: str, reason: str) -> RequestRefused:
    return RequestRefused(handler=name, request=event.name, request_event_id=event.id, code=code, reason=reason)
