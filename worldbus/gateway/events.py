"""`POST /v1/events` and `GET /v1/events/{position}`: publishing, and looking at what was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from bus.draft import EDGE
from bus.errors import LogDamaged
from bus.showing import line
from worldbus.emitters import emitters
from worldbus.gateway.bodies import JSON, Item, Sender, read
from worldbus.gateway.problem import Problem, later, problem_of
from worldbus.gateway.rate import Bucket

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.gateway.grants import Grant
    from worldbus.gateway.limits import Limits
    from worldbus.gateway.metrics import Metrics
    from worldbus.gateway.recorder import Outcome, Recorder

REPLAYED: Final = {"Idempotent-Replayed": "true"}
_TRUE: Final = ("true", "1")


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
        if draft.subsystem not in grant.says:
            said = ", ".join(grant.says) or "nothing"
            raise Problem(
                403,
                "SUBSYSTEM_NOT_ALLOWED",
                f"wanted source /worldbus/<one of {said}>, found {draft.subsystem!r}: each subsystem speaks for itself alone",
                index=index,
            )
        problem = emitters().problem(draft.subsystem, draft.data.DESCRIPTOR.full_name)
        if problem:
            raise Problem(403, "TYPE_NOT_ALLOWED", problem, index=index)


class Meter:
    """How fast each token publishes."""

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


class Events:
    """The two routes."""

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

    async def publish(self, request: web.BaseRequest, body: bytes, grant: Grant, now: float) -> web.Response:
        """Record the events of a request, and say where they are. Raises `Problem` or `WorldbusError`."""
        headers = request.headers
        key = headers.get("Idempotency-Key", "").strip().strip('"') if "Idempotency-Key" in headers else ""
        together = self._atomic(request)
        speaker = EDGE if EDGE in grant.says or len(grant.says) != 1 else grant.says[0]
        reading = read(body, Sender(headers=headers, world=grant.only_world, key=key, most=self._limits.batch, subsystem=speaker))
        authorise(reading.items, grant)
        self._meter.take(grant, len(reading.items), now)
        atomic = reading.batch and together
        outcomes = await (self._recorder.record_group(reading.items) if atomic else self._recorder.record(reading.items))
        self._count(outcomes)
        return _batch(reading.items, outcomes) if reading.batch else _single(reading.items[0], outcomes[0])

    def _atomic(self, request: web.BaseRequest) -> bool:
        if "?" not in request.raw_path:
            return False
        query = request.query
        unknown = [name for name in query if name != "atomic"]
        if unknown or query["atomic"] not in ("true", "false", "1", "0"):
            raise Problem(400, "UNKNOWN_PARAMETER", "wanted atomic=true or atomic=false and no other parameter")
        return query["atomic"] in _TRUE

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        events = self._metrics.events
        for outcome in outcomes:
            if outcome.error is None:
                events["replayed" if outcome.replayed else "recorded"] += 1
            else:
                events["unknown" if problem_of(outcome.error).status == 503 else "refused"] += 1

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
