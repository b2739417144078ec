"""`POST /v1/events`, `POST /v1/batches` and `GET /v1/events/{position}`: publishing, and looking at what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiohttp import web
from multidict import MultiDict, MultiMapping

from bus.draft import EDGE
from bus.errors import LogDamaged, WorldbusError
from bus.showing import line
from handlers.permissions import OWN
from worldbus.games import current
from worldbus.gateway import expected
from worldbus.gateway.bodies import JSON, JSON_BATCH, Item, Sender, read
from worldbus.gateway.problem import Problem, later, problem_of
from worldbus.gateway.rate import Bucket

if TYPE_CHECKING:
    from bus.draft import Draft
    from bus.log import Log
    from bus.subjects import LaneName
    from worldbus.gateway.grants import Grant
    from worldbus.gateway.limits import Limits
    from worldbus.gateway.metrics import Metrics
    from worldbus.gateway.recorder import Outcome, Recorder

REPLAYED: Final = {"Idempotent-Replayed": "true"}
EVENTS: Final = "/v1/events"
BATCHES: Final = "/v1/batches"
"""For batches alone: generated clients, which know one format for each path, have a call of its own for it."""
LANES: Final = "expected"
_TRUE: Final = ("true", "1")
_BOOLEANS: Final = (*_TRUE, "false", "0")
_NOTHING: Final[MultiMapping[str]] = MultiDict()


def authorise(items: Sequence[Item], grant: Grant) -> None:
    """Raise a 403 problem unless the token may say all of this."""
    for index, item in enumerate(items):
        draft = item.draft
        if not grant.sees(draft.world):
            raise Problem(
                403,
                "WORLD_NOT_ALLOWED",
                f"wanted a world of this token, found {draft.world!r}: use its own, or ask for another grant",
                index=index,
            )
        if not current().played.has(draft.world):
            raise Problem(
                403, "WORLD_NOT_PLAYED", f"{current().name} does not play the world {draft.world!r}: ask its own gateway", index=index
            )
        if draft.subsystem not in grant.says:
            said = ", ".join(grant.says) or "nothing"
            raise Problem(
                403,
                "SUBSYSTEM_NOT_ALLOWED",
                f"wanted source /worldbus/<one of {said}>, found {draft.subsystem!r}: each subsystem speaks for itself alone",
                index=index,
            )
        type_name = draft.data.DESCRIPTOR.full_name
        game = current()
        problem = game.emitters.problem(draft.subsystem, type_name)
        if problem:
            raise Problem(403, "TYPE_NOT_ALLOWED", problem, index=index)
        if (grant.entities or game.allowed.scope(draft.subsystem, type_name) == OWN) and not _its_own(draft, type_name, grant):
            own = ", ".join(grant.entities) or "none"
            detail = f"wanted {draft.data.DESCRIPTOR.name} about an entity of this token's own ({own}), found {draft.entity!r}"
            raise Problem(403, "ENTITY_NOT_ALLOWED", f"{detail}: use its own, or ask for another grant", index=index)


def _its_own(draft: Draft, type_name: str, grant: Grant) -> bool:
    return grant.owns(current().allowed.owner_of(type_name, draft.entity, draft.data))


class Meter:
    """The pace of each token."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def take(self, grant: Grant, count: int, now: float) -> None:
        """Count so many events; 0 asks whether any are welcome. Raises a 429 problem."""
        bucket = self._buckets.get(grant.name)
        if bucket is None or (bucket.rate, bucket.burst) != (grant.events_per_second, grant.burst):
            bucket = self._buckets[grant.name] = Bucket(grant.events_per_second, grant.burst, now)
        wait_s = bucket.take(count, now) if count else bucket.wait(now)
        if wait_s > 0:
            detail = f"wanted at most {grant.events_per_second:g} events/s and bursts of {grant.burst:g}, found more: wait {wait_s:.1f} s"
            raise later(429, "TOO_MANY_EVENTS", detail, wait_s)


class Order(NamedTuple):
    """The events that a request wants recorded.

    `group`: together or not at all, if these lanes are where they are expected; None: each for itself.
    """

    items: Sequence[Item]
    batch: bool
    group: Mapping[LaneName, int] | None


