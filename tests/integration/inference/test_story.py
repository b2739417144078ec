"""A story told by a live endpoint of which three answers in ten are bad: the author's or the model's words, and facts of a model only."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any, cast

from aiohttp import web

from bus.connection import Connection
from bus.event import Draft, Event
from bus.log import Log
from bus.publisher import Publisher
from bus.runtime import run_handlers
from handlers.storyteller import storyteller_of
from handlers.storyteller.tables import parse
from inference.engines.openai import OpenAiEngine, OpenAiSettings
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryArcStartRequested
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired
from tests.conformance.openai_server import serving
from tests.engines import GrammarEngine
from tests.integration.inference.conftest import Run

ARCS = [f"arc-{number}" for number in range(40)]
BY_MODEL = "It was Pell, and he had chalk on his hands."
STRANGE = "It was nobody."  # words that are kept of an answer whose fact is none of the table's
BAD = ("filtered", "refused", "broken", "html", "cut", "stranger", "empty", "claims")


def _arc(name: str) -> dict[str, Any]:
    beat = {"name": "only", "title": "Only", "text": f"The author's own words of {name}.", "tension": 500, "narrates": ["who"]}
    body = {"title": "A", "premise": "P", "pulse_minutes": 5, "calm": 1, "choice_minutes": 5, "curve": [500]}
    return {**body, "facts": {"who": ["vane", "pell"]}, "beats": [beat]}


async def _stream(request: web.Request, *texts: str, finish: str | None = "stop") -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for text in texts:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        await response.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
    if finish is None:
        assert request.transport is not None
        request.transport.close()
    else:
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
    return response


async def _bad(kind: str, request: web.Request) -> web.StreamResponse:
    match kind:
        case "filtered":
            return await _stream(request, finish="content_filter")
        case "refused":
            return web.json_response({"error": {"code": "content_filter", "message": "no"}}, status=400)
        case "broken":
            return web.json_response({"error": {"message": "overheated"}}, status=500)
        case "html":
            return web.Response(text="<html>Bad gateway</html>", content_type="text/html", status=502)
        case "cut":
            return await _stream(request, '{"text": "It was', finish=None)
        case "stranger":
            return await _stream(request, json.dumps({"text": STRANGE, "facts": {"who": "nobody"}}))
        case "empty":
            return await _stream(request, '{"text": "", "facts": {"who": "vane"}}')
        case _:
            return await _stream(request, '{"facts": {"who": "vane"}}')


async def test_a_beat_is_told_in_the_authors_or_the_models_words_and_only_a_model_makes_facts(
    connection: Connection, log: Log, publisher: Publisher, run: Run
) -> None:
    numbers = count()
    good = json.dumps({"text": BY_MODEL, "facts": {"who": "pell"}})

    async def reply(request: web.Request) -> web.StreamResponse:
        number = next(numbers)
        return await (_bad(BAD[number // 3 % len(BAD)], request) if number % 3 == 1 else _stream(request, good[:20], good[20:]))

    storyteller = storyteller_of(parse({"arcs": {name: _arc(name) for name in ARCS}}, "test"))
    async with serving(GrammarEngine()) as server:
        server.reply = reply
        engine = OpenAiEngine(OpenAiSettings(url=server.url, model="m", slots=2))
        async with run_handlers(connection, log, [storyteller]), run(engine, tier="silver"), run(None, tier="silver", name="ladder"):
            for name in ARCS:
                await _say(publisher, StoryArcStartRequested(), name, "game")
            for name in ARCS:
                await _say(publisher, WakeFired(subsystem="storyteller", entity=name, name="pulse"), "clock", "time")
            told = await _told(log)

    facts = {event.entity: cast(Any, event.data).value for event in told if event.name == "StoryFactEstablished"}
    lines = {event.entity: cast(Any, event.data) for event in told if event.name == "StoryNarrated"}
    assert set(lines) == set(ARCS)
    assert any(line.rung == "full" for line in lines.values())
    assert any(line.rung == "authored" for line in lines.values())
    for arc, line in lines.items():
        assert line.text in (f"The author's own words of {arc}.", BY_MODEL, STRANGE) or BY_MODEL.startswith(line.text.rstrip())
        assert facts.get(arc, "") == ("pell" if line.text == BY_MODEL else ""), arc


async def _say(publisher: Publisher, message: Any, entity: str, subsystem: str) -> None:
    await publisher.publish(Draft(data=message, world="w", entity=entity, subsystem=subsystem))


async def _told(log: Log) -> list[Event]:
    """Everything the storyteller published, once each arc's beat has been told."""
    while True:
        events = [event async for batch in log.read() for event in batch if event.subsystem == "storyteller"]
        if sum(event.name == "StoryNarrated" for event in events) >= len(ARCS):
            return events
        await asyncio.sleep(0.1)
