"""Reading a request's body: bounded in bytes and in time, and refused before it comes where its length says enough."""

from __future__ import annotations

import asyncio

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from worldbus.gateway.problem import Problem

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def body_of(request: web.BaseRequest, limit: int, within_s: float) -> bytes:
    """The whole body. Raises a problem: 413 beyond `limit` bytes, 408 after `within_s` seconds, 400 if it breaks off."""
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit, length)
    content = request.content
    if content.is_eof():  # the usual case: it came with the head
        return await _read(content, limit)
    _expect(request)
    try:
        async with asyncio.timeout(within_s):
            return await _read(content, limit)
    except TimeoutError as error:
        raise Problem(
            408, "BODY_TOO_SLOW", f"wanted the whole body within {within_s:g} s, found it unfinished: send it again", close=True
        ) from error


async def _read(content: StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while part := await content.readany():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit, size)
    except (HttpProcessingError, HTTPException, ConnectionError, ValueError) as error:
        raise Problem(
            400, "BROKEN_BODY", "wanted the whole body, found that it broke off or is badly chunked: send it again", close=True
        ) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int, found: int) -> Problem:
    detail = f"wanted a body of at most {limit} bytes, found {found} or more: split the batch, or send a reference"
    return Problem(413, "TOO_LARGE", detail, close=True, limit=limit, found=found)


def _expect(request: web.BaseRequest) -> None:
    expectation = request.headers.get("Expect")
    if expectation is None:
        return
    if expectation.strip().lower() != "100-continue":
        raise Problem(417, "EXPECTATION", f"wanted Expect: 100-continue, found {ascii(expectation)[:40]}", close=True)
    if request.transport is not None:
        request.transport.write(CONTINUE)