class Events:
    """The routes of events."""

    def __init__(self, recorder: Recorder, log: Log, limits: Limits, metrics: Metrics) -> None:
        self._recorder = recorder
        self._log = log
        self._limits = limits
        self._metrics = metrics
        self._meter = Meter()

    def welcome(self, grant: Grant, now: float) -> None:
        """Raise a 429 problem if this token has to wait, before its body is read."""
        self._meter.take(grant, 0, now)

    def count(self, grant: Grant, number: int, now: float) -> None:
        """Count something that costs as much as so many events. Raises a 429 problem."""
        self._meter.take(grant, number, now)

    def read(self, request: web.BaseRequest, body: bytes, grant: Grant, now: float) -> Order:
        """The events that a request wants recorded, if this token may do so now.

        Raises `Problem`, or `Rejected` for a single event with a fault.
        """
        headers = request.headers
        key = headers.get("Idempotency-Key", "").strip().strip('"') if "Idempotency-Key" in headers else ""
        query = _query(request)
        many = request.path == BATCHES
        speaker = EDGE if EDGE in grant.says or len(grant.says) != 1 else grant.says[0]
        reading = read(body, Sender(headers=headers, world=grant.only_world, key=key, most=self._limits.batch, subsystem=speaker))
        items = reading.items
        if many and not reading.batch:
            detail = f"wanted a batch, found one event: send it to {EVENTS}, or several as {JSON_BATCH}"
            raise Problem(400, "BAD_PAYLOAD", detail)
        try:
            authorise(items, grant)
            together = reading.batch and query.get("atomic") in _TRUE
            lanes = expected.of_query(query.getall(LANES), items[0].draft.world, grant) if LANES in query else {}
            if lanes and reading.batch and not together:
                detail = "wanted atomic=true with expected lanes in the address of a batch: without it each event is recorded for itself"
                raise Problem(400, "EXPECTED_NEEDS_ATOMIC", detail)
            group = expected.together(items, lanes) if together or lanes else None
            self._meter.take(grant, len(items), now)
        except Problem as problem:
            problem.events = len(items)
            raise
        return Order(items, reading.batch, group)

    async def record(self, order: Order) -> web.Response:
        """Record the events of a request, and say where they are. Raises `Problem` or `WorldbusError`."""
        items, group = order.items, order.group
        try:
            outcomes = await (self._recorder.record(items) if group is None else self._recorder.record_group(items, group))
        except WorldbusError as error:
            self.refused(problem_of(error), len(items))
            raise
        self._count(outcomes)
        return _batch(items, outcomes) if order.batch else _single(items[0], outcomes[0])

    def refused(self, problem: Problem, events: int = 0) -> None:
        """Count the events of a request that ends with this problem; 0: as many as the problem says."""
        self._metrics.events[_outcome(problem)] += events or problem.events

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        events = self._metrics.events
        for outcome in outcomes:
            if outcome.error is None:
                events["replayed" if outcome.replayed else "recorded"] += 1
            else:
                events[_outcome(problem_of(outcome.error))] += 1

    async def look(self, position: int, grant: Grant) -> web.Response:
        """The event at a position, if it is this token's business."""
        missing = Problem(404, "NO_SUCH_EVENT", f"wanted an event at position {position} that this token may see, found none")
        if position < 1:
            raise missing
        try:
            event = await self._log.get(position)
        except LogDamaged as error:
            if position <= (await self._log.state()).last:
                raise
            raise missing from error
        if not grant.sees(event.world):
            raise missing
        return web.Response(body=line(event).encode(errors="replace"), content_type=JSON)


def _query(request: web.BaseRequest) -> MultiMapping[str]:
    if "?" not in request.raw_path:
        return _NOTHING
    query = request.query
    if query.keys() - {"atomic", LANES} or any(one not in _BOOLEANS for one in query.getall("atomic", [])):
        raise Problem(
            400, "UNKNOWN_PARAMETER", "wanted atomic=true or atomic=false, and expected=<subsystem>/<entity>:<position>, no other"
        )
    return query


def _outcome(problem: Problem) -> str:
    return "refused" if problem.status < 500 else "unknown"


def _single(item: Item, outcome: Outcome) -> web.Response:
    if outcome.error is not None:
        raise outcome.error
    headers = {"Location": f"/v1/events/{outcome.position}"}
    if outcome.replayed:
        headers |= REPLAYED
    return answer(200 if outcome.replayed else 201, _said(item, outcome), headers)


def _said(item: Item, outcome: Outcome) -> dict[str, Any]:
    return {"id": outcome.id, "position": outcome.position, "subject": item.draft.subject.published(), "replayed": outcome.replayed}


def _batch(items: Sequence[Item], outcomes: Sequence[Outcome]) -> web.Response:
    """One result for each event, in order. Anything but success is a problem: nobody overlooks half a batch."""
    failed = [problem_of(outcome.error) for outcome in outcomes if outcome.error is not None]
    results = [
        {**_said(item, outcome), "status": 200 if outcome.replayed else 201}
        if outcome.error is None
        else {"id": outcome.id, **problem_of(outcome.error).document()}
        for item, outcome in zip(items, outcomes, strict=True)
    ]
    replayed = sum(outcome.replayed for outcome in outcomes)
    recorded = len(outcomes) - len(failed) - replayed
    counts: dict[str, Any] = {"recorded": recorded, "replayed": replayed, "failed": len(failed)}
    if failed:
        worst = max(failed, key=lambda problem: problem.status)
        raise Problem(
            worst.status,
            worst.code if len({one.code for one in failed}) == 1 else "BATCH_INCOMPLETE",
            f"wanted {len(outcomes)} events in the log, found {len(outcomes) - len(failed)} there: send the batch again with the same ids, "
            "what is recorded stays recorded once",
            headers=worst.headers,
            results=results,
            **counts,
        )
    return answer(201 if recorded else 200, {"results": results, **counts}, {} if recorded else REPLAYED)


def answer(status: int, document: Any, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json", headers=headers)
