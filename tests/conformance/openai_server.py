"""An endpoint of OpenAI's protocol in front of any engine: chat completions, streamed, with usage; stops when its client goes away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from inference.engine import Chunk, Engine, Part, Prompt
from inference.errors import EngineOverloaded, PromptRejected


@dataclass
class Server:
    engine: Engine
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """What was asked, in order."""
    headers: list[dict[str, str]] = field(default_factory=list)
    left: int = 0
    """Answers whose reader went away before their end."""
    connections: set[object] = field(default_factory=set)
    reply: Callable[[web.Request], Any] | None = None
    """Answers in place of the engine, for what a broken server might say."""

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.engine.model, "object": "model"}]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        return await _complete(self, request)


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[Server]:
    """A server on a free port of this machine, with `engine` opened behind it."""
    server = Server(engine)
    app = web.Application(client_max_size=4 << 20)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.complete)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    async with engine.open():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield server
        finally:
            await runner.cleanup()


async def _complete(server: Server, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    server.bodies.append(body)
    server.headers.append(dict(request.headers))
    server.connections.add(request.transport)
    if server.reply is not None:
        answered: web.StreamResponse = await server.reply(request)
        return answered
    prompt, wrapped = _prompt(body)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    ended, held = False, ""
    try:
        async with aclosing(server.engine.generate(prompt)) as chunks:
            async for chunk in chunks:
                if not response.prepared:
                    await response.prepare(request)
                held += chunk.text
                await _send(response, chunk, held if wrapped else None)
                ended = chunk.end is not None
        await response.write(b"data: [DONE]\n\n")
    except PromptRejected as error:
        return web.json_response({"error": {"message": str(error), "type": "BadRequestError", "code": 400}}, status=400)
    except EngineOverloaded as error:
        return web.json_response({"error": {"message": str(error), "type": "RateLimitError", "code": 429}}, status=429)
    finally:
        server.left += not ended
    return response


def _prompt(body: dict[str, Any]) -> tuple[Prompt, bool]:
    """The prompt that a body means, and whether its choices came wrapped into a schema."""
    messages = [Part(each["role"], each["content"]) for each in body["messages"]]
    if body.get("continue_final_message"):
        messages.pop()  # a model goes on from any text; the engine here begins another sentence
    shape = body.get("response_format", {}).get("json_schema", {}).get("schema")
    choices: list[str] = body.get("structured_outputs", {}).get("choice", [])
    wrapped = bool(shape) and list(shape.get("properties", {})) == ["choice"]
    if wrapped:
        choices = shape["properties"]["choice"]["enum"]
    prompt = Prompt(
        parts=tuple(messages),
        json_schema=json.dumps(shape) if shape and not wrapped else "",
        choices=tuple(choices),
        max_tokens=body["max_tokens"],
        seed=body["seed"],
        stop=tuple(body.get("stop", ())),
    )
    return prompt, wrapped


async def _send(response: web.StreamResponse, chunk: Chunk, held: str | None) -> None:
    """`held`: the choice until now, which is sent as JSON when it is whole."""
    text = chunk.text if held is None else json.dumps({"choice": held}) if chunk.end else ""
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    await _event(response, {"choices": [choice]})
    if chunk.end is not None:
        finish = "length" if chunk.end.finish == "length" else "stop"
        await _event(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        usage = {"prompt_tokens": chunk.end.prompt_tokens, "completion_tokens": chunk.end.completion_tokens}
        await _event(response, {"choices": [], "usage": usage})


async def _event(response: web.StreamResponse, value: object) -> None:
    await response.write(f"data: {json.dumps(value)}\n\n".encode())
